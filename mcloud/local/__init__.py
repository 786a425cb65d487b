"""The embedded clouds: both sites on one laptop, on loopback, from PyPI alone."""
