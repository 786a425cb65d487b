"""The work of the cloud functions on trades and candles. It ships with the adapters of one
cloud.
"""
