"""The embedded AWS: ministack, with what it lacks around it: outages, meters and metrics."""
