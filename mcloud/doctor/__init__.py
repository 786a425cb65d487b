"""Checks of everything that mcloud needs, at the same time, with a remedy for each fault."""
