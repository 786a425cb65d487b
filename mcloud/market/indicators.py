"""Moving averages, VWAP, volatility and returns over bars. An unknown value is None.

All arithmetic is decimal, so that every machine gets the same digits. Sums are exact, and a result
is rounded once, half to even, to 12 significant digits.

A window counts the steps of a timeline (see ``mcloud.market.quiet``): an interval without trades
has the last close and no volume. If trade ids are missing between two steps, every indicator starts
again. An interval with missing ids has no value and belongs to no window. A value is None until its
window is full.
"""

from collections import deque
from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from typing import NamedTuple

from mcloud.market.interval import Bar
from mcloud.market.quiet import TimelineStep
from mcloud.market.trade import to_text

LONGEST = 1000  # maximum number of intervals in a window

DAY = 86_400_000  # ms
YEAR = 365 * DAY  # number of ms in a year, because these markets never close

# Precision with which sums and products of the values of bars need no rounding: 38 digits, a few
# more per bar, and squares of log returns with LOG_PLACES decimal places.
_WIDE = Context(prec=120, rounding=ROUND_HALF_EVEN)
_SHOWN = Context(prec=12, rounding=ROUND_HALF_EVEN)
LOG_PLACES = Decimal(1).scaleb(-28)
"""Precision of a log return. It makes sums of them exact and independent of their order."""

# The weight of the start of an exponential average falls by e**-2 for each N + 1 intervals. After
# 20 times as many it is below 1e-17.
_FORGOTTEN = 20


class BadIndicator(ValueError):
    """Raised for a text that is not an indicator. ``name`` is the given name."""

    def __init__(self, message: str, name: str = "") -> None:
        super().__init__(message)
        self.name = name


class Indicator(NamedTuple):
    name: str
    length: int | None = None
    """Number of intervals in its window."""

    def __str__(self) -> str:
        return self.name if self.length is None else f"{self.name}:{self.length}"

    @property
    def is_price(self) -> bool:
        """Whether it can be drawn in a chart of prices."""
        return self.name in ("sma", "ema", "vwap")


Values = list[Decimal | None]
Point = Bar | None  # None stands for a hole


def parse(text: str) -> list[Indicator]:
    """Read a list such as ``sma:20,ema:12,vwap,vwap:60,volatility:30,returns``.

    Raises:
        BadIndicator: one of them is unknown, or its length is missing or invalid.
    """
    return list(dict.fromkeys(_parse(word.strip()) for word in text.split(",")))


def reach(indicator: Indicator, start: int, width: int) -> int:
    """Return the time, in ms, of the first bar of ``width`` ms that is needed for the value of the
    bar that starts at ``start``."""
    length = indicator.length or 0
    if indicator.name == "vwap" and not length:
        return start // DAY * DAY
    back = {
        "sma": length - 1,
        "vwap": length - 1,
        "ema": _FORGOTTEN * (length + 1),
        "volatility": length,
        "returns": 1,
    }
    return max(0, start - back[indicator.name] * width)


def compute(steps: Sequence[TimelineStep], width: int, indicator: Indicator) -> Values:
    """Return the indicator's value at each step of a timeline of intervals of ``width`` ms.

    ``sma:N``: the mean of the last N closes.
    ``ema:N``: the exponential mean of the closes with weight 2 / (N + 1), starting with the mean of
    the first N, and computed with 40 digits.
    ``vwap``: quote volume divided by volume since midnight UTC, or since the last hole if later.
    ``vwap:N``: the same over N intervals.
    ``volatility:N``: the sample standard deviation of the last N log returns, annualised with the
    square root of the number of intervals in 365 days.
    ``returns``: the close divided by the previous one, minus 1.
    """
    points: list[Point] = []
    shown: list[int] = []
    """Indexes of the points that are steps, not holes."""
    for step in steps:
        if not step.follows:
            points.append(None)
        shown.append(len(points))
        points.append(step.bar if step.complete else None)
    rules: dict[str, Callable[[], Values]] = {
        "sma": lambda: _sma(points, indicator.length or 0),
        "ema": lambda: _ema(points, indicator.length or 0),
        "vwap": lambda: (
            _rolling_vwap(points, indicator.length) if indicator.length else _session_vwap(points)
        ),
        "volatility": lambda: _volatility(points, indicator.length or 0, width),
        "returns": lambda: _returns(points),
    }
    with localcontext(_WIDE):
        values = rules[indicator.name]()
    return [
        None if value is None else _SHOWN.plus(value) for value in map(values.__getitem__, shown)
    ]


