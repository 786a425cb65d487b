"""Faults that the local exchange simulates on demand."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from http import HTTPStatus
from random import Random

from mcloud.config import unknown
from mcloud.errors import UsageError
from mcloud.local.exchange.markets import Market
from mcloud.market.trade import MAX_ID, Trade, capitals

KINDS = {
    "cut": "drop connections without a close frame: the `count` oldest, or all",
    "stall": "stop sending `symbol`; it continues to trade, and REST has the trades",
    "repeat": "the last `count` trades are sent again",
    "reorder": "trades are shuffled within windows of `count`",
    "drop": "the next `count` trades (of `symbol`) are not sent",
    "slow": "each connection gets at most `rate` bytes a second",
    "refuse": "new streams are answered with `status`, or not at all",
    "shutdown": "serverShutdown is announced, and `seconds` later all connections are closed",
    "rest_429": "REST says too many requests, and to retry after `seconds`",
    "rest_418": "REST says banned, and to retry after `seconds`",
    "rest_error": "REST fails with `status`, 500 if left out",
    "rest_gap": "REST does not have the trades `first` to `last` of `symbol`, nor their aggregates",
    "void": "trades are announced on futures streams with X `reason` (NA unless given,"
    " INSURANCE_FUND or ADL) and are nowhere else: the next `count`, those whose id `every`"
    " divides, or `first` to `last`; of `symbol` if given",
}
"""All kinds of faults. A lasting fault lasts for ``seconds`` or until it is lifted. REST's faults
and ``refuse`` may instead last for ``count`` requests.
"""

_NEEDS = {
    "stall": ("symbol",),
    "repeat": ("count",),
    "reorder": ("count",),
    "drop": ("count",),
    "slow": ("rate",),
    "rest_gap": ("symbol", "first", "last"),
}
REASONS = ("NA", "INSURANCE_FUND", "ADL")
"""Reasons that a ``void`` gives for an ID: nothing was traded, or not in the order book."""
_IMMEDIATE = frozenset({"cut", "repeat", "shutdown"})
REMEMBERED = 10_000
"""Maximum number of past trades that ``repeat`` can send again."""


@dataclass(frozen=True)
class Fault:
    """A fault to simulate. See KINDS for the meaning of the fields."""

    kind: str
    seconds: float | None = None
    count: int | None = None
    symbol: str | None = None
    rate: float | None = None
    status: int | None = None
    first: int | None = None
    last: int | None = None
    every: int | None = None
    reason: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown("fault", self.kind, KINDS)
        missing = [name for name in _NEEDS.get(self.kind, ()) if getattr(self, name) is None]
        if missing:
            raise UsageError(f"the fault {self.kind} needs {' and '.join(missing)}")
        span = None if self.first is None else self.last
        if self.kind == "void" and {self.count, self.every, span} == {None}:
            raise UsageError("the fault void needs count, or every, or first and last")
        if self.kind == "void" and self.symbol and Market.of(self.symbol) is Market.SPOT:
            raise UsageError(
                f"{self.symbol} is a spot symbol, and only futures have void ids",
                remedy="name a futures symbol, such as BTCUSDT.um",
            )
        if self.reason not in (None, *REASONS):
            raise unknown("reason", self.reason, REASONS)
        for name in ("seconds", "count", "rate", "every"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"{name} must be above zero: {value}")
        if self.status is not None and not _is_failure(self.status):
            raise UsageError(f"not the HTTP status of a failure: {self.status}")


def parse_fault(query: Mapping[str, str]) -> Fault:
    """Read a fault from the query of a URL, such as ``kind=stall&symbol=BTCUSDT&seconds=5``.

    Raises:
        UsageError: a kind or field is unknown, or a value is not a number or out of range.
    """
    unknown = query.keys() - {field.name for field in fields(Fault)}
    if unknown:
        raise UsageError(f"a fault has no {', '.join(sorted(unknown))}")
    if "kind" not in query:
        raise UsageError(f"the kind of fault is missing; choose from {', '.join(KINDS)}")
    symbol = query.get("symbol")
    return Fault(
        query["kind"],
        seconds=_number(query, "seconds"),
        count=_whole(query, "count"),
        symbol=capitals(symbol) if symbol else None,
        rate=_number(query, "rate"),
        status=_whole(query, "status"),
        first=_whole(query, "first"),
        last=_whole(query, "last"),
        every=_whole(query, "every"),
        reason=query.get("reason"),
    )


class Faults:
    """The current faults. All times are seconds of the same clock."""

    def __init__(self) -> None:
        self._running: list[_Running] = []

    def begin(self, fault: Fault, now: float) -> None:
        """Start a lasting fault. A momentary one is not recorded."""
        if fault.kind not in _IMMEDIATE:
            until = float("inf") if fault.seconds is None else now + fault.seconds
            left = None if fault.kind == "reorder" else fault.count
            self._running.append(_Running(fault, until, left))

    def lift(self) -> None:
        """End all faults."""
        self._running.clear()

    def active(self, kind: str, now: float, symbol: str | None = None) -> list[Fault]:
        """Return the active faults of a kind that apply to this symbol."""
        if not self._running:
            return []
        return [each.fault for each in self._matching(kind, now, symbol)]

    def take(self, kind: str, now: float, symbol: str | None = None) -> Fault | None:
        """Return the oldest current fault of a kind, and use up one of its ``count``."""
        if not self._running:
            return None
        for each in self._matching(kind, now, symbol):
            if each.left is not None:
                each.left -= 1
            return each.fault
        return None

    def void(self, trade: Trade, now: float) -> str | None:
        """Return why a futures trade is void, one of REASONS, or None for any other trade."""
        if not self._running or Market.of(trade.symbol) is Market.SPOT:
            return None
        for each in self._matching("void", now, trade.symbol):
            fault = each.fault
            first, last = fault.first or 0, MAX_ID if fault.last is None else fault.last
            if first <= trade.id <= last and trade.id % (fault.every or 1) == 0:
                if each.left is not None:
                    each.left -= 1
                return fault.reason or REASONS[0]
        return None

    def names(self, now: float) -> list[str]:
        """Return the kinds of the current faults."""
        self._forget(now)
        return [each.fault.kind for each in self._running]

    def _matching(self, kind: str, now: float, symbol: str | None) -> list["_Running"]:
        self._forget(now)
        return [
            each
            for each in self._running
            if each.fault.kind == kind and each.fault.symbol in (None, symbol)
        ]

    def _forget(self, now: float) -> None:
        self._running = [each for each in self._running if now < each.until and each.left != 0]


class Wire:
    """The trades that are sent, in their order after the faults ``stall``, ``drop`` and
    ``reorder``.
    """

    def __init__(self, faults: Faults, random: Random) -> None:
        self._faults = faults
        self._random = random
        self._window: list[Trade] = []
        self._sent: deque[Trade] = deque(maxlen=REMEMBERED)

    def put(self, trade: Trade, now: float) -> list[Trade]:
        """Return the trades to send after this one was made."""
        if self._faults.active("stall", now, trade.symbol):
            return []
        if self._faults.take("drop", now, trade.symbol):
            return []
        self._window.append(trade)
        reorders = self._faults.active("reorder", now)
        if reorders and len(self._window) < (reorders[0].count or 0):
            return []
        return self.flush()

    def flush(self) -> list[Trade]:
        """Return the trades that wait to be shuffled."""
        window, self._window = self._window, []
        if len(window) > 1:
            self._random.shuffle(window)
        self._sent.extend(window)
        return window

    def repeat(self, count: int) -> list[Trade]:
        """Return the last ``count`` trades that were sent."""
        return list(self._sent)[-count:]


@dataclass
class _Running:
    fault: Fault
    until: float
    left: int | None


def hides(gaps: Iterable[Fault], first: int, last: int) -> bool:
    """Return whether a ``rest_gap`` hides one of the trades ``first`` to ``last``."""
    return any((gap.first or 0) <= last and first <= (gap.last or 0) for gap in gaps)


def _is_failure(status: int) -> bool:
    try:
        return HTTPStatus(status) >= HTTPStatus.BAD_REQUEST
    except ValueError:
        return False


def _number(query: Mapping[str, str], name: str) -> float | None:
    try:
        return float(query[name]) if name in query else None
    except ValueError:
        raise UsageError(f"{name} is not a number: {query[name]!r:.60}") from None


def _whole(query: Mapping[str, str], name: str) -> int | None:
    try:
        return int(query[name]) if name in query else None
    except ValueError:
        raise UsageError(f"{name} is not a whole number: {query[name]!r:.60}") from None
