"""The local exchange: a Binance on loopback that plays the trades of a feed.

It implements the streams and REST calls of Binance's spot, USDⓈ-M and COIN-M markets as far as
their data follows from trades, enforces Binance's limits for its clients, and fails on demand.
``thread`` is the entry point; ``docs/reference/local-exchange.md`` lists the supported calls.
"""
