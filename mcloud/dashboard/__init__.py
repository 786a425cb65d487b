"""What is going on at every site: collected as a snapshot, drawn by pure functions."""
