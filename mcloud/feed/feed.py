"""The interface of all sources of trades, and their reports about the input."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import NamedTuple, Protocol

from mcloud.documents import Count, Seconds
from mcloud.errors import NotInOrder, UsageError
from mcloud.market.trade import BadTrade, Trade, capitals, check_symbol, id_count

EXAMPLES = 5
"""Number of bad lines that a report names."""


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line of the input that should be a trade and is not valid."""

    line: int
    """Line number, counted from 1."""
    reason: str
    file: str = ""
    """Name of the file, if the input consists of several files."""

    def __str__(self) -> str:
        return f"{self.file} line {self.line}: {self.reason}".lstrip()


@dataclass(frozen=True)
class SourceSummary:
    """State of the connections of a feed."""

    summary: str
    """State in one sentence."""
    error: bool
    reconnects: Count = 0
    stalls: Count = 0
    """Number of connections that were replaced because they delivered no new trades."""
    stalled: tuple[str, ...] = ()
    """Symbols of which the exchange has trades that its stream does not deliver."""
    ages: Mapping[str, Seconds | None] = field(default_factory=dict)
    """Seconds since the last trade of each symbol. None before its first."""
    symbols: tuple[str, ...] = ()
    """Symbols that are followed."""
    changed: str = ""
    """Listings and delistings during the run, in one sentence."""
    listed: tuple[str, ...] = ()
    """Symbols that began to trade during the run."""
    not_trading: Mapping[str, str] = field(default_factory=dict)
    """Symbols that are followed and do not trade now, with their statuses."""


@dataclass(frozen=True)
class UnreadReport:
    """The part of an input that was not read, in the reports of all commands with an input."""

    bad: int
    skipped: int
    truncated: str | None
    absent: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FeedReport:
    """Counts of what a feed has read so far."""

    trades: int = 0
    """Number of trades that were returned."""
    skipped: int = 0
    """Number of valid messages that were not requested: other events, trades of other symbols."""
    bad: int = 0
    bad_examples: tuple[BadLine, ...] = ()
    """The first few of the bad lines."""
    truncated: str | None = None
    """Position and reason if the input was cut short."""
    absent: tuple[str, ...] = ()
    """Requested symbols without a trade. If the input consists of several files, also the files
    without a trade.
    """
    done: float | None = field(default=None, compare=False)
    """Share of the input that was read, from 0 to 1; None if the input has no known end."""

    @property
    def complete(self) -> bool:
        """Whether the input had all requested symbols, and each of its lines could be read."""
        return bool(self.trades) and not (self.bad or self.truncated or self.absent)

    @property
    def unread(self) -> UnreadReport:
        return UnreadReport(self.bad, self.skipped, self.truncated, self.absent)


def joined(named: Sequence[tuple[str, FeedReport]]) -> FeedReport:
    """Return the report of several inputs, each with its name, that are read as one."""
    examples = [
        replace(bad, file=bad.file or name) for name, each in named for bad in each.bad_examples
    ]
    cut = [f"{name}: {each.truncated}" for name, each in named if each.truncated]
    absent, *others = (each.absent for _, each in named)
    # A single input need not have every requested symbol.
    empty = [name for name, each in named if not each.trades and not each.absent]
    return FeedReport(
        trades=sum(each.trades for _, each in named),
        skipped=sum(each.skipped for _, each in named),
        bad=sum(each.bad for _, each in named),
        bad_examples=tuple(examples[:EXAMPLES]),
        truncated="; ".join(cut) or None,
        absent=(*(each for each in absent if all(each in other for other in others)), *empty),
    )


VOID_AFTER = 600_000  # ms after which a trade that the exchange lacks will not appear any more
VOID_MARGIN = (
    10  # number of ids searched around a missing one, because its neighbours may be void, too
)
LONGEST_VOID = 10_000  # number of ids; if more are missing in a row, trades have been lost


class IdSpan(NamedTuple):
    """Trade ids that an exchange has used for trades: a single id, or the ids of an aggregate."""

    first: int
    last: int
    """Inclusive."""
    time: int
    """Time of the trade, ms since 1970."""


@dataclass(frozen=True, slots=True)
class HistoryAnswer:
    """One answer of an exchange about a range of trade ids."""

    trades: list[Trade]
    """Trades by ascending id. They may extend beyond the range."""
    spans: list[IdSpan]
    """The ids that are used, ascending. No trade has an id between two of them."""

    @classmethod
    def of(cls, trades: list[Trade]) -> "HistoryAnswer":
        """Return the answer that consists of consecutive trades."""
        return cls(trades, [IdSpan(each.id, each.id, each.time) for each in trades])

    def voids(self, symbol: str, first: int, last: int, until: int) -> list[Trade]:
        """Return a void for each id of a range that the exchange has used up without a trade.

        An id is void if the answer has a lower and a higher one, the trade of the higher one is not
        later than ``until`` (ms since 1970), and at most ``LONGEST_VOID`` ids are missing between
        them. A void has the time of the trade before it.
        """
        return [
            Trade.void(symbol, id_, before.time)
            for before, after in pairwise(self.spans)
            if after.time <= until and after.first - before.last - 1 <= LONGEST_VOID
            for id_ in range(max(first, before.last + 1), min(last + 1, after.first))
        ]

    def used(self, first: int, last: int) -> int:
        """Return how many ids of a range are those of trades."""
        overlaps = (id_count(max(first, each.first), min(last, each.last)) for each in self.spans)
        return sum(max(0, overlap) for overlap in overlaps)


class Feed(Protocol):
    """A source of trades. Each iteration starts from the beginning."""

    @property
    def symbols(self) -> tuple[str, ...]:
        """The requested symbols; if none were requested, those that are known so far."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings for the user before the first trade, one sentence each."""

    @property
    def report(self) -> FeedReport:
        """The state of the newest iteration, at any time."""

    def __iter__(self) -> Iterator[Trade]: ...


def parse_symbols(symbols: Collection[str]) -> tuple[str, ...]:
    """Return the symbols in capitals, each once, in the order given.

    Raises:
        UsageError: there are none, or one of them cannot be a symbol.
    """
    if not symbols:
        raise UsageError("no symbol is given", remedy="name at least one, such as BTCUSDT")
    try:
        return tuple(dict.fromkeys(check_symbol(capitals(symbol)) for symbol in symbols))
    except BadTrade as error:
        raise UsageError(str(error), remedy="use symbols such as BTCUSDT") from None


def incomplete(source: str, report: FeedReport) -> NotInOrder:
    """Return the error for an input that was not read completely."""
    if not report.trades:
        what = f"{source} holds no trade of the requested symbols"
    elif report.bad:
        what = f"{report.bad:,} lines of {source} are not trades and were skipped"
    elif report.truncated:
        what = f"{source} is cut short"
    else:
        what = f"{source} holds no trade of {', '.join(report.absent):.200}"
    return NotInOrder(
        f"the input is incomplete: {what}", remedy="check it, or download or record it again"
    )
