"""Simulated trades that resemble those of Binance. They depend on a seed, and are the same on every
machine.

Only ``random()``, whole numbers and division are used, because these give the same results
everywhere, while logarithms differ in their last bit from one C library to the next.
"""

from collections.abc import Collection, Iterator
from decimal import Decimal
from heapq import merge
from itertools import count as count_from
from itertools import islice
from operator import attrgetter
from random import Random

from mcloud.errors import UsageError
from mcloud.feed.feed import FeedReport, parse_symbols
from mcloud.market.trade import MAX_TIME, Trade, canonical

MAX_RATE = 1000.0
"""Maximum number of trades per second and symbol. There is at most one order per millisecond."""

# Prices of 2024-08-08. The digits after the decimal point define the tick size.
_START_PRICES = {
    "BTCUSDT": "61837.63",
    "ETHUSDT": "2683.80",
    "BNBUSDT": "508.10",
    "SOLUSDT": "152.43",
    "XRPUSDT": "0.6123",
    "DOGEUSDT": "0.10345",
    "ADAUSDT": "0.3401",
    "LTCUSDT": "61.52",
}

# Number of resting orders that fill an order on average, all in one millisecond. Two of three
# adjacent trades then share a millisecond. This share was 64% in a recording of BTCUSDT and 68% in
# one of ETHUSDT.
_FILLS = 3

# In the same recordings there are 30 trades/s on average, and 950 in the busiest second.
_BURST_SHARE = 0.01
_BURST_FACTOR = 30.0
_BURST_RATE = 900.0

_MILLION = 1_000_000
_WALK = 40  # maximum change from one order to the next, in millionths of the price
_NOTIONAL = 100  # median of an order's fill, in the quote asset
_LARGEST = 5_000  # multiple of the median
_QUANTITY_PLACES = 5


class Simulate:
    """A simulated stream; see ``mcloud.feed.feed.Feed``.

    The symbols are interleaved in the order of time. Each has dense ids from its own start, and its
    trades depend only on the seed, the rate and the start time, and not on the other symbols.

    Args:
        symbols: such as BTCUSDT; known ones begin at a plausible price, others at a seeded one.
        seed: the same seed gives the same trades.
        start_time: start of the stream in ms since 1970, UTC.
        count: total number of trades; None for no limit.
        duration: duration in seconds of trade time; None for no limit.
        rate: average number of trades per second and symbol. Some seconds have up to thirty times
            as many, but at most about 1,000 trades.

    Raises:
        UsageError: an argument is out of its range.
    """

    warnings: tuple[str, ...] = ()

    def __init__(
        self,
        symbols: Collection[str],
        *,
        seed: int,
        start_time: int,
        count: int | None = None,
        duration: float | None = None,
        rate: float = 30.0,
    ) -> None:
        if not 0 < rate <= MAX_RATE:
            raise UsageError(f"the rate must be above 0 and at most {MAX_RATE:g}: {rate:g}")
        if count is not None and count < 0:
            raise UsageError(f"the count must not be negative: {count}")
        if duration is not None and not 0 <= duration <= MAX_TIME / 1000:
            raise UsageError(f"the duration is not a number of seconds: {duration}")
        if not 0 <= start_time <= MAX_TIME:
            raise UsageError(f"the start time is not within the years 1970 to 9999: {start_time}")
        self.symbols = parse_symbols(symbols)
        self._seed = seed
        self._start_time = start_time
        self._count = count
        self._rate = rate
        self._trades = 0
        self._end_time = MAX_TIME + 1
        if duration is not None:
            self._end_time = min(self._end_time, start_time + int(duration * 1000))

    @property
    def report(self) -> FeedReport:
        return FeedReport(
            trades=self._trades, done=self._trades / self._count if self._count else None
        )

    def __iter__(self) -> Iterator[Trade]:
        streams = [self._stream(symbol) for symbol in self.symbols]
        trades = islice(merge(*streams, key=attrgetter("time")), self._count)
        self._trades = 0
        for trade in trades:
            self._trades += 1
            yield trade

    def _stream(self, symbol: str) -> Iterator[Trade]:
        random = Random(f"{self._seed}/{symbol}")
        value, places = _start_price(symbol, random)
        ids = count_from(int(random.random() * 9e9) + 1_000_000_000)
        for time in _order_times(random, self._rate, self._start_time, self._end_time):
            value += value * _between(random, -_WALK, _WALK) // _MILLION
            sells = random.random() < 0.5
            ticks = max(1, value // _MILLION)
            while True:
                quantity = _quantity(random, ticks, places)
                price = _decimal(ticks, places)
                yield Trade(symbol, next(ids), price, quantity, time, sells)
                if random.random() * _FILLS < 1:
                    break
                # the quantity of this level is used up, so continue with the next level
                if random.random() < 0.25:
                    ticks = max(1, ticks - 1 if sells else ticks + 1)


def _start_price(symbol: str, random: Random) -> tuple[int, int]:
    """Return the price in millionths of a tick, and the decimal places of a tick."""
    text = _START_PRICES.get(symbol)
    if text is None:
        return _between(random, 100, 100_000) * _MILLION, 2
    return int(text.replace(".", "")) * _MILLION, len(text.partition(".")[2])


def _order_times(random: Random, rate: float, start: int, end: int) -> Iterator[int]:
    """Return the milliseconds in which an order arrives: calm seconds, with occasional bursts."""
    burst = max(rate, min(_BURST_RATE, _BURST_FACTOR * rate))
    calm = (rate - _BURST_SHARE * burst) / (1 - _BURST_SHARE)
    for second in range(start, end, 1000):
        chance = (burst if random.random() < _BURST_SHARE else calm) / (1000 * _FILLS)
        for time in range(second, min(second + 1000, end)):
            if random.random() < chance:
                yield time


def _quantity(random: Random, ticks: int, places: int) -> Decimal:
    """Return a heavy-tailed quantity: half of all fills are below the median, and one in a hundred
    is above 99 times the median."""
    median = max(1.0, _NOTIONAL * 10 ** (places + _QUANTITY_PLACES) / ticks)
    draw = random.random()
    size = min(draw / (1 - draw), _LARGEST)
    return _decimal(1 + int(median * size), _QUANTITY_PLACES)


def _between(random: Random, low: int, high: int) -> int:
    return low + int(random.random() * (high - low + 1))


def _decimal(units: int, places: int) -> Decimal:
    whole, part = divmod(units, 10**places)
    return Decimal(canonical(f"{whole}.{part:0{places}d}"))
