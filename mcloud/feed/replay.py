"""Trades from a recorded file: ``mcloud produce --source replay:FILE``."""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import NamedTuple

from mcloud.config import unknown
from mcloud.errors import UsageError
from mcloud.feed import csv_dump, json_lines
from mcloud.feed.csv_dump import Table
from mcloud.feed.feed import EXAMPLES, BadLine, FeedReport, joined, parse_symbols
from mcloud.feed.json_lines import WrongMarket
from mcloud.feed.lines import MAX_LINE, Lines
from mcloud.market.trade import (
    AGGREGATE_SUFFIX,
    COIN_M,
    MARKETS,
    NAME,
    SPOT,
    USD_M,
    BadTrade,
    Trade,
    aggregates_of,
    split_market,
    trades_of,
)

_SNIFFED_LINES = 100

_FUTURES_FOLDERS = {("futures", market): market for market in (USD_M, COIN_M)}
"""The folders in which Binance publishes files of futures, and in which downloads keep them."""

_WITHOUT_MARKET = re.compile(rf"({NAME})(?=$|\.{AGGREGATE_SUFFIX}$)")


def open_replay(
    path: Path, symbols: Collection[str] | None = None, market: str | None = None
) -> "Replay":
    """Open a recording. Its content shows its format and market.

    Supported formats are Binance stream messages and mcloud's own archive lines (JSON lines), and
    Binance's CSV files of all markets, ``trades`` and ``aggTrades``. A file is plain, gzip, or a
    zip of one file. Aggregate trades are trades of ``BTCUSDT.agg``.

    Args:
        path: the file.
        symbols: the symbols to return, with their markets; None for all. They also give the symbol
            of a CSV file whose name does not show it.
        market: one of ``trade.MARKETS``, to which all trades must belong; None for any market.
            It applies to symbols without a market.

    Raises:
        UsageError: the file is missing, unreadable, empty or of no known format, its symbol is
            unknown or not among ``symbols``, or its first lines have trades of another market than
            that of ``market`` or its folder, or both trades and aggregate trades of a symbol.

    Example:
        replay = open_replay(Path("BTCUSDT-trades-2024-08-08.zip"))
        for trade in replay: ...
        print(replay.report)
    """
    replay = _open(path, symbols, market)
    replay.peek({})
    return replay


def open_replays(
    paths: Sequence[Path], symbols: Collection[str] | None = None, market: str | None = None
) -> "Replays":
    """Open several recordings, to be read one after the other in the order given.

    Raises:
        UsageError: one of them cannot be opened (see ``open_replay``), or they hold both trades
            and aggregate trades of one symbol.
    """
    replays = [_open(path, symbols, market) for path in paths]
    met: dict[str, Path] = {}
    for each in replays:
        each.peek(met)
    return Replays(replays)


class CsvContent(NamedTuple):
    """The content of a CSV file, as its first lines and its name show it."""

    symbol: str
    table: Table
    header: bytes | None
    """The line that names the columns; None if there is none."""
    wanted: tuple[str, ...] | None
    """The requested symbols; None for any."""


def csv_content(
    path: Path, symbols: Collection[str] | None = None, market: str | None = None
) -> CsvContent:
    """Return what a CSV file of Binance holds.

    Raises:
        UsageError: as ``open_replay``, or it is a recording of streams.
    """
    wanted, market = _requested(path, symbols, market)
    format_ = _sniff(path)
    if format_.table is None:
        raise UsageError(
            f"{path} holds JSON lines", remedy="use a Binance trades or aggTrades CSV file"
        )
    symbol = _csv_symbol(path, format_.table, format_.member, wanted, market)
    return CsvContent(symbol, format_.table, format_.header, wanted)


