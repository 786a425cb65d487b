"""Everything that mcloud needs, looked at all at once: what is wrong, and what mends it."""
