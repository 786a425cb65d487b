"""Trades from a recorded file: ``mcloud produce --source replay:FILE``."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

from mcloud.errors import UsageError
from mcloud.feed import csv_dump, json_lines
from mcloud.feed.feed import BadLine, Report, parse_symbols
from mcloud.feed.lines import MAX_LINE, Lines
from mcloud.market.trade import BadTrade, Trade

EXAMPLES = 5
"""How many bad lines a report names."""

_SNIFFED_LINES = 100

_AGGREGATES = (
    "{} holds aggregate trades: trade_count then counts aggregates, and they must not be mixed "
    "with plain trades of the same symbol, whose ids are others"
)


def open_replay(path: Path, symbols: Collection[str] | None = None) -> "Replay":
    """Open a recording, whose format is told by its content.

    Read are Binance stream messages and our own archive lines (JSON lines) and Binance's spot CSV
    files, ``trades`` and ``aggTrades``; plain, gzip or a zip of one file.

    Args:
        path: the file.
        symbols: the symbols to hand out; None for all. Names the symbol of a CSV file whose name
            does not.

    Raises:
        UsageError: the file is missing, unreadable, empty or of no known format, or its symbol
            is unknown or not among ``symbols``.

    Example:
        replay = open_replay(Path("BTCUSDT-trades-2024-08-08.zip"))
        for trade in replay: ...
        print(replay.report)
    """
    wanted = None if symbols is None else parse_symbols(symbols)
    format_ = _sniff(path)
    if format_.parse_row is None:
        return Replay(path, json_lines.parse_message, wanted)
    symbol = _csv_symbol(path, format_.member, wanted)
    aggregated = format_.parse_row is csv_dump.parse_aggregate
    return Replay(
        path,
        partial(format_.parse_row, symbol),
        (symbol,),
        header=format_.header,
        aggregated=aggregated,
    )


def open_replays(paths: Sequence[Path], symbols: Collection[str] | None = None) -> "Replays":
    """Open several recordings, to be read one after the other in the order given.

    Raises:
        UsageError: one of them cannot be opened (see ``open_replay``), or they hold both trades
            and aggregate trades of one symbol, whose ids have nothing to do with each other.
    """
    replays = [open_replay(path, symbols) for path in paths]
    kinds: dict[str, Replay] = {}
    for each in replays:
        for symbol in each.symbols:
            other = kinds.setdefault(symbol, each)
            if other.aggregated != each.aggregated:
                raise UsageError(
                    f"{other.path} and {each.path} hold trades and aggregate trades of {symbol}",
                    remedy="replay only one of the two kinds",
                )
    return Replays(replays)


class Replay:
    """The trades of a recording, in its own order; see ``mcloud.feed.feed.Feed``."""

    def __init__(
        self,
        path: Path,
        parse: Callable[[str], Trade | None],
        symbols: tuple[str, ...] | None,
        *,
        header: bytes | None = None,
        aggregated: bool = False,
    ) -> None:
        self.path = path
        self.aggregated = aggregated
        self._parse = parse
        self._wanted = symbols
        self._header = header
        self._start()

    @property
    def warnings(self) -> tuple[str, ...]:
        return (_AGGREGATES.format(self.path.name),) if self.aggregated else ()

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(self._seen) if self._wanted is None else self._wanted

    @property
    def report(self) -> Report:
        return Report(
            trades=self._trades,
            skipped=self._skipped,
            bad=self._bad,
            bad_examples=tuple(self._bad_examples),
            truncated=self._lines.truncated,
        )

    def __iter__(self) -> Iterator[Trade]:
        self._start()
        for number, line in self._lines:
            if not line or line == self._header:
                continue
            try:
                trade = self._parse(_decode(line))
            except BadTrade as error:
                self._note_bad(number, str(error))
                continue
            if trade is None or (self._wanted is not None and trade.symbol not in self._wanted):
                self._skipped += 1
                continue
            self._seen[trade.symbol] = None
            self._trades += 1
            yield trade

    def _start(self) -> None:
        self._lines = Lines(self.path)
        self._seen: dict[str, None] = {}
        self._trades = self._skipped = self._bad = 0
        self._bad_examples: list[BadLine] = []

    def _note_bad(self, number: int, reason: str) -> None:
        if self._lines.truncated:
            return  # the piece of a line before the damage, which is reported as such
        self._bad += 1
        if len(self._bad_examples) < EXAMPLES:
            self._bad_examples.append(BadLine(number, reason))


class Replays:
    """The trades of several recordings, one after the other; see ``mcloud.feed.feed.Feed``."""

    def __init__(self, replays: Sequence[Replay]) -> None:
        self._replays = replays

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(symbol for each in self._replays for symbol in each.symbols))

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(warning for each in self._replays for warning in each.warnings)

    @property
    def report(self) -> Report:
        named = [(each.path.name, each.report) for each in self._replays]
        examples = [
            replace(bad, file=name) for name, report in named for bad in report.bad_examples
        ]
        cut = [f"{name}: {report.truncated}" for name, report in named if report.truncated]
        return Report(
            trades=sum(report.trades for _, report in named),
            skipped=sum(report.skipped for _, report in named),
            bad=sum(report.bad for _, report in named),
            bad_examples=tuple(examples[:EXAMPLES]),
            truncated="; ".join(cut) or None,
        )

    def __iter__(self) -> Iterator[Trade]:
        for each in self._replays:
            yield from each


@dataclass(frozen=True, slots=True)
class _Format:
    parse_row: Callable[[str, str], Trade] | None
    """For a CSV file; None for JSON lines."""
    header: bytes | None
    member: str | None


def _sniff(path: Path) -> _Format:
    lines = Lines(path)
    header = None
    empty = True
    for line in islice(filter(None, (line for _, line in lines)), _SNIFFED_LINES):
        empty = False
        if len(line) > MAX_LINE:
            break
        try:
            text = _decode(line)
        except BadTrade:
            continue
        if json_lines.is_recording(text):
            return _Format(None, None, lines.member)
        if csv_dump.is_header(text):
            header = line
        for parse_row in (csv_dump.parse_trade, csv_dump.parse_aggregate):
            if _parses(parse_row, text):
                return _Format(parse_row, header, lines.member)
    if lines.truncated:
        raise UsageError(f"{path}: {lines.truncated}", remedy="download or record it again")
    if empty:
        raise UsageError(f"{path} is empty", remedy="name a recording with trades in it")
    raise UsageError(
        f"{path} holds no trades in a format that is known here",
        remedy="replay a Binance stream recording (JSON lines) or a Binance spot trades or "
        "aggTrades CSV file",
    )


def _parses(parse_row: Callable[[str, str], Trade], line: str) -> bool:
    try:
        parse_row("", line)
    except BadTrade:
        return False
    return True


def _csv_symbol(path: Path, member: str | None, wanted: tuple[str, ...] | None) -> str:
    named = csv_dump.symbol_in_name(path.name) or csv_dump.symbol_in_name(member or "")
    if named is None:
        if wanted is None or len(wanted) != 1:
            raise UsageError(
                f"{path} does not say which symbol it holds",
                remedy="name exactly one with --symbols, or call the file like "
                "BTCUSDT-trades-2024-08-08.csv",
            )
        return wanted[0]
    if wanted is not None and named not in wanted:
        raise UsageError(
            f"{path} holds {named}, which is not among the symbols asked for ({', '.join(wanted)})",
            remedy=f"ask for {named}",
        )
    return named


def _decode(line: bytes) -> str:
    if len(line) > MAX_LINE:
        raise BadTrade(f"longer than {MAX_LINE} bytes")
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise BadTrade("not UTF-8") from None