def signed_text(value: Decimal) -> str:
    """Return the canonical text of a number that may be negative."""
    return f"-{to_text(-value)}" if value < 0 else to_text(abs(value))


def log_return(close: Decimal, before: Decimal) -> Decimal:
    """Return ln(close / before), to 28 decimal places."""
    with localcontext(_LOG):
        return (close / before).ln().quantize(LOG_PLACES)


_LOG = Context(prec=40, rounding=ROUND_HALF_EVEN)

_LEAST = {"sma": 1, "ema": 1, "vwap": 1, "volatility": 2}
NAMES = ("sma", "ema", "vwap", "volatility", "returns")
_ALONE = ("vwap", "returns")


def _parse(word: str) -> Indicator:
    name, colon, text = word.partition(":")
    if name not in NAMES:
        raise BadIndicator(f"unknown indicator {name!r}; choose from {', '.join(NAMES)}", name)
    if not colon:
        if name not in _ALONE:
            raise BadIndicator(f"{name} needs a length, such as {name}:20")
        return Indicator(name)
    if name not in _LEAST:
        raise BadIndicator(f"{name} takes no length, but {word!r} gives one")
    is_number = text.isascii() and text.isdigit() and len(text) <= 9
    if not is_number or not _LEAST[name] <= int(text) <= LONGEST:
        raise BadIndicator(
            f"the length of {name} is a whole number from {_LEAST[name]} to {LONGEST}, "
            f"not {text!r}; such as {name}:20"
        )
    return Indicator(name, int(text))


def _sma(points: Sequence[Point], length: int) -> Values:
    values: Values = []
    window: deque[Decimal] = deque()
    total = Decimal()
    for point in points:
        if point is None:
            window.clear()
            total = Decimal()
            values.append(None)
            continue
        window.append(point.close)
        total += point.close
        if len(window) > length:
            total -= window.popleft()
        values.append(_quotient(total, Decimal(length)) if len(window) == length else None)
    return values


def _ema(points: Sequence[Point], length: int) -> Values:
    values: Values = []
    first: list[Decimal] = []
    value: Decimal | None = None
    with localcontext(_LOG):
        weight = Decimal(2) / (length + 1)
        for point in points:
            if point is None:
                first, value = [], None
            elif value is not None:
                value += weight * (point.close - value)
            else:
                first.append(point.close)
                if len(first) == length:
                    value = sum(first, Decimal()) / length
            values.append(value)
    return values


def _session_vwap(points: Sequence[Point]) -> Values:
    values: Values = []
    quote = base = Decimal()
    day = -1
    for point in points:
        if point is None or point.start // DAY != day:
            quote = base = Decimal()
            day = -1 if point is None else point.start // DAY
        if point is not None:
            quote, base = quote + point.quote_volume, base + point.volume
        values.append(_quotient(quote, base))
    return values


def _rolling_vwap(points: Sequence[Point], length: int) -> Values:
    values: Values = []
    window: deque[Bar] = deque()
    quote = base = Decimal()
    for point in points:
        if point is None:
            window.clear()
            quote = base = Decimal()
            values.append(None)
            continue
        window.append(point)
        quote, base = quote + point.quote_volume, base + point.volume
        if len(window) > length:
            gone = window.popleft()
            quote, base = quote - gone.quote_volume, base - gone.volume
        values.append(_quotient(quote, base) if len(window) == length else None)
    return values


def _returns(points: Sequence[Point]) -> Values:
    values: Values = []
    before: Point = None
    for point in points:
        if point is None or before is None:
            values.append(None)
        else:
            values.append(_quotient(point.close - before.close, before.close))
        before = point
    return values


def _volatility(points: Sequence[Point], length: int, width: int) -> Values:
    values: Values = []
    window: deque[Decimal] = deque()
    total = squares = Decimal()
    before: Point = None
    n = Decimal(length)
    for point in points:
        if point is None or before is None:
            window.clear()
            total = squares = Decimal()
        else:
            change = log_return(point.close, before.close)
            window.append(change)
            total, squares = total + change, squares + change * change
            if len(window) > length:
                gone = window.popleft()
                total, squares = total - gone, squares - gone * gone
        before = point
        if len(window) == length:
            variance = (n * squares - total * total) / (n * (n - 1))
            values.append((variance * YEAR / width).sqrt())
        else:
            values.append(None)
    return values


def _quotient(numerator: Decimal, denominator: Decimal) -> Decimal | None:
    return _SHOWN.divide(numerator, denominator) if denominator else None
