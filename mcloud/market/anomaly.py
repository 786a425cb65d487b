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

import json
from bisect import bisect_left
from collections.abc import Iterable, Sequence
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

    @classmethod
    def from_json(cls, text: str) -> "Thresholds":
        """Read a JSON object with some of the thresholds. An empty text gives the defaults.

        Raises:
            ValueError: the text is not such an object, or a value is out of its bounds.
        """
        values = json.loads(text) if text else {}
        if not isinstance(values, dict):
            raise ValueError(f"not thresholds: {text}")
        known = [each.name for each in fields(cls)]
        for name in values:
            if name not in known:
                raise ValueError(f"unknown threshold {name!r}; choose from {', '.join(known)}")
        return cls(**values)

    def to_json(self) -> str:
        """Return the text that ``from_json`` reads, without the defaults."""
        others = {
            each.name: getattr(self, each.name)
            for each in fields(self)
            if getattr(self, each.name) != each.default
        }
        return json.dumps(others) if others else ""

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
    with localcontext(_EXACT_ENOUGH):
        series = _MinuteSeries(minutes, thresholds)
        first = bisect_left(series.starts, since)
        found = []
        for index in range(first, len(minutes)):
            for kind in KINDS:
                verdict = series.verdict(index, kind)
                if verdict is not None and not series.continues(index, kind, verdict):
                    found.append(series.anomaly(index, kind, verdict))
    return found


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


class _MinuteSeries:
    """Minutes, with the values that are computed once for all of them."""

    def __init__(self, minutes: Sequence[Minute], thresholds: Thresholds) -> None:
        self.minutes = minutes
        self.starts = [each.start for each in minutes]
        self._span = thresholds.window * MINUTE
        self._begins = _begins(minutes)
        limits = {
            "price-jump": (thresholds.jump_score, _exact(thresholds.jump_least)),
            "volume-spike": (thresholds.volume_score, _exact(thresholds.volume_least).ln()),
            "drift": (thresholds.drift_score, _exact(thresholds.drift_least)),
        }
        self._scores = {kind: _exact(score) for kind, (score, _) in limits.items()}
        # Minimum of a deviation. With it, a change with a sufficient score is also at least the
        # smallest change that counts.
        self._floors = {kind: least / self._scores[kind] for kind, (_, least) in limits.items()}
        self._rules = {
            "price-jump": self._jump,
            "volume-spike": self._spike,
            "drift": self._drift,
        }
        self._offs: dict[int, tuple[Decimal, Decimal, Decimal] | None] = {}
        self._logs: dict[int, Decimal | None] = {}
        self._verdicts: dict[tuple[int, str], _Verdict | None] = {}
        self._half = thresholds.window // 2

    def verdict(self, index: int, kind: AnomalyKind) -> _Verdict | None:
        """Return the unusual value of a minute, or None if the minute is not unusual or cannot be
        judged.
        """
        at = (index, kind)
        if at not in self._verdicts:
            found = self._rules[kind](index)
            is_one = found is not None and abs(found.score) >= self._scores[kind]
            self._verdicts[at] = found if is_one else None
        return self._verdicts[at]

    def continues(self, index: int, kind: AnomalyKind, verdict: _Verdict) -> bool:
        """Return whether the traded minute before was unusual in the same direction.

        A drift fluctuates around its limit, so for a drift all minutes of the fast mean count.
        """
        near = self._window(index)[-FAST if kind == "drift" else -1 :]
        others = [self.verdict(each, kind) for each in near]
        return any(each is not None and each.is_up == verdict.is_up for each in others)

    def anomaly(self, index: int, kind: AnomalyKind, verdict: _Verdict) -> Anomaly:
        one = self.minutes[index]
        return Anomaly(
            one.symbol,
            one.start,
            kind,
            _SHOWN.plus(verdict.value),
            _SHOWN.plus(verdict.usual),
            _SHORT.plus(verdict.value / verdict.usual - 1),
            _SHORT.plus(verdict.score),
            one.trades,
            is_complete(self.minutes, index),
        )

    def _jump(self, index: int) -> _Verdict | None:
        window = self._window(index)
        off = self._off(index)
        offs = [known[0] for each in window if (known := self._off(each)) is not None]
        if off is None or len(offs) < LEAST_HISTORY - 1:  # the first minute has no reference
            return None
        distance, price, reference = off
        scale = max(_median(offs), self._floors["price-jump"])
        return _Verdict(price, reference, distance / scale)

    def _off(self, index: int) -> tuple[Decimal, Decimal, Decimal] | None:
        """Return the distance of a minute's price from its reference, the price, and the
        reference.
        """
        if index not in self._offs:
            before = self._window(index)[-FAST:]
            off = None
            if before:
                reference = _median([self.minutes[each].close for each in before])
                one = self.minutes[index]
                up, down = one.high / reference - 1, reference / one.low - 1
                off = (up, one.high, reference) if up >= down else (down, one.low, reference)
            self._offs[index] = off
        return self._offs[index]

    def _spike(self, index: int) -> _Verdict | None:
        log = self._log(index)
        logs = [known for each in self._window(index) if (known := self._log(each)) is not None]
        if log is None or len(logs) < LEAST_HISTORY:
            return None
        middle = _median(logs)
        if log <= middle:
            return None
        deviation = _NORMAL * _median([abs(each - middle) for each in logs])
        scale = max(deviation, self._floors["volume-spike"])
        return _Verdict(self.minutes[index].volume, middle.exp(), (log - middle) / scale)

    def _log(self, index: int) -> Decimal | None:
        if index not in self._logs:
            volume = self.minutes[index].volume
            self._logs[index] = volume.ln() if volume else None
        return self._logs[index]

    def _drift(self, index: int) -> _Verdict | None:
        if index + 1 == len(self.minutes):
            return None
        window = [*self._window(index), index]
        if len(window) <= max(self._half, FAST):
            return None
        closes = [self.minutes[each].close for each in window]
        slow = sum(closes, Decimal()) / len(closes)
        fast = sum(closes[-FAST:], Decimal()) / FAST
        step = _NORMAL * _median([abs(b / a - 1) for a, b in pairwise(closes)])
        scale = max(step * _spread(len(closes)), self._floors["drift"])
        off = fast / slow - 1 if fast >= slow else slow / fast - 1
        return _Verdict(fast, slow, off / scale)

    def _window(self, index: int) -> range:
        """Return the minutes that a minute is compared with."""
        begin = bisect_left(self.starts, self.starts[index] - self._span, 0, index)
        return range(max(begin, self._begins[index]), index)


def _begins(minutes: Iterable[Minute]) -> list[int]:
    """Return for each minute the index of the first minute since the last hole across minutes."""
    begins: list[int] = []
    before: Minute | None = None
    for index, one in enumerate(minutes):
        is_next = before is not None and (
            one.start == before.start + MINUTE or one.first_id == before.last_id + 1
        )
        begins.append(begins[-1] if is_next else index)
        before = one
    return begins


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
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2


def _exact(threshold: float) -> Decimal:
    """Return a threshold as the decimal that was written: 0.01 is exactly a hundredth."""
    return Decimal(repr(threshold))
