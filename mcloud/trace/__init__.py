"""Where a trade was and when, put together from what each place knows of it."""
