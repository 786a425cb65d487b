"""Permissions, proven by the calls of a whole life on the embedded clouds."""