class Replay:
    """The trades of a recording, in its own order; see ``mcloud.feed.feed.Feed``.

    Reading raises UsageError at a trade of an unexpected market, and if there are both trades and
    aggregate trades of a symbol that were not both requested.
    """

    def __init__(
        self,
        path: Path,
        parse: Callable[[str], Trade | None],
        wanted: tuple[str, ...] | None,
        *,
        header: bytes | None = None,
        holds: tuple[str, ...] = (),
    ) -> None:
        self.path = path
        self._parse = parse
        self._wanted = wanted
        self._header = header
        self._holds = holds
        self.size = path.stat().st_size if path.is_file() else 0
        """Bytes of the file."""
        self._begins_with: tuple[str, ...] = ()
        self._start()

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(
            f"{self.path.name} holds aggregate trades: they are kept as {symbol}, apart from the "
            f"trades of {trades_of(symbol)}, and trade_count counts aggregates"
            for symbol in self._begins_with
            if symbol != trades_of(symbol)
        )

    @property
    def symbols(self) -> tuple[str, ...]:
        return self._holds or (tuple(self._seen) if self._wanted is None else self._wanted)

    @property
    def report(self) -> FeedReport:
        return FeedReport(
            trades=self._trades,
            skipped=self._skipped,
            bad=self._bad,
            bad_examples=tuple(self._bad_examples),
            truncated=self._lines.truncated,
            absent=tuple(each for each in self._wanted or () if each not in self._seen),
            done=1.0 if self._ended else self._lines.share,
        )

    def __iter__(self) -> Iterator[Trade]:
        return self.read({})

    def read(self, met: dict[str, Path], lines: int | None = None) -> Iterator[Trade]:
        """Start from the beginning and return the trades of all lines or of the first few.

        Args:
            met: the symbols that the same run has read before, each with a file that has it. The
                symbols of this recording are added.
            lines: number of lines; None for all.
        """
        self._start()
        for number, line in islice(self._lines, lines):
            if not line or line == self._header:
                continue
            try:
                trade = self._parse(decode(line))
            except BadTrade as error:
                self._note_bad(number, str(error))
                continue
            except WrongMarket as error:
                raise UsageError(
                    f"{self.path} line {number}: {error}",
                    remedy="use --market spot, um or cm",
                ) from None
            if trade is None or (self._wanted is not None and trade.symbol not in self._wanted):
                self._skipped += 1
                continue
            if trade.symbol not in self._seen:
                self._meet(trade.symbol, met)
            self._trades += 1
            yield trade
        self._ended = lines is None

    def peek(self, met: dict[str, Path]) -> None:
        """Read the first lines, so that their errors are raised before any trade is returned."""
        for _ in self.read(met, _SNIFFED_LINES):
            pass
        self._begins_with = tuple(self._seen)
        self._start()

    def _start(self) -> None:
        self._lines = Lines(self.path)
        self._ended = False
        self._seen: dict[str, None] = {}
        self._trades: int = 0
        self._skipped: int = 0
        self._bad: int = 0
        self._bad_examples: list[BadLine] = []

    def _meet(self, symbol: str, met: dict[str, Path]) -> None:
        """Record a symbol at its first trade."""
        self._seen[symbol] = None
        met.setdefault(symbol, self.path)
        plain = trades_of(symbol)
        pair = plain, aggregates_of(plain)
        if all(each in met for each in pair) and not {*pair} <= {*(self._wanted or ())}:
            first, *other = dict.fromkeys(str(met[each]) for each in pair)
            files = f"{first} and {other[0]} hold" if other else f"{first} holds"
            raise UsageError(
                f"{files} trades and aggregate trades of {plain}",
                remedy=f"replay only one of the two kinds, with --symbols {pair[0]} or {pair[1]}",
            )

    def _note_bad(self, number: int, reason: str) -> None:
        if self._lines.truncated:
            return  # the part of a line before the damage, which is reported as damage
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
    def report(self) -> FeedReport:
        whole = joined([(each.path.name, each.report) for each in self._replays])
        sizes = sum(each.size for each in self._replays)
        # Files that are not open yet have no share.
        done = sum((each.report.done or 0.0) * each.size for each in self._replays)
        return replace(whole, done=done / sizes if sizes else None)

    def __iter__(self) -> Iterator[Trade]:
        met: dict[str, Path] = {}
        for each in self._replays:
            yield from each.read(met)


