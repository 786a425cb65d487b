"""Notifications for people and programs: events, and the channels that deliver them."""
