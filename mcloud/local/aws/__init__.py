"""The embedded AWS: ministack, extended by outages, meters and metrics."""
