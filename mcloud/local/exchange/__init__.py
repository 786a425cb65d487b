"""The local exchange: a Binance on loopback that trades what a feed says.

It speaks Binance's spot ``@trade`` streams and the REST calls that a reader of trades needs, holds
its clients to Binance's limits, and fails on demand. ``thread`` is the way in.
"""
