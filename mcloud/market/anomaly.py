"""Detection of unusual minutes: price jumps, volume spikes and drifts.

Each minute is compared with the traded minutes before it, by medians, which a few bad values do
not move. All arithmetic is decimal, so that the same candles give the same anomalies on every
machine. A verdict depends only on the candles of the ``reach`` before its minute, not on the time
of the check or on earlier checks.

- ``price-jump``: the high or the low is far from the median of the last 5 closes, compared with its
  usual distance. One trade at a wrong price is enough.
- ``volume-spike``: the logarithm of the volume is far above its median, measured by the median
  absolute deviation.
- ``drift``: the mean of the last 5 closes is far from the mean of the window, compared with the
  distance that a random walk with steps of the usual size would reach.

If consecutive minutes are unusual in the same direction, only the first is an anomaly. The current
minute is checked too, since a high, a low and a volume can only become more unusual. Its close is
not final, so a drift is reported when the next minute has begun. After a hole in the trade ids
across minutes, the comparison starts again without history.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from functools import cache
from itertools import pairwise
from typing import Literal, NamedTuple, TypeVar, get_args

from mcloud.market.candle import MINUTE, Candle, to_timestamp
from mcloud.market.trade import to_text

AnomalyKind = Literal["price-jump", "volume-spike", "drift"]
KINDS: tuple[AnomalyKind, ...] = get_args(AnomalyKind)

FAST = 5  # minutes of the reference price and of the fast mean
LEAST_HISTORY = 3  # minimum number of minutes before the first verdict
# In a normal distribution, the standard deviation is this many median absolute deviations.
_NORMAL = Decimal("1.4826")

_EXACT_ENOUGH = Context(prec=28, rounding=ROUND_HALF_EVEN)
_SHOWN = Context(prec=12, rounding=ROUND_HALF_EVEN)
_SHORT = Context(prec=6, rounding=ROUND_HALF_EVEN)


Number = TypeVar("Number", int, float)


def _threshold(default: Number, least: float, most: float) -> Number:
    found: Number = field(default=default, metadata={"least": least, "most": most})
    return found


@dataclass(frozen=True)
class Thresholds:
    """Limits above which a minute is an anomaly. A score is a number of usual deviations. A change
    below its ``least`` is never an anomaly.

    The defaults report nothing on recorded trades of BTCUSDT and ETHUSDT, neither as they are nor
    with each two seconds read as a minute, and nothing on simulated days.

    Raises: ValueError: a value is not a number, or is out of its bounds.
    """

    window: int = _threshold(60, 10, 720)
    """Minutes of history to compare with."""
    jump_score: float = _threshold(8.0, 1, 1000)
    """Usual deviations from which a price jump is an anomaly."""
    jump_least: float = _threshold(0.01, 0.0001, 1)
    """Smallest price jump, as a fraction of the price."""
    volume_score: float = _threshold(5.0, 1, 1000)
    """Usual deviations from which a volume spike is an anomaly."""
    volume_least: float = _threshold(10.0, 1.5, 1e6)
    """Smallest volume spike, as a multiple of the usual volume."""
    drift_score: float = _threshold(4.0, 1, 1000)
    """Usual deviations from which a drift is an anomaly."""
    drift_least: float = _threshold(0.02, 0.0001, 1)
    """Smallest drift, as a fraction of the price."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value, least, most = getattr(self, each.name), *each.metadata.values()
            is_number = type(value) is int or (type(value) is float and each.type is not int)
            if not is_number or not least <= value <= most:
                what = "a whole number" if each.type is int else "a number"
                raise ValueError(f"{each.name} is {what} from {least:g} to {most:g}, not {value!r}")

    @property
    def reach(self) -> int:
        """Longest time before a minute, in ms, from which a candle can affect its verdict."""
        return 3 * self.window * MINUTE


class Minute(NamedTuple):
    """The fields of a candle that the detection uses."""

    symbol: str
    start: int
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    trades: int
    first_id: int
    last_id: int
    is_whole: bool
    """Whether it has no hole in its trade ids."""


