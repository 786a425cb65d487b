"""The embedded clouds: both sites on one machine, on loopback, installed only from PyPI."""