def _open(path: Path, symbols: Collection[str] | None, market: str | None) -> Replay:
    wanted, market = _requested(path, symbols, market)
    format_ = _sniff(path)
    if format_.table is None:
        return Replay(path, partial(json_lines.parse_message, market=market), wanted)
    symbol = _csv_symbol(path, format_.table, format_.member, wanted, market)
    parse = partial(format_.table.parse, symbol)
    return Replay(path, parse, wanted, header=format_.header, holds=(symbol,))


def _requested(
    path: Path, symbols: Collection[str] | None, market: str | None
) -> tuple[tuple[str, ...] | None, str | None]:
    """Return the symbols with their markets, and the market of the file."""
    if market is not None and market not in MARKETS:
        raise unknown("market", market, MARKETS)
    wanted = None if symbols is None else _of_market(parse_symbols(symbols), market)
    return wanted, _market_of(path, market)


def _of_market(symbols: tuple[str, ...], market: str | None) -> tuple[str, ...]:
    """Return the symbols. Those without a market get the given one."""
    if market is None or market == SPOT:
        return symbols
    return tuple(_WITHOUT_MARKET.sub(rf"\1.{market}", symbol, count=1) for symbol in symbols)


def _market_of(path: Path, market: str | None) -> str | None:
    """Return the given market, or that of the folder of the file, or None."""
    folders = [_FUTURES_FOLDERS.get(pair) for pair in pairwise(path.absolute().parent.parts)]
    shown = next((each for each in reversed(folders) if each), None)
    if market and shown and market != shown:
        raise UsageError(
            f"{path} lies in a folder futures/{shown}, and --market says {market}",
            remedy="omit --market, or move the file",
        )
    return market or shown


@dataclass(frozen=True, slots=True)
class _Format:
    table: Table | None
    """Kind of a CSV file; None for JSON lines."""
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
            text = decode(line)
        except BadTrade:
            continue
        if json_lines.is_recording(text):
            return _Format(None, None, lines.member)
        if csv_dump.is_header(text):
            header = line
        if table := csv_dump.table_of(text):
            return _Format(table, header, lines.member)
    if lines.truncated:
        raise UsageError(f"{path}: {lines.truncated}", remedy="download or record it again")
    if empty:
        raise UsageError(f"{path} is empty", remedy="use a recording with trades")
    raise UsageError(
        f"{path} has no trades in a known format",
        remedy="replay a Binance stream recording (JSON lines) or a Binance trades or aggTrades "
        "CSV file",
    )


def _csv_symbol(
    path: Path,
    table: Table,
    member: str | None,
    wanted: tuple[str, ...] | None,
    market: str | None,
) -> str:
    name = csv_dump.name_in(path.name) or csv_dump.name_in(member or "")
    if name is None:
        if wanted is None or len(wanted) != 1:
            raise UsageError(
                f"{path} does not say which symbol it holds",
                remedy="use --symbols with one symbol, or rename the file like "
                "BTCUSDT-trades-2024-08-08.csv",
            )
        name, _ = split_market(wanted[0])
    shown = table.market(name)
    if market not in (None, shown):
        raise UsageError(
            f"the columns of {path} show {name} of the market {shown}, not of {market}",
            remedy="check --market and the folder of the file",
        )
    symbol = table.symbol(name)
    if wanted is not None and symbol not in wanted:
        raise UsageError(
            f"{path} holds {symbol}, which is not among the requested symbols "
            f"({', '.join(wanted)})",
            remedy=f"use --symbols {symbol}",
        )
    return symbol


def decode(line: bytes) -> str:
    """Return the text of a line.

    Raises:
        BadTrade: it is too long, or not UTF-8.
    """
    if len(line) > MAX_LINE:
        raise BadTrade(f"longer than {MAX_LINE} bytes")
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise BadTrade("not UTF-8") from None
