"""Draws documents and snapshots for a terminal: pure functions, one module for each command."""
