"""``mcloud demo``: mischief on the way in, the real functions in the middle, a proof at the end."""
