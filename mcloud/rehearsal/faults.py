"""Faults that queues, networks and operators cause in a stream of trades, made from one seed."""

import json
from collections.abc import Sequence
from random import Random

from mcloud.market.envelope import Message, encode
from mcloud.market.trade import Trade

# Share of the trades that each of two producers sees; a trade that one misses reaches the other
SHARE = 0.75
WINDOW = 60  # trades within which the order is lost
REPEATS = 0.05  # of the trades come again later


def two_producers(trades: Sequence[Trade], seed: int) -> tuple[list[Trade], list[Trade]]:
    """Return two overlapping, shuffled streams with repeats. Each trade is in one at least."""
    random = Random(seed)
    streams: tuple[list[Trade], list[Trade]] = ([], [])
    for trade in trades:
        seen = [random.random() < SHARE, random.random() < SHARE]
        if not any(seen):
            seen[random.randrange(2)] = True
        for stream, sees in zip(streams, seen, strict=True):
            if sees:
                stream.append(trade)
    first, second = (_disorder(stream, random) for stream in streams)
    return first, second


def poison(trades: Sequence[Trade]) -> list[Message]:
    """Return messages that can never be processed: a foreign one, a future version, a bad
    number.
    """
    sound = {"v": 1, "symbol": trades[0].symbol, "id": [1], "q": ["1"], "T": [0], "m": "0"}
    return [
        Message("this is not an envelope", {"from": "somebody else"}),
        Message(json.dumps({**sound, "v": 99, "p": ["1"]})),
        Message(json.dumps({**sound, "p": ["NaN"]}), encode(trades[:1]).attributes),
    ]


def _disorder(stream: list[Trade], random: Random) -> list[Trade]:
    disordered: list[Trade] = []
    for begin in range(0, len(stream), WINDOW):
        window = stream[begin : begin + WINDOW]
        window += random.choices(stream[: begin + WINDOW], k=int(len(window) * REPEATS))
        random.shuffle(window)
        disordered += window
    return disordered
