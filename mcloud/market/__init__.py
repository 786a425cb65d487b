"""The domain: trades, candles, envelopes, archive objects.

It uses only the standard library, and neither I/O nor a clock, because the same code runs in the
producer, in both cloud functions and in the replicator.
"""

from mcloud.market.archive import ArchiveObject, pack, unpack
from mcloud.market.candle import Candle, Disagreement, Fragment, fold, merge
from mcloud.market.envelope import Envelope, Malformed, Message, decode, encode
from mcloud.market.interval import INTERVALS, derive
from mcloud.market.trade import BadTrade, Trade

__all__ = [
    "INTERVALS",
    "ArchiveObject",
    "BadTrade",
    "Candle",
    "Disagreement",
    "Envelope",
    "Fragment",
    "Malformed",
    "Message",
    "Trade",
    "decode",
    "derive",
    "encode",
    "fold",
    "merge",
    "pack",
    "unpack",
]
