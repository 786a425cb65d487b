"""Parcels: the messages sent to a site, each made of one or more messages of the spool.

The spool has a message for each symbol and second, so that a trade is soon on the disk. A site is
billed by the message. If candles may be some seconds old, a sender therefore waits, and combines
all messages of that time, of all symbols.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter

from mcloud.market.envelope import MAX_TRADES, SQS_CHUNK, Malformed, Message, decode, encode
from mcloud.market.trade import Trade
from mcloud.producer.spool_message import Spooled


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
    """Combine messages of the spool into as few as possible, of at most about ``limit`` bytes.

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
    rows = symbols.values()
    groups = [[each for row in rows for each in row]] if several_symbols else rows
    parcels += [_parcel(part, one_in) for group in groups for part in _filled(group, limit)]
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


def _filled(group: Iterable[_Opened], limit: int) -> Iterator[list[_Opened]]:
    """Split a group before each message that would not fit."""
    part: list[_Opened] = []
    size = count = 0
    for opened in group:
        # An upper bound of the size: a long text is compressed better than its parts.
        more = opened.spooled.message.size
        if part and (size + more > limit or count + len(opened.trades) > MAX_TRADES):
            yield part
            part, size, count = [], 0, 0
        part.append(opened)
        size += more
        count += len(opened.trades)
    if part:
        yield part


def _parcel(opened: Sequence[_Opened], one_in: int | None) -> Parcel:
    if len(opened) == 1:
        return alone(opened[0].spooled)
    trades = [trade for each in opened for trade in each.trades]
    parts = sorted((each.spooled for each in opened), key=attrgetter("id"))
    return Parcel(encode(trades, one_in=one_in), tuple(parts))
