"""One-minute candles. Any number of writers may fold trades into them, in any order, and agree.

A candle is kept as *fragments*. A fragment holds the trades of one aligned block of trade ids:
``2**level`` consecutive ids starting at a multiple of ``2**level``, with their own open, high, low,
close and volumes. Two such blocks are either disjoint or nested, and never overlap partly:

- a fragment inside another one adds nothing and is dropped, so duplicates change nothing;
- two sibling fragments join into their parent, so a run of n trades needs at most 2·log2(n);
- no merge has to split an aggregate, which is impossible.

The fragments of a set of trades are therefore the maximal aligned blocks inside the set of their
ids: a function of the set alone. ``merge`` is set union (commutative, associative, idempotent), and
the stored bytes do not depend on who folded what, when, or how often. Runs of ids that are not
aligned would not work: of ``[1..5]``, ``[4..5]`` and ``[6..9]``, joining the last two first leaves
``[4..9]``, which overlaps ``[1..5]`` and can no longer be taken apart.

This relies on a trade id meaning one trade. If two trades or two fragments disagree about the same
ids, the first one stays and the other one is reported.

A *void* is an id that the exchange used up without a trade (see `Trade.void`). Fragments hold voids
as ids that count for nothing, so that blocks stay whole, and list them, so that a later trade with
such an id can replace the void.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from functools import lru_cache
from itertools import pairwise
from operator import attrgetter, mul
from typing import Any, NamedTuple

from mcloud.market.trade import EXACT, MAX_ID, ZERO, Trade, id_count, to_text

MINUTE = 60_000  # ms

MOST_VOIDS = 20
"""Highest level of a stored block that holds only voids (a million ids)."""

_TIMESTAMP = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}Z")
# fields of a record that are texts; the others are numbers
_TEXTS = ("symbol", "timestamp", "fragments")


class Fragment(NamedTuple):
    """The trades with ids ``first_id`` to ``first_id + 2**level - 1``, aggregated.

    If all of these ids are voids, every number is zero.
    """

    first_id: int
    level: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote_volume: Decimal
    voids: tuple[int, ...] = ()
    """Ids that are voids, in ascending order."""

    @property
    def last_id(self) -> int:
        return self.first_id + (1 << self.level) - 1

    @property
    def trade_count(self) -> int:
        return (1 << self.level) - len(self.voids)

    @property
    def first_trade(self) -> int:
        """The lowest id that is not a void; one above the last id if all are voids."""
        return next(_missing_from(self.voids, self.first_id, 1), self.last_id + 1)

    @property
    def last_trade(self) -> int:
        """The highest id that is not a void; one below the first id if all are voids."""
        return next(_missing_from(self.voids[::-1], self.last_id, -1), self.first_id - 1)


@dataclass(frozen=True, slots=True)
class Candle:
    """The trades of one symbol in one UTC minute, by trade time. It may be empty."""

    symbol: str
    start: int
    """Start of the minute, ms since 1970."""
    fragments: tuple[Fragment, ...] = ()
    """Fragments in the order of their ids, and maximal (see the module)."""
    _text: str = field(default="", compare=False, repr=False)
    """The text from which the fragments were read; writing them gives the same text."""

    @property
    def timestamp(self) -> str:
        """The minute as it is stored: ``2024-08-08T23:54:00Z``."""
        return to_timestamp(self.start)

    @property
    def has_trades(self) -> bool:
        """Whether it has any trade. An empty candle, or one of voids only, has no prices."""
        return any(fragment.open for fragment in self.fragments)

    @property
    def open(self) -> Decimal:
        return next(fragment.open for fragment in self.fragments if fragment.open)

    @property
    def high(self) -> Decimal:
        return max(fragment.high for fragment in self.fragments)

    @property
    def low(self) -> Decimal:
        return min(fragment.low for fragment in self.fragments if fragment.low)

    @property
    def close(self) -> Decimal:
        return next(each.close for each in reversed(self.fragments) if each.close)

    @property
    def volume(self) -> Decimal:
        with localcontext(EXACT):
            return sum((fragment.volume for fragment in self.fragments), Decimal())

    @property
    def quote_volume(self) -> Decimal:
        with localcontext(EXACT):
            return sum((fragment.quote_volume for fragment in self.fragments), Decimal())

    @property
    def trade_count(self) -> int:
        return sum(fragment.trade_count for fragment in self.fragments)

    @property
    def void_count(self) -> int:
        return sum(len(fragment.voids) for fragment in self.fragments)

    @property
    def first_id(self) -> int:
        return self.fragments[0].first_id

    @property
    def last_id(self) -> int:
        return self.fragments[-1].last_id

    @property
    def first_trade(self) -> int:
        """The lowest id that is not a void; there is one if ``has_trades``."""
        return next(each.first_trade for each in self.fragments if each.trade_count)

    @property
    def last_trade(self) -> int:
        """The highest id that is not a void; there is one if ``has_trades``."""
        return next(each.last_trade for each in reversed(self.fragments) if each.trade_count)

    @property
    def runs(self) -> list[tuple[int, int]]:
        """The ids that it holds, including voids, as (first, last) of each run without a hole."""
        runs: list[tuple[int, int]] = []
        for fragment in self.fragments:
            if runs and runs[-1][1] + 1 == fragment.first_id:
                runs[-1] = (runs[-1][0], fragment.last_id)
            else:
                runs.append((fragment.first_id, fragment.last_id))
        return runs

    def to_record(self) -> dict[str, str | int]:
        """Return the fields of the stored form, with decimals as texts. They are equal on every
        site.

        Only ``fragments`` is needed to read the candle back. The other fields are for other
        readers. A candle of voids only has no prices. ``void_count`` is present if it is not 0.
        """
        record: dict[str, str | int] = {"symbol": self.symbol, "timestamp": self.timestamp}
        if self.has_trades:
            record |= {
                "open": to_text(self.open),
                "high": to_text(self.high),
                "low": to_text(self.low),
                "close": to_text(self.close),
            }
        record |= {
            "volume": to_text(self.volume),
            "quote_volume": to_text(self.quote_volume),
            "trade_count": self.trade_count,
            "first_id": self.first_id,
            "last_id": self.last_id,
            "fragments": self.encode_fragments(),
        }
        if voids := self.void_count:
            record["void_count"] = voids
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Candle":
        """Read a stored form, and check its other fields against its fragments.

        Raises:
            ValueError: a field is missing, or the fields contradict each other.
        """
        try:
            symbol, timestamp, fragments = (record[name] for name in _TEXTS)
            if not type(symbol) is type(timestamp) is type(fragments) is str:
                raise TypeError("its text fields are not texts")
            candle = cls.decode(symbol, timestamp, fragments)
            for name, value in candle.to_record().items():
                stored = record[name]
                if stored == value:
                    continue
                if name in _TEXTS or Decimal(stored) != Decimal(value):
                    raise ValueError(f"{name} is {stored}, its fragments say {value}")
        except (KeyError, TypeError, ArithmeticError) as error:
            raise ValueError(f"not a candle: {error!r}") from None
        return candle

    def encode_fragments(self) -> str:
        """Return the stored form of the fragments.

        Each fragment is one word: ``3735683260/2:open,high,low,close,volume,quote_volume`` for the
        four ids from 3735683260, and ``3735683259:price,quantity`` for a single trade. Voids follow
        the level, counted from the first id: ``3735683260/2~0,3:…`` has two voids and two trades. A
        fragment of voids only has no numbers: ``3735683260/2:``.
        """
        return self._text or " ".join(_encode(fragment) for fragment in self.fragments)

    @classmethod
    def decode(cls, symbol: str, timestamp: str, fragments: str) -> "Candle":
        """Read what ``encode_fragments`` wrote.

        Raises:
            ValueError: the text is invalid, or its fragments are not maximal and in order.
        """
        with localcontext(EXACT):
            try:
                decoded = [_decode(word) for word in fragments.split(" ")]
            except ArithmeticError:
                raise ValueError(f"{symbol} {timestamp} holds numbers that do not fit") from None
            in_order = all(a.last_id < b.first_id for a, b in pairwise(decoded))
            if not in_order or any(_siblings(a, b) for a, b in pairwise(decoded)):
                raise ValueError(f"the fragments of {symbol} {timestamp} are not in order")
        return cls(symbol, parse_timestamp(timestamp), tuple(decoded), fragments)


class Disagreement(NamedTuple):
    """Two different contents for the same ids. One stays, the other is refused."""

    symbol: str
    first_id: int
    last_id: int
    kept: str
    refused: str

    def __str__(self) -> str:
        ids = str(self.first_id)
        if self.last_id != self.first_id:
            ids += f" to {self.last_id}"
        return f"{self.symbol} {ids}: kept {self.kept}, refused {self.refused}"


class Folded(NamedTuple):
    candle: Candle
    disagreements: tuple[Disagreement, ...]


def fold(candle: Candle, trades: Iterable[Trade]) -> Folded:
    """Add trades of the candle's symbol and minute, in any order and any number of times.

    Trades whose ids the candle already has change nothing, except that a trade replaces a void. A
    contradiction is reported: always if the trades make up a whole fragment, and within a larger
    fragment if they are outside its range or contradict its open or close. The raw archives show
    all other contradictions.

    Raises:
        decimal.Inexact: a sum does not fit into 38 digits. No market has such volumes.
        ValueError: a trade belongs to another symbol or minute.
    """
    ordered, disagreements = _distinct(trades)
    _check_belongs(candle, ordered)
    with localcontext(EXACT):
        fresh, known = _split(ordered, candle.runs)
        kept, differing = _compare(candle, known)
        disagreements += differing
        fragments = [fragment for run in fresh for fragment in _aggregate(run)]
        if kept:
            fragments = sorted((*kept, *fragments))
        joined = _join(fragments)
    return Folded(Candle(candle.symbol, candle.start, tuple(joined)), tuple(disagreements))


def merge(one: Candle, other: Candle) -> Folded:
    """Return the union of two states of the same candle.

    If both have the same block with different content, the one with fewer voids stays, or the
    smaller one if they have equally many, so that every site decides alike. The other one is
    reported, as is a fragment that contradicts the wider one around it. A trade replaces a void if
    it is a fragment of its own, or if all ids of its fragment are voids on the other side.
    Otherwise it is part of an aggregate, which cannot be split: it is left out and reported, and
    ``verify --deep --repair`` recomputes the candle from the raw archives.

    Raises:
        decimal.Inexact: a sum does not fit into 38 digits.
        ValueError: they are different candles.
    """
    if (one.symbol, one.start) != (other.symbol, other.start):
        raise ValueError(f"cannot merge {one.symbol} {one.timestamp} with {other.symbol}")
    if one.fragments == other.fragments or not other.fragments:
        return Folded(one, ())
    kept: list[Fragment] = []
    disagreements: list[Disagreement] = []
    # At equal starts the wider block comes first, and of equal blocks the smaller content.
    both = (*one.fragments, *other.fragments)
    with localcontext(EXACT):
        for fragment in sorted(both, key=lambda f: (f.first_id, -f.level, len(f.voids), f[2:])):
            if not kept or fragment.first_id > kept[-1].last_id:
                kept.append(fragment)
            elif filled := _fill(kept[-1], fragment):
                kept[-1] = filled
            elif _contradict(kept[-1], fragment):
                disagreements.append(_disagreement(one.symbol, kept[-1], fragment))
        joined = _join(kept)
    return Folded(Candle(one.symbol, one.start, tuple(joined)), tuple(disagreements))


def drop(candle: Candle, runs: Iterable[tuple[int, int]]) -> Candle:
    """Return the candle without the fragments that hold any of these ids, runs of (first, last).

    All other trades of such a fragment are lost too, because an aggregate cannot be split.
    """
    unwanted = sorted(runs)
    kept: list[Fragment] = []
    at = 0
    for fragment in candle.fragments:
        while at < len(unwanted) and unwanted[at][1] < fragment.first_id:
            at += 1
        if at == len(unwanted) or fragment.last_id < unwanted[at][0]:
            kept.append(fragment)
    return Candle(candle.symbol, candle.start, tuple(kept))


def by_minute(trades: Iterable[Trade]) -> dict[tuple[str, int], list[Trade]]:
    """Group trades by their candle: (symbol, start of the minute in ms)."""
    groups: dict[tuple[str, int], list[Trade]] = {}
    symbol, start, group = "", 0, list[Trade]()
    for trade in trades:
        # Neighbours mostly share a candle; looking it up only when they do not is twice as fast.
        if trade.symbol != symbol or not 0 <= trade.time - start < MINUTE:
            symbol, start = trade.symbol, trade.time // MINUTE * MINUTE
            group = groups.setdefault((symbol, start), [])
        group.append(trade)
    return groups


@lru_cache(16_384)  # a candle is written soon after it is read, and its neighbours share the minute
def to_timestamp(start: int) -> str:
    """Return a time in ms as it is stored, in whole seconds: ``2024-08-08T23:54:00Z``."""
    return datetime.fromtimestamp(start // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_timestamp(timestamp: str) -> int:
    """Return the time in ms of a text that ``to_timestamp`` returned; ValueError for any other
    text.
    """
    if not _TIMESTAMP.fullmatch(timestamp):
        raise ValueError(f"not a timestamp: {timestamp!r:.80}")
    # strptime takes five times as long
    return int(datetime.fromisoformat(timestamp).timestamp()) * 1000


def _distinct(trades: Iterable[Trade]) -> tuple[list[Trade], list[Disagreement]]:
    """Order trades by id and drop repeats. Of two trades with one id, the first to arrive stays.

    A trade replaces a void, regardless of their order.
    """
    ordered = sorted(trades, key=attrgetter("id"))
    if len({trade.id for trade in ordered}) == len(ordered):
        return ordered, []
    distinct: list[Trade] = []
    disagreements = []
    last = None
    for trade in ordered:
        if last is None or trade.id != last.id:
            distinct.append(trade)
            last = trade
        elif last.is_void:
            distinct[-1] = last = trade
        elif trade != last and not trade.is_void:
            disagreements.append(
                Disagreement(trade.symbol, trade.id, trade.id, _describe(last), _describe(trade))
            )
    return distinct, disagreements


def _check_belongs(candle: Candle, trades: list[Trade]) -> None:
    end = candle.start + MINUTE
    for trade in trades:
        if trade.symbol != candle.symbol or not candle.start <= trade.time < end:
            raise ValueError(f"trade {trade.id} is not of {candle.symbol} {candle.timestamp}")


def _split(
    ordered: list[Trade], runs: list[tuple[int, int]]
) -> tuple[list[list[Trade]], list[list[Trade]]]:
    """Cut trades into runs of consecutive ids that lie outside (fresh) and inside (known) runs."""
    if not ordered:
        return [], []
    first, last = ordered[0].id, ordered[-1].id
    if id_count(first, last) == len(ordered) and not any(a <= last and first <= b for a, b in runs):
        return [ordered], []
    fresh: list[list[Trade]] = []
    known: list[list[Trade]] = []
    pending = iter(runs)
    run = next(pending, None)
    previous_id, previous_known = -2, False
    for trade in ordered:
        while run is not None and run[1] < trade.id:
            run = next(pending, None)
        inside = run is not None and run[0] <= trade.id
        target = known if inside else fresh
        if trade.id == previous_id + 1 and inside == previous_known:
            target[-1].append(trade)
        else:
            target.append([trade])
        previous_id, previous_known = trade.id, inside
    return fresh, known


def _compare(candle: Candle, known: list[list[Trade]]) -> tuple[list[Fragment], list[Disagreement]]:
    """Compare repeated trades with the fragments that have their ids, and fill the voids of these
    fragments. Return the resulting fragments.
    """
    fragments = list(candle.fragments)
    disagreements = []
    for run in known:
        first, last = run[0].id, run[-1].id
        for n, kept in enumerate(fragments):
            begin, end = max(first, kept.first_id), min(last, kept.last_id)
            if begin > end:
                continue
            part = run[begin - first : end - first + 1]
            for trade in part if kept.voids else ():
                if filled := _fill(fragments[n], *_aggregate([trade])):
                    fragments[n] = filled
            for again in _aggregate(part):
                if _contradict(fragments[n], again):
                    disagreements.append(_disagreement(candle.symbol, fragments[n], again))
    return fragments, disagreements


def _fill(outer: Fragment, inner: Fragment) -> Fragment | None:
    """Return ``outer`` with the trades of ``inner``, or None unless all ids of ``inner`` are voids
    in ``outer``.
    """
    if not inner.trade_count or not outer.voids:
        return None
    inside = [id_ for id_ in outer.voids if inner.first_id <= id_ <= inner.last_id]
    if len(inside) <= inner.last_id - inner.first_id:
        return None
    left = tuple(sorted({*outer.voids} - {*inside} | {*inner.voids}))
    return Fragment(
        outer.first_id,
        outer.level,
        inner.open if inner.first_trade < outer.first_trade else outer.open,
        max(outer.high, inner.high),
        min(outer.low or inner.low, inner.low),
        inner.close if inner.last_trade > outer.last_trade else outer.close,
        outer.volume + inner.volume,
        outer.quote_volume + inner.quote_volume,
        left,
    )


def _contradict(outer: Fragment, inner: Fragment) -> bool:
    """Return whether the trades of ``inner`` cannot be among those of ``outer``, which encloses
    it.
    """
    if not inner.trade_count:
        return False
    if outer.voids or inner.voids:
        within = {id_ for id_ in outer.voids if inner.first_id <= id_ <= inner.last_id}
        if not within <= {*inner.voids}:
            return True
    if outer.level == inner.level and outer.voids == inner.voids:
        return outer != inner
    return (
        inner.high > outer.high
        or inner.low < outer.low
        or inner.volume > outer.volume
        or inner.quote_volume > outer.quote_volume
        or (inner.first_trade == outer.first_trade and inner.open != outer.open)
        or (inner.last_trade == outer.last_trade and inner.close != outer.close)
    )


def _missing_from(voids: Sequence[int], first: int, step: int) -> Iterator[int]:
    """Yield the first id from ``first`` on, in steps of 1 or -1, that is not one of ``voids``, if
    it is before their end or directly behind it.
    """
    for n, void in enumerate(voids):
        if void != first + n * step:
            yield first + n * step
            return
    yield first + len(voids) * step


def _aggregate(run: Sequence[Trade]) -> list[Fragment]:
    """Return the fragments of trades with consecutive ids, cut at the aligned blocks and then
    summed.
    """
    _, _, prices, quantities, _, _ = zip(*run, strict=True)
    quotes = tuple(map(mul, prices, quantities))
    fragments = []
    position, id_, left = 0, run[0].id, len(run)
    while left:
        level = left.bit_length() - 1
        if id_:
            level = min(level, (id_ & -id_).bit_length() - 1)
        size = 1 << level
        end = position + size
        block = prices[position:end]
        voids: tuple[int, ...] = ()
        if not all(block):
            voids = tuple(id_ + n for n, price in enumerate(block) if not price)
            block = tuple(filter(None, block)) or (ZERO,)
        fragments.append(
            Fragment(
                id_,
                level,
                block[0],
                max(block),
                min(block),
                block[-1],
                sum(quantities[position:end], Decimal()),
                sum(quotes[position:end], Decimal()),
                voids,
            )
        )
        position, id_, left = end, id_ + size, left - size
    return fragments


def _join(fragments: Iterable[Fragment]) -> list[Fragment]:
    """Join siblings into their parents as often as possible. The input is disjoint and ordered by
    id.
    """
    joined: list[Fragment] = []
    for fragment in fragments:
        while joined and _siblings(joined[-1], fragment):
            fragment = _parent(joined.pop(), fragment)
        joined.append(fragment)
    return joined


def _siblings(left: Fragment, right: Fragment) -> bool:
    return left.level == right.level and left.first_id ^ right.first_id == 1 << left.level


def _parent(left: Fragment, right: Fragment) -> Fragment:
    return Fragment(
        left.first_id,
        left.level + 1,
        left.open or right.open,
        max(left.high, right.high),
        min(left.low or right.low, right.low or left.low),
        right.close or left.close,
        left.volume + right.volume,
        left.quote_volume + right.quote_volume,
        left.voids + right.voids,
    )


def _encode(fragment: Fragment) -> str:
    first = fragment.first_id
    block = f"{first}/{fragment.level}" if fragment.level else f"{first}"
    if not fragment.trade_count:
        return f"{block}:"
    if not fragment.level:
        return f"{block}:{to_text(fragment.open)},{to_text(fragment.volume)}"
    if fragment.voids:
        block += f"~{','.join(str(void - first) for void in fragment.voids)}"
    return f"{block}:{','.join(map(to_text, fragment[2:8]))}"


_NUMBER = r"(?:0|[1-9][0-9]{0,37})(?:\.[0-9]{0,36}[1-9])?"
# Each number has only one valid text, so that the text that was read equals the text that would be
# written.
_OFFSET = "(?:0|[1-9][0-9]{0,18})"
_WORD = re.compile(
    rf"({_OFFSET})(?:/([1-9][0-9]?)(?:~({_OFFSET}(?:,{_OFFSET})*))?)?:({_NUMBER}(?:,{_NUMBER})*)?"
)


def _decode(word: str) -> Fragment:
    match = _WORD.fullmatch(word)
    if match is None:
        raise ValueError(f"not a fragment: {word:.80}")
    first_id, level = int(match[1]), int(match[2] or 0)
    if level >= 63 or first_id % (1 << level):
        raise ValueError(f"not a fragment: {word:.80}")
    if first_id + (1 << level) - 1 > MAX_ID:
        raise ValueError(f"not a trade id: {first_id + (1 << level) - 1}")
    if match[4] is None:
        if match[3] is not None or level > MOST_VOIDS:
            raise ValueError(f"not a fragment: {word:.80}")
        ids = range(first_id, first_id + (1 << level))
        return Fragment(first_id, level, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, tuple(ids))
    numbers = [Decimal(text) for text in match[4].split(",")]
    if level == 0 and len(numbers) == 2 and numbers[0]:
        price, quantity = numbers
        return Fragment(first_id, 0, price, price, price, price, quantity, price * quantity)
    if len(numbers) != 6 or level == 0 or not all(numbers[:4]):
        raise ValueError(f"not a fragment: {word:.80}")
    voids = tuple(first_id + int(offset) for offset in match[3].split(",")) if match[3] else ()
    if voids and not (
        all(a < b for a, b in pairwise(voids)) and voids[-1] < first_id + (1 << level)
    ):
        raise ValueError(f"not a fragment: {word:.80}")
    open_, high, low, close, volume, quotes = numbers
    fragment = Fragment(first_id, level, open_, high, low, close, volume, quotes, voids)
    if not fragment.trade_count:
        raise ValueError(f"not a fragment: {word:.80}")
    return fragment


def _disagreement(symbol: str, kept: Fragment, refused: Fragment) -> Disagreement:
    return Disagreement(symbol, refused.first_id, refused.last_id, _encode(kept), _encode(refused))


def _describe(trade: Trade) -> str:
    return f"{to_text(trade.price)}×{to_text(trade.quantity)} at {trade.time} ms"
