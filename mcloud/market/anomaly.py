"""Minutes that are out of line: price jumps, volume spikes, drifts.

Each minute is held against the traded minutes before it, with medians, which a few bad values do
not move. All of it is decimal arithmetic, so that the same candles give the same anomalies on every
machine. A verdict depends on the candles of the ``reach`` before its minute and on nothing else:
not on when somebody looked, or on what he had seen before.

- ``price-jump``: the high or the low is far from the median of the last 5 closes, measured by how
  far it usually is. One trade at a wrong price is enough.
- ``volume-spike``: the logarithm of the volume is far above its median, measured by the median
  absolute deviation.
- ``drift``: the mean of the last 5 closes is far from the mean of the window, measured by how far a
  price that walks at random in steps of the usual size would bring it.

Of a stretch of minutes that are out of line in one direction the first is the anomaly. A minute
that still grows is looked at too, since a high, a low and a volume only ever get further out of
line; its close is not, so that there is no drift before the next minute has begun. Behind a hole
in the trade ids across minutes nothing is known to compare with, and it begins anew.
"""

import json
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

from mcloud.market.candle import MINUTE, Candle, parse_timestamp, to_timestamp
from mcloud.market.indicators import signed_text
from mcloud.market.trade import to_text

KINDS = ("price-jump", "volume-spike", "drift")

FAST = 5  # minutes: of the reference price, and of the quick mean
LEAST_HISTORY = 3  # minutes
# Of a normal distribution the median absolute deviation times this is the standard deviation.
_NORMAL = Decimal("1.4826")

_EXACT_ENOUGH = Context(prec=28, rounding=ROUND_HALF_EVEN)
_SHOWN = Context(prec=12, rounding=ROUND_HALF_EVEN)
_SHORT = Context(prec=6, rounding=ROUND_HALF_EVEN)


def _threshold(default: float, least: float, most: float) -> Any:
    return field(default=default, metadata={"least": least, "most": most})


