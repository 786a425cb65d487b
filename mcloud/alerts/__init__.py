"""Alerts: rules over the figures of a snapshot, and the states of their alerts."""
