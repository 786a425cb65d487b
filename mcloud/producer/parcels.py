"""Parcels: the messages sent to a site, each made of one or more messages of the spool.

The spool has a message for each symbol and second, so that a trade is soon on the disk. A site is
billed by the message. If candles may be some seconds old, a sender therefore waits, and combines
all messages of that time, of all symbols.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

from mcloud.market.envelope import MAX_TRADES, SQS_CHUNK, Malformed, Message, decode, encode
from mcloud.market.trade import Trade
from mcloud.producer.spool_message import Spooled

TRADE = 7
"""Bytes of a trade in a large message, from which the number of trades that fit is guessed."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message for a site."""

    message: Message
    parts: tuple[Spooled, ...]
    """The messages of the spool that it combines."""

    @property
    def trades(self) -> int:
        return sum(part.count for part in self.parts)


@dataclass(frozen=True, slots=True)
class _Opened:
    """A message of the spool, and its trades."""

    spooled: Spooled
    trades: tuple[Trade, ...]


def alone(spooled: Spooled) -> Parcel:
    """Return a parcel with one unchanged message of the spool."""
    return Parcel(spooled.message, (spooled,))


def combine(
    taken: Sequence[Spooled],
    *,
    until: float,
    oldest: float,
    several_symbols: bool = True,
    one_in: int | None = None,
    limit: int = SQS_CHUNK,
) -> tuple[list[Parcel], list[Spooled]]:
    """Combine messages of the spool into as few as possible, of at most ``limit`` bytes.

    A message that cannot be combined becomes a parcel of its own: a message of another kind, or one
    whose ids overlap with those of another message of its symbol.

    Args:
        until: end of the window, in ms since 1970. Messages with later trades are returned
            unchanged as the second result.
        oldest: messages received before this time, in ms since 1970, are sent whatever the times of
            their trades, since the clocks of the exchange and of this machine may differ.
        several_symbols: whether the site reads envelopes of several symbols (version 2).
        one_in: one parcel in this many is traced; see ``envelope.encode``.
    """
    parcels: list[Parcel] = []
    later: list[Spooled] = []
    symbols: dict[str, list[_Opened]] = {}
    for opened in sorted(_opened(taken, parcels), key=lambda each: each.trades[0].id):
        row = symbols.setdefault(opened.trades[0].symbol, [])
        if opened.trades[-1].time >= until and opened.spooled.received_at >= oldest:
            later.append(opened.spooled)
        elif row and row[-1].trades[-1].id >= opened.trades[0].id:
            parcels.append(alone(opened.spooled))
        else:
            row.append(opened)
    rows = list(symbols.values())
    groups = [rows] if several_symbols else [[row] for row in rows]
    most = min(limit // TRADE, MAX_TRADES)
    parcels += [
        parcel
        for group in groups
        for part in _filled(group, most)
        for parcel in _fitting(part, one_in, limit)
    ]
    return sorted(parcels, key=lambda parcel: parcel.parts[0].id), later


def _opened(taken: Iterable[Spooled], others: list[Parcel]) -> Iterator[_Opened]:
    """Yield the messages with trades of one symbol, and add a parcel for each other message."""
    for spooled in taken:
        try:
            envelope = decode(spooled.message.body, spooled.message.attributes)
        except Malformed:
            others.append(alone(spooled))
        else:
            yield _Opened(spooled, envelope.trades)


def _filled(rows: Iterable[Sequence[_Opened]], most: int) -> Iterator[list[_Opened]]:
    """Split the messages of some symbols into parts of at most ``most`` trades.

    A symbol is split only if it does not fit into a part of its own, since each of its parts writes
    its candle. A message is not split.
    """
    part: list[_Opened] = []
    room = most
    for row in rows:
        if part and room < _count(row) <= most:
            yield part
            part, room = [], most
        for opened in row:
            if part and room < len(opened.trades):
                yield part
                part, room = [], most
            part.append(opened)
            room -= len(opened.trades)
    if part:
        yield part


def _fitting(opened: Sequence[_Opened], one_in: int | None, limit: int) -> Iterator[Parcel]:
    """Yield parcels of at most ``limit`` bytes, if each message of the spool has fewer."""
    parcel = _parcel(opened, one_in)
    if parcel.message.size <= limit or len(opened) == 1:
        yield parcel
        return
    rows = [list(row) for _, row in groupby(opened, lambda each: each.trades[0].symbol)]
    most = max(1, _count(opened) * limit // parcel.message.size * 3 // 4)
    for part in _filled(rows, most):
        yield from _fitting(part, one_in, limit)


def _count(opened: Iterable[_Opened]) -> int:
    return sum(len(each.trades) for each in opened)


def _parcel(opened: Sequence[_Opened], one_in: int | None) -> Parcel:
    if len(opened) == 1:
        return alone(opened[0].spooled)
    trades = [trade for each in opened for trade in each.trades]
    parts = sorted((each.spooled for each in opened), key=attrgetter("id"))
    return Parcel(encode(trades, one_in=one_in), tuple(parts))