@dataclass(frozen=True)
class Thresholds:
    """What is out of line. A score counts usual deviations; what is below a ``least`` never is.

    The defaults give no alarm on recorded trades of BTCUSDT and ETHUSDT, neither as they are nor
    with two seconds taken for a minute, nor on made-up days.
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

    @classmethod
    def from_json(cls, text: str) -> "Thresholds":
        """Of a JSON object with some of the above, or of nothing: the defaults.

        Raises:
            ValueError: it is none, has another key, or a value that is none of its bounds.
        """
        values = json.loads(text) if text else {}
        if not isinstance(values, dict):
            raise ValueError(f"not thresholds: {text}")
        return cls.checked(values)

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> "Thresholds":
        """Of some of the above by name; ValueError as of ``from_json``."""
        known = {each.name: each for each in fields(cls)}
        for name, value in values.items():
            if name not in known:
                raise ValueError(f"unknown threshold {name!r}; choose from {', '.join(known)}")
            bounds = known[name].metadata
            is_number = type(value) is int or (type(value) is float and name != "window")
            if not is_number or not bounds["least"] <= value <= bounds["most"]:
                what = "a whole number" if name == "window" else "a number"
                least, most = bounds["least"], bounds["most"]
                raise ValueError(f"{name} is {what} from {least:g} to {most:g}, not {value!r}")
        return cls(**values)

    def to_json(self) -> str:
        """What ``from_json`` reads, without the defaults."""
        others = {
            each.name: getattr(self, each.name)
            for each in fields(self)
            if getattr(self, each.name) != each.default
        }
        return json.dumps(others) if others else ""

    @property
    def reach(self) -> int:
        """From how far back, in ms, a candle can decide a verdict."""
        return 3 * self.window * MINUTE


class Minute(NamedTuple):
    """What of a candle is looked at."""

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
    """Without a hole in its trade ids."""


@dataclass(frozen=True)
class Anomaly:
    symbol: str
    start: int
    """Of the minute, ms since 1970."""
    kind: str
    """One of KINDS."""
    value: Decimal
    """The price furthest off, the volume, or the quick mean."""
    usual: Decimal
    """The median close, the median volume, or the mean of the window."""
    change: Decimal
    """From the usual to the value: 0.05 is 5% above it."""
    score: Decimal
    """In usual deviations."""
    trades: int
    """Of the minute, as they were then."""
    complete: bool
    """True where the trade ids proved that these were all."""

    @property
    def timestamp(self) -> str:
        return to_timestamp(self.start)

    @property
    def key(self) -> str:
        """The same on every site: ``2024-08-08T23:54:00Z BTCUSDT price-jump``."""
        return f"{self.timestamp} {self.symbol} {self.kind}"

    def to_record(self) -> dict[str, Any]:
        """As JSON; decimals as texts."""
        return {
            "symbol": self.symbol,
            "timestamp": self.timestamp,
            "kind": self.kind,
            "value": signed_text(self.value),
            "usual": signed_text(self.usual),
            "change": signed_text(self.change),
            "score": signed_text(self.score),
            "trades": self.trades,
            "complete": self.complete,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Anomaly":
        numbers = {name: Decimal(record[name]) for name in ("value", "usual", "change", "score")}
        return cls(
            symbol=record["symbol"],
            start=parse_timestamp(record["timestamp"]),
            kind=record["kind"],
            trades=record["trades"],
            complete=record["complete"],
            **numbers,
        )

    def __str__(self) -> str:
        percent = f"{float(self.change) * 100:+.2f}%"
        if self.kind == "volume-spike":
            percent = f"{float(self.change) + 1:.0f} times the usual"
        return f"{self.symbol} {self.timestamp} {self.kind}: {to_text(self.value)} ({percent})"


def minute(candle: Candle) -> Minute:
    """What of a candle is looked at; it has trades."""
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
    """The anomalies of the minutes from ``since`` (ms) on, by time and kind.

    ``minutes`` are of one symbol and in order, from ``thresholds.reach`` before ``since`` on.
    """
    with localcontext(_EXACT_ENOUGH):
        series = _Series(minutes, thresholds)
        first = bisect_left(series.starts, since)
        found = []
        for index in range(first, len(minutes)):
            for kind in KINDS:
                verdict = series.verdict(index, kind)
                if verdict is not None and not series.continues(index, kind, verdict):
                    found.append(series.anomaly(index, kind, verdict))
    return found


class _Verdict(NamedTuple):
    value: Decimal
    usual: Decimal
    score: Decimal

    @property
    def is_up(self) -> bool:
        return self.value > self.usual


class _Series:
    """Minutes, and what is computed of them once."""

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
        # No deviation counts as less than this, so that a score that is reached is at least the
        # least that counts.
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

    def verdict(self, index: int, kind: str) -> _Verdict | None:
        """What is out of line in a minute; None where nothing is, or nothing is known."""
        at = (index, kind)
        if at not in self._verdicts:
            found = self._rules[kind](index)
            is_one = found is not None and abs(found.score) >= self._scores[kind]
            self._verdicts[at] = found if is_one else None
        return self._verdicts[at]

    def continues(self, index: int, kind: str, verdict: _Verdict) -> bool:
        """True where the traded minute before was out of line in the same direction.

        A drift comes and goes at its border: there the quick mean's minutes count.
        """
        near = self._window(index)[-FAST if kind == "drift" else -1 :]
        others = [self.verdict(each, kind) for each in near]
        return any(each is not None and each.is_up == verdict.is_up for each in others)

    def anomaly(self, index: int, kind: str, verdict: _Verdict) -> Anomaly:
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
            self._is_complete(index),
        )

    def _jump(self, index: int) -> _Verdict | None:
        window = self._window(index)
        off = self._off(index)
        offs = [known[0] for each in window if (known := self._off(each)) is not None]
        if off is None or len(offs) < LEAST_HISTORY - 1:  # the first one has no reference
            return None
        distance, price, reference = off
        scale = max(_median(offs), self._floors["price-jump"])
        return _Verdict(price, reference, distance / scale)

    def _off(self, index: int) -> tuple[Decimal, Decimal, Decimal] | None:
        """How far a minute's price went from its reference, the price, and the reference."""
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
        """The minutes that one is compared with."""
        begin = bisect_left(self.starts, self.starts[index] - self._span, 0, index)
        return range(max(begin, self._begins[index]), index)

    def _is_complete(self, index: int) -> bool:
        one = self.minutes[index]
        if index == 0 or index + 1 == len(self.minutes):
            return False
        before, after = self.minutes[index - 1], self.minutes[index + 1]
        return (
            one.is_whole
            and before.last_id + 1 == one.first_id
            and one.last_id + 1 == after.first_id
        )


def _begins(minutes: Iterable[Minute]) -> list[int]:
    """For each minute the index of the first one since the last hole across minutes."""
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
    """The standard deviation of quick mean by slow mean, over ``count`` closes that walk at random
    in steps of standard deviation 1.

    The step i before the last counts (i + 1)/count in the slow mean and min(i + 1, 5)/5 in the
    quick one.
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
    """As it was written: 0.01 is a hundredth."""
    return Decimal(repr(threshold))
