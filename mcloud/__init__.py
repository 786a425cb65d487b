"""mcloud: one command that runs a market-data pipeline on two clouds and keeps both right."""

__version__ = "0.1.0"
