"""The state of every site: collected as a snapshot, and drawn by pure functions."""
