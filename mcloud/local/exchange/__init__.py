"""The local exchange: a Binance on loopback that trades what a feed says.

It speaks the streams and REST calls of Binance's spot, USDⓈ-M and COIN-M markets as far as trades
show what they say, holds its clients to Binance's limits, and fails on demand. ``thread`` is the
way in; ``docs/reference/local-exchange.md`` lists what is served.
"""
