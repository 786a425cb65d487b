"""The trade ids that have been seen, and those that are missing.

Binance numbers the trades of a symbol without a gap, so a jump in the ids means that trades are
missing. The missing ids become a hole, which is reported until their trades arrive.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from operator import attrgetter
from typing import NamedTuple

from mcloud.documents import Count
from mcloud.market.trade import Trade, id_count

_first = attrgetter("first")

VOIDS = 10_000
"""Number of the newest voids of a symbol that a later trade with the same id replaces. A busy
future has 14 voids a minute, so they cover twelve hours."""

ABSENT = "the exchange does not have these ids"
"""Beginning of the reason of a hole for which the exchange has answered without its trades."""


QUICK = 3
"""Number of attempts at a hole within seconds of each other, for late trades. After them, adjacent
holes are joined."""


class Hole(NamedTuple):
    """A run of missing ids, between ids that exist or belong to another hole."""

    symbol: str
    first: Count
    last: Count
    """Inclusive."""
    since: Count
    """Time when it was noticed, in ms since 1970."""
    attempts: int = 0
    """Number of failed attempts to fill it."""
    reason: str = ""
    """Reason of the last failure."""

    @property
    def is_doubtful(self) -> bool:
        """Whether there is no sign that these ids have trades, or that the trades are still
        available.
        """
        return self.reason.startswith(ABSENT)

    @property
    def missing(self) -> int:
        return id_count(self.first, self.last)


class Position(NamedTuple):
    """Progress of a symbol: the ids from ``start`` to ``next_id - 1`` are seen, except the
    holes.
    """

    symbol: str
    start: int
    next_id: int
    holes: tuple[Hole, ...] = ()
    """Holes in ascending order."""


class Cursor:
    """Separates new trades from repeats, and records missing ids, for any number of symbols.

    A symbol starts with the first trade that is admitted. Earlier trades are not recorded as
    missing. It is not thread-safe.
    """

    def __init__(
        self, positions: Iterable[Position] = (), voids: Iterable[tuple[str, int]] = ()
    ) -> None:
        """Continue from the result of ``dump``, and from the voids (symbol and id) that were noted
        before.
        """
        self._start: dict[str, int] = {}
        self._next: dict[str, int] = {}
        self._holes: dict[str, list[Hole]] = {}
        self._voids: dict[str, dict[int, None]] = {}
        """Ids of the newest voids, oldest first."""
        self.void_changes: dict[tuple[str, int], bool] = {}
        """Symbol and id of each void that was added (true) or removed (false) since the start,
        except for those that were passed to ``saved``.
        """
        self.repeats = 0
        """Trades dropped because their ids had been seen."""
        self.early = 0
        """Trades dropped because their ids are below the start."""
        for symbol, start, next_id, holes in positions:
            self._start[symbol] = start
            self._next[symbol] = next_id
            self._holes[symbol] = list(holes)
        for symbol, id_ in voids:
            self._voids.setdefault(symbol, {})[id_] = None

    def admit(self, trades: Sequence[Trade], now: int) -> list[Trade]:
        """Return the trades whose ids are new, in the order of arrival; the others are dropped.

        A jump forward opens a hole, noticed at ``now`` (ms since 1970). A trade inside a hole
        shrinks or splits it. Of two different trades with one id, the first one is admitted. If the
        first one is a void, the trade is admitted too; see ``VOIDS``.
        """
        expected = self._next
        admitted = []
        for trade in trades:
            symbol = trade.symbol
            id_ = trade.id
            # The next expected id is by far the usual case. Others may take ten times as long.
            if expected.get(symbol) == id_:
                expected[symbol] = id_ + 1
            elif not self._is_new(symbol, id_, now) and not self._replaces_void(trade):
                continue
            if not trade.price:
                self._note_void(symbol, id_)
            admitted.append(trade)
        return admitted

    def position(self, symbol: str) -> int | None:
        """Return the next expected id, or None before the first trade."""
        return self._next.get(symbol)

    def resume(self, symbol: str, next_id: int) -> None:
        """Start a symbol at an id whose trade has not arrived yet, instead of at its first trade.

        Raises:
            ValueError: the symbol has already started.
        """
        if symbol in self._next:
            raise ValueError(f"{symbol} is at {self._next[symbol]} already")
        self._start[symbol] = self._next[symbol] = next_id

    def expect(self, symbol: str, last_id: int, now: int) -> bool:
        """Record the ids up to ``last_id``, which the exchange has traded, as missing if not seen.

        Return False if none is missing, or if the symbol has not started.
        """
        expected = self._next.get(symbol)
        if expected is None or last_id < expected:
            return False
        self._open(Hole(symbol, expected, last_id, now))
        self._next[symbol] = last_id + 1
        return True

    def holes(self) -> list[Hole]:
        """Return the holes, oldest first."""
        holes = [hole for each in self._holes.values() for hole in each]
        return sorted(holes, key=attrgetter("since", "symbol", "first"))

    def note(self, hole: Hole, reason: str) -> None:
        """Count a failed attempt at the rest of ``hole``, which may have changed since."""
        holes = self._holes.get(hole.symbol, [])
        for index, each in enumerate(holes):
            if each.first <= hole.last and hole.first <= each.last:
                holes[index] = each._replace(attempts=each.attempts + 1, reason=reason)
        self._holes[hole.symbol] = _joined(holes)

    def saved(self, changes: Collection[tuple[str, int]]) -> None:
        """Remove these from ``void_changes``, because a later cursor will know them."""
        for void in changes:
            del self.void_changes[void]

    def dump(self) -> list[Position]:
        """Return the state without voids and counters, for a cursor that continues from here."""
        return [
            Position(symbol, start, self._next[symbol], tuple(self._holes.get(symbol, ())))
            for symbol, start in self._start.items()
        ]

    def _is_new(self, symbol: str, id_: int, now: int) -> bool:
        """Return whether an id is new that is not the next expected one."""
        expected = self._next.get(symbol)
        if expected is None:
            self._start[symbol], self._next[symbol] = id_, id_ + 1
            return True
        if id_ > expected:
            self._open(Hole(symbol, expected, id_ - 1, now))
            self._next[symbol] = id_ + 1
            return True
        if id_ < self._start[symbol]:
            self.early += 1
            return False
        if self._fill(symbol, id_):
            return True
        self.repeats += 1
        return False

    def _note_void(self, symbol: str, id_: int) -> None:
        voids = self._voids.setdefault(symbol, {})
        voids[id_] = None
        self.void_changes[symbol, id_] = True
        if len(voids) > VOIDS:
            self._forget_void(symbol, next(iter(voids)))

    def _forget_void(self, symbol: str, id_: int) -> None:
        del self._voids[symbol][id_]
        self.void_changes[symbol, id_] = False

    def _replaces_void(self, trade: Trade) -> bool:
        """Admit a trade whose id was void. Return False for any other trade that has been seen."""
        voids = self._voids.get(trade.symbol)
        if not voids or trade.is_void or trade.id not in voids:
            return False
        self._forget_void(trade.symbol, trade.id)
        self.repeats -= 1
        return True

    def _open(self, hole: Hole) -> None:
        append_hole(self._holes.setdefault(hole.symbol, []), hole)

    def _fill(self, symbol: str, id_: int) -> bool:
        """Remove an id from its hole. Return False if it is in no hole."""
        holes = self._holes.get(symbol, [])
        at = bisect_right(holes, id_, key=_first) - 1
        if at < 0 or holes[at].last < id_:
            return False
        parts = holes[at]._replace(last=id_ - 1), holes[at]._replace(first=id_ + 1)
        holes[at : at + 1] = [part for part in parts if part.missing]
        return True


def _joined(holes: Iterable[Hole]) -> list[Hole]:
    """Join adjacent holes after their quick attempts, so that their number stays small."""
    joined: list[Hole] = []
    for hole in holes:
        last = joined[-1] if joined else None
        if (
            last is None
            or last.last != hole.first - 1
            or last.is_doubtful != hole.is_doubtful
            or min(last.attempts, hole.attempts) < QUICK
        ):
            joined.append(hole)
            continue
        joined[-1] = hole._replace(
            first=last.first,
            since=min(last.since, hole.since),
            attempts=min(last.attempts, hole.attempts),
        )
    return joined


def append_hole(holes: list[Hole], hole: Hole) -> None:
    """Append a hole that starts after all others.

    It extends the last one only if both were noticed at the same time and have not been tried yet:
    a new loss must not become part of an old hole, which is rarely requested from the exchange.
    """
    if holes and holes[-1] == hole._replace(first=holes[-1].first, last=hole.first - 1):
        holes[-1] = holes[-1]._replace(last=hole.last)
    else:
        holes.append(hole)
