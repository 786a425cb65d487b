"""Telling people and machines: events, and the channels that carry them."""