@dataclass(frozen=True)
class Anomaly:
    """A minute whose price or volume is unusual."""

    symbol: str
    start: int
    """Start of the minute, in ms since 1970."""
    kind: AnomalyKind
    value: Decimal
    """The most distant price, the volume, or the fast mean."""
    usual: Decimal
    """The median close, the median volume, or the mean of the window."""
    change: Decimal
    """Relative change from the usual value: 0.05 is 5% above it."""
    score: Decimal
    """Number of usual deviations."""
    trades: int
    """Number of trades of the minute at the time of the check."""
    complete: bool
    """Whether the trade ids prove that no trade of the minute is missing."""

    @property
    def timestamp(self) -> str:
        return to_timestamp(self.start)

    @property
    def key(self) -> str:
        """Key that is the same on every site: ``2024-08-08T23:54:00Z BTCUSDT price-jump``."""
        return f"{self.timestamp} {self.symbol} {self.kind}"

    def __str__(self) -> str:
        percent = f"{float(self.change) * 100:+.2f}%"
        if self.kind == "volume-spike":
            percent = f"{float(self.change) + 1:.0f} times the usual"
        return f"{self.symbol} {self.timestamp} {self.kind}: {to_text(self.value)} ({percent})"


def minute(candle: Candle) -> Minute:
    """Return the fields of a candle that the detection uses. The candle has trades."""
    return Minute(
        candle.symbol,
        candle.start,
        candle.high,
        candle.low,
        candle.close,
        candle.volume,
        candle.trade_count,
        candle.first_id,
        candle.last_id,
        len(candle.runs) == 1,
    )


def detect(
    minutes: Sequence[Minute], since: int, thresholds: Thresholds = Thresholds()
) -> list[Anomaly]:
    """Return the anomalies of the minutes from ``since`` (ms) on, by time and kind.

    ``minutes`` belong to one symbol and are in order, from ``thresholds.reach`` before ``since``
    on.
    """
    return MinuteSeries(thresholds, minutes).detect(since)


def is_complete(minutes: Sequence[Minute], index: int) -> bool:
    """Return whether the trade ids of a minute and its neighbours prove that none is missing."""
    if index == 0 or index + 1 == len(minutes):
        return False
    before, one, after = minutes[index - 1 : index + 2]
    return one.is_whole and before.last_id + 1 == one.first_id and one.last_id + 1 == after.first_id


class _Verdict(NamedTuple):
    value: Decimal
    usual: Decimal
    score: Decimal

    @property
    def is_up(self) -> bool:
        return self.value > self.usual


_Verdicts = tuple[_Verdict | None, ...]
"""One for each of KINDS; None if the minute is not unusual or cannot be judged."""
_NO_VERDICTS: _Verdicts = (None,) * len(KINDS)


class _Judged:
    """A minute of a series, with the values that later minutes use again."""

    __slots__ = ("begin", "has_next", "log", "minute", "off", "verdicts")

    def __init__(self, minute: Minute, begin: int) -> None:
        self.minute = minute
        self.begin = begin
        """Start of the first minute since the last hole across minutes."""
        self.off: Decimal | None = None
        """Distance of the price from its reference; None if it is unknown."""
        self.log: Decimal | None = None
        """Logarithm of the volume; None if it is unknown."""
        self.verdicts: _Verdicts | None = None
        self.has_next = False
        """Whether the minute had a successor when the verdicts were made."""


