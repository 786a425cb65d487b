"""Years of trades in columns: the same candles, lines and blocks as ``market`` makes, much faster.

The functions of this package take and return Arrow record batches of one symbol; ``columns`` has
their schema. Each of them has a counterpart that handles one trade at a time, and gives the same
result: ``market.fold``, ``market.archive.parse``, ``market.block.pack_block`` and
``feed.open_replay``.

The package needs the extra ``mcloud[bulk]``. It is imported only by what needs it.
"""
