"""Failover drills and the demo: the whole pipeline in action, judged at the end."""