class MinuteSeries:
    """The traded minutes of one symbol, in order. They may change, and only what depends on a
    change is computed again.

    Old minutes can be dropped. The verdict of a minute then needs those of the ``window`` before it
    only, if ``detect`` has been called for these while ``Thresholds.reach`` before each was known.
    """

    def __init__(self, thresholds: Thresholds, minutes: Iterable[Minute] = ()) -> None:
        self._rows: list[_Judged] = []
        self._starts: list[int] = []
        self._span = thresholds.window * MINUTE
        self._half = thresholds.window // 2
        limits = _limits(thresholds)
        self._scores = {kind: score for kind, (score, _) in limits.items()}
        # Minimum of a deviation. With it, a change with a sufficient score is also at least the
        # smallest change that counts.
        self._floors = {kind: floor for kind, (_, floor) in limits.items()}
        self._rules = (self._jump, self._spike, self._drift)
        for each in minutes:
            self.put(each)

    @property
    def starts(self) -> Sequence[int]:
        """Starts of the minutes."""
        return self._starts

    def put(self, minute: Minute) -> int:
        """Add a minute, or replace it. Return the start of the first minute whose anomalies may
        have changed: the one before it, which is complete only together with its neighbours.
        """
        starts, rows = self._starts, self._rows
        at = len(starts)
        if at and starts[-1] >= minute.start:
            at = bisect_left(starts, minute.start)
        if at < len(starts) and starts[at] == minute.start:
            rows[at] = _Judged(minute, self._begin(at, minute))
        else:
            starts.insert(at, minute.start)
            rows.insert(at, _Judged(minute, self._begin(at, minute)))
        for later in range(at + 1, len(rows)):
            row = rows[later]
            row.begin = self._begin(later, row.minute)
            row.off = row.verdicts = None
        return starts[max(0, at - 1)]

    def drop_before(self, start: int) -> None:
        """Drop the minutes before ``start``."""
        count = bisect_left(self._starts, start)
        if count:
            del self._starts[:count], self._rows[:count]

    def minute(self, start: int) -> Minute | None:
        """Return a minute, or None if it is unknown."""
        at = bisect_left(self._starts, start)
        is_known = at < len(self._starts) and self._starts[at] == start
        return self._rows[at].minute if is_known else None

    def detect(self, since: int) -> list[Anomaly]:
        """Return the anomalies of the minutes from ``since`` on, by time and kind."""
        found = []
        with localcontext(_EXACT_ENOUGH):
            for index in range(bisect_left(self._starts, since), len(self._rows)):
                for kind, verdict in zip(KINDS, self._verdicts(index), strict=True):
                    if verdict is not None and not self._continues(index, kind, verdict):
                        found.append(self._anomaly(index, kind, verdict))
        return found

    def _begin(self, index: int, minute: Minute) -> int:
        """Return the start of the first minute since the last hole across minutes."""
        if not index:
            return minute.start
        before = self._rows[index - 1]
        last = before.minute
        is_next = minute.start == last.start + MINUTE or minute.first_id == last.last_id + 1
        return before.begin if is_next else minute.start

    def _verdicts(self, index: int) -> _Verdicts:
        row = self._rows[index]
        has_next = index + 1 < len(self._rows)
        if row.verdicts is None or row.has_next != has_next:
            # A successor affects the drift only. The other verdicts are made again with it, at the
            # end of a minute.
            found = tuple(rule(index) for rule in self._rules)
            row.verdicts = found if any(found) else _NO_VERDICTS
            row.has_next = has_next
        return row.verdicts

    def _continues(self, index: int, kind: AnomalyKind, verdict: _Verdict) -> bool:
        """Return whether the traded minute before was unusual in the same direction.

        A drift fluctuates around its limit, so for a drift all minutes of the fast mean count.
        """
        near = self._window(index)[-FAST if kind == "drift" else -1 :]
        which = KINDS.index(kind)
        others = [self._verdicts(each)[which] for each in near]
        return any(each is not None and each.is_up == verdict.is_up for each in others)

    def _anomaly(self, index: int, kind: AnomalyKind, verdict: _Verdict) -> Anomaly:
        one = self._rows[index].minute
        near = [each.minute for each in self._rows[max(0, index - 1) : index + 2]]
        return Anomaly(
            one.symbol,
            one.start,
            kind,
            _SHOWN.plus(verdict.value),
            _SHOWN.plus(verdict.usual),
            _SHORT.plus(verdict.value / verdict.usual - 1),
            _SHORT.plus(verdict.score),
            one.trades,
            is_complete(near, 1 if index else 0),
        )

    def _unusual(self, kind: AnomalyKind, verdict: _Verdict) -> _Verdict | None:
        return verdict if abs(verdict.score) >= self._scores[kind] else None

    def _jump(self, index: int) -> _Verdict | None:
        window = self._window(index)
        if not window:  # the first minute has no reference
            return None
        offs = [each for row in window if (each := self._off(row)) is not None]
        row = self._rows[index]
        distance = self._off(index)
        if distance is None or len(offs) < LEAST_HISTORY - 1:
            return None
        scale = max(_median(offs), self._floors["price-jump"])
        if distance / scale < self._scores["price-jump"]:
            return None
        reference = self._reference(window)
        one = row.minute
        is_up = one.high / reference - 1 >= reference / one.low - 1
        price = one.high if is_up else one.low
        return self._unusual("price-jump", _Verdict(price, reference, distance / scale))

    def _off(self, index: int) -> Decimal | None:
        """Return the distance of a minute's price from its reference, or None without one."""
        row = self._rows[index]
        if row.off is None:
            window = self._window(index)
            if window:
                reference = self._reference(window)
                one = row.minute
                row.off = max(one.high / reference - 1, reference / one.low - 1)
        return row.off

    def _reference(self, window: range) -> Decimal:
        return _median([self._rows[each].minute.close for each in window[-FAST:]])

    def _spike(self, index: int) -> _Verdict | None:
        log = self._log(index)
        logs = [each for row in self._window(index) if (each := self._log(row)) is not None]
        if log is None or len(logs) < LEAST_HISTORY:
            return None
        logs.sort()
        middle = _median_sorted(logs)
        # The deviation only raises the scale above its floor, so it is rarely needed.
        floor = self._floors["volume-spike"]
        if log <= middle or (log - middle) / floor < self._scores["volume-spike"]:
            return None
        deviation = _NORMAL * _median([abs(each - middle) for each in logs])
        scale = max(deviation, floor)
        volume = self._rows[index].minute.volume
        return self._unusual("volume-spike", _Verdict(volume, middle.exp(), (log - middle) / scale))

    def _log(self, index: int) -> Decimal | None:
        row = self._rows[index]
        if row.log is None and row.minute.volume:
            row.log = row.minute.volume.ln()
        return row.log

    def _drift(self, index: int) -> _Verdict | None:
        if index + 1 == len(self._rows):
            return None
        window = [*self._window(index), index]
        if len(window) <= max(self._half, FAST):
            return None
        closes = [self._rows[each].minute.close for each in window]
        slow = sum(closes, Decimal()) / len(closes)
        fast = sum(closes[-FAST:], Decimal()) / FAST
        off = fast / slow - 1 if fast >= slow else slow / fast - 1
        # The steps only raise the scale above its floor, so they are rarely needed.
        floor = self._floors["drift"]
        if off / floor < self._scores["drift"]:
            return None
        step = _NORMAL * _median([abs(b / a - 1) for a, b in pairwise(closes)])
        scale = max(step * _spread(len(closes)), floor)
        return self._unusual("drift", _Verdict(fast, slow, off / scale))

    def _window(self, index: int) -> range:
        """Return the minutes that a minute is compared with."""
        since = max(self._starts[index] - self._span, self._rows[index].begin)
        return range(bisect_left(self._starts, since, 0, index), index)


