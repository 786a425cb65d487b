"""Recordings of trades, as the exchange streams them."""

import json
from collections.abc import Iterable
from pathlib import Path

from mcloud.market.trade import Trade, to_text


def write(path: Path, trades: Iterable[Trade]) -> Path:
    """Write trades of a spot market to a file that ``mcloud produce`` replays."""
    with path.open("w") as file:
        for trade in trades:
            event = {
                "e": "trade",
                "E": trade.time,
                "s": trade.symbol,
                "t": trade.id,
                "p": to_text(trade.price),
                "q": to_text(trade.quantity),
                "T": trade.time,
                "m": trade.buyer_is_maker,
                "M": True,
            }
            file.write(json.dumps(event) + "\n")
    return path
