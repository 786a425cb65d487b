"""Failover drills and the demo, which run the whole pipeline and check its result."""