@cache
def _limits(thresholds: Thresholds) -> Mapping[str, tuple[Decimal, Decimal]]:
    """Return the score of each kind, and the minimum of its deviations."""
    with localcontext(_EXACT_ENOUGH):
        leasts = {
            "price-jump": (thresholds.jump_score, _exact(thresholds.jump_least)),
            "volume-spike": (thresholds.volume_score, _exact(thresholds.volume_least).ln()),
            "drift": (thresholds.drift_score, _exact(thresholds.drift_least)),
        }
        return {
            kind: (_exact(score), least / _exact(score)) for kind, (score, least) in leasts.items()
        }


@cache
def _spread(count: int) -> Decimal:
    """Return the standard deviation of the difference between the fast and the slow mean, over
    ``count`` closes of a random walk whose steps have the standard deviation 1.

    The step i before the last counts (i + 1)/count in the slow mean and min(i + 1, 5)/5 in the
    fast one.
    """
    with localcontext(_EXACT_ENOUGH):
        weights = (
            Decimal(min(i + 1, FAST)) / FAST - Decimal(i + 1) / count for i in range(count - 1)
        )
        return sum((weight * weight for weight in weights), Decimal()).sqrt()


def _median(values: Sequence[Decimal]) -> Decimal:
    return _median_sorted(sorted(values))


def _median_sorted(ordered: Sequence[Decimal]) -> Decimal:
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2


def _exact(threshold: float) -> Decimal:
    """Return a threshold as the decimal that was written: 0.01 is exactly a hundredth."""
    return Decimal(repr(threshold))
