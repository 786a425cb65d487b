"""``mcloud candles``"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from mcloud.cli.option_values import length_of_time, moment, symbol_of
from mcloud.cli.session import Session, command
from mcloud.errors import UsageError

if TYPE_CHECKING:
    from decimal import Decimal

    from mcloud.clouds.ports import Site
    from mcloud.market.candle import Candle
    from mcloud.market.indicators import Indicator
    from mcloud.market.quiet import CandleHole, Timeline, TimelineStep

COLUMNS = (
    "symbol",
    "timestamp",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "quote_volume",
    "trade_count",
    "first_id",
    "last_id",
)

FILLED = "filled"
"""Column that ``--fill`` adds. It marks the candles of intervals without trades."""

UNKNOWN = "–"

_TIME, _COLUMNS = "Time range", "Output"

LOOK_BACK = 3_600_000  # ms that the first query for an earlier candle reaches back


def register(app: typer.Typer) -> None:
    command(app, formats=("text", "json", "csv"))(candles)


def candles(
    session: Session,
    symbol: Annotated[
        str | None,
        typer.Argument(help="Symbol. Default: TRADING_SYMBOL if set, otherwise BTCUSDT."),
    ] = None,
    site: Annotated[
        str | None,
        typer.Option("--from", metavar="SITE", help="Site to read from. Default: the first site."),
    ] = None,
    interval: Annotated[
        str, typer.Option(metavar="INTERVAL", help="Width of a candle: 1m, 5m, 15m, 1h or 1d.")
    ] = "1m",
    last: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="Time before the newest candle, such as 90m, 2h or 7d. Default: 2h.",
            rich_help_panel=_TIME,
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="First minute, UTC, such as 2024-08-08 or 2024-08-08T23:54.",
            rich_help_panel=_TIME,
        ),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="End, UTC, exclusive. Default: the newest candle.",
            rich_help_panel=_TIME,
        ),
    ] = None,
    with_: Annotated[
        str | None,
        typer.Option(
            "--with",
            metavar="INDICATORS",
            help="Indicators to add, comma-separated: sma:N, ema:N, vwap, volatility:N, returns.",
            rich_help_panel=_COLUMNS,
        ),
    ] = None,
    fill: Annotated[
        bool,
        typer.Option(
            "--fill",
            help="Show intervals without trades if the trade ids prove that none was made.",
            rich_help_panel=_COLUMNS,
        ),
    ] = False,
    chart: Annotated[
        bool, typer.Option(help="Draw a chart on a terminal.", rich_help_panel=_COLUMNS)
    ] = True,
) -> None:
    """Read the candles of a symbol.

    Examples:
    mcloud candles BTCUSDT --from gcp --interval 5m
    mcloud candles BTCUSDT --last 7d --interval 1h --with sma:20,vwap
    mcloud candles BTCUSDT --start 2024-08-08 --end 2024-08-09 -o csv
    """
    from mcloud.config import unknown
    from mcloud.feed.open import SYMBOL
    from mcloud.market.indicators import compute
    from mcloud.market.interval import INTERVALS

    symbol = symbol_of(symbol or session.config.symbol or SYMBOL)
    if interval not in INTERVALS:
        raise unknown("interval", interval, INTERVALS)
    if last and start:
        raise UsageError("--last and --start cannot be combined")
    indicators = _indicators(with_) if with_ is not None else []
    until = moment("--end", end) if end else None
    span = int(length_of_time("--last", last or "2h") * 1000)
    begin = moment("--start", start) if start else None
    if begin is not None and until is not None and until <= begin:
        raise UsageError("--end must be after --start")
    if site and "," in site:
        raise UsageError("--from takes a single site")
    name, opened = next(iter(session.sites(site).items()))
    width = INTERVALS[interval]
    bounds = _bounds(opened, symbol, begin, until, span, width)
    rows: list[_Row] = []
    holes: list[CandleHole] = []
    if bounds:
        steps, holes = _read(opened, symbol, bounds, interval, indicators, fill)
        values = {str(each): compute(steps, width, each) for each in indicators}
        rows = [
            _Row(step, {name: each[index] for name, each in values.items()})
            for index, step in enumerate(steps)
            if step.bar.start >= bounds[0] and (fill or not step.filled)
        ]
    if not rows:
        check_known(opened, symbol)
    if session.output == "json":
        session.print_json([row.record(fill) for row in rows])
    elif session.output == "csv":
        _print_csv(rows, fill, indicators)
    elif not rows:
        session.say(f"no candles of {symbol} at {name} in that time range")
    else:
        _draw(session, rows, fill, indicators, chart)
    if holes and (fill or indicators):
        session.warn(_missing(symbol, name, holes))


class _Row(NamedTuple):
    step: "TimelineStep"
    values: "Mapping[str, Decimal | None]"
    """Value of each indicator, by its text; None if unknown."""

    def record(self, marked: bool) -> dict[str, str | int | bool | None]:
        """Return the columns. Decimals are texts, because most readers parse a JSON number as a
        float.

        Args:
            marked: whether ``filled`` is one of the columns.
        """
        from mcloud.market.indicators import signed_text
        from mcloud.market.trade import to_text

        bar, filled = self.step.bar, self.step.filled
        return {
            "symbol": bar.symbol,
            "timestamp": bar.timestamp,
            **({FILLED: filled} if marked else {}),
            **{name: to_text(getattr(bar, name)) for name in COLUMNS[2:8]},
            "trade_count": bar.trade_count,
            "first_id": None if filled else bar.first_id,
            "last_id": None if filled else bar.last_id,
            **{
                name: None if value is None else signed_text(value)
                for name, value in self.values.items()
            },
        }


def _bounds(
    site: "Site", symbol: str, begin: int | None, until: int | None, span: int, width: int
) -> tuple[int, int] | None:
    """Return start and end in ms. Without a start, they reach back from the end or the newest
    candle.

    They are multiples of ``width`` ms, because a bar without its start or end would be wrong.
    """
    from mcloud.market.trade import MAX_TIME

    if begin is None:
        if until is None:
            newest = site.candles.last(symbol)
            if newest is None:
                return None
            until = newest.start + 60_000
        begin = until - span
    elif until is None:
        until = MAX_TIME
    return max(0, begin // width * width), min(MAX_TIME, -(-until // width) * width)


def check_known(site: "Site", symbol: str) -> None:
    """Raise UsageError for a symbol that the site has never had, if it has others."""
    from mcloud.config import unknown
    from mcloud.documents import sound

    known = [beat.symbol for beat in sound(site.control.heartbeats())]
    if known and symbol not in known and site.candles.last(symbol) is None:
        raise unknown("symbol", symbol, known, where=f"at {site.name}")


def _indicators(text: str) -> "list[Indicator]":
    from mcloud.config import did_you_mean
    from mcloud.market.indicators import NAMES, BadIndicator, parse

    try:
        return parse(text)
    except BadIndicator as error:
        raise UsageError(f"--with: {error}{did_you_mean(error.name, NAMES)}") from None


def _read(
    site: "Site",
    symbol: str,
    bounds: tuple[int, int],
    interval: str,
    indicators: "Sequence[Indicator]",
    fill: bool,
) -> "Timeline":
    """Read the intervals of the bounds, after as many earlier ones as the indicators need.

    The holes are those of the bounds. The adjacent candles show whether the first and the last
    intervals were quiet.
    """
    from mcloud.market.indicators import reach
    from mcloud.market.interval import INTERVALS
    from mcloud.market.quiet import timeline
    from mcloud.market.trade import MAX_TIME

    width = INTERVALS[interval]
    begin = min((reach(each, bounds[0], width) for each in indicators), default=bounds[0])
    begin = begin // width * width
    candles = list(site.candles.range(symbol, begin, bounds[1]))
    if fill or indicators:
        candles[:0] = _last_before(site, symbol, begin)
    if fill:
        candles += islice(site.candles.range(symbol, bounds[1], MAX_TIME), 1)
    read = timeline(candles, interval, begin, bounds[1])
    # Holes before the bounds belong to rows that are not shown.
    return read._replace(holes=[each for each in read.holes if each.end >= bounds[0]])


def _last_before(site: "Site", symbol: str, end: int) -> "list[Candle]":
    """Return the last candle with trades before ``end``, if there is one, and those after it.

    Each query reaches back twice as far as the one before it, so that little more than the silence
    is read.
    """
    found: list[Candle] = []
    span = LOOK_BACK
    while end > 0:
        start = max(0, end - span)
        found[:0] = site.candles.range(symbol, start, end)
        traded = [index for index, candle in enumerate(found) if candle.has_trades]
        if traded:
            return found[traded[-1] :]
        end, span = start, 2 * span
    return found


def _missing(symbol: str, site: str, holes: "Sequence[CandleHole]") -> str:
    """Return one line about the missing trades."""
    count = sum(hole.missing for hole in holes)
    trades = "1 trade is" if count == 1 else f"{count:,} trades are"
    text = f"{trades} missing from the candles of {symbol} at {site}: {holes[0]}"
    if len(holes) > 1:
        others = len(holes) - 1
        text += f", and {others:,} more {'hole' if others == 1 else 'holes'}"
    return f"{text}; run `mcloud verify --repair` to fetch them"


def _columns(marked: bool, indicators: "Iterable[Indicator]") -> list[str]:
    columns = [*COLUMNS, *map(str, indicators)]
    if marked:
        columns.insert(2, FILLED)
    return columns


def _print_csv(rows: "Iterable[_Row]", marked: bool, indicators: "Iterable[Indicator]") -> None:
    import csv

    writer = csv.DictWriter(sys.stdout, _columns(marked, indicators), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        record = row.record(marked)
        writer.writerow({**record, FILLED: str(record[FILLED]).lower()} if marked else record)


def _draw(
    session: Session,
    rows: "Sequence[_Row]",
    marked: bool,
    indicators: "Sequence[Indicator]",
    chart: bool,
) -> None:
    from mcloud.drawing.candles import candlesticks, table

    # Requested columns come before those that may be hidden.
    _, *columns = _columns(marked, ())
    columns[-4:-4] = map(str, indicators)
    records = [row.record(marked) for row in rows]
    texts = [{column: _cell(column, record[column]) for column in columns} for record in records]
    drawn, hidden = table(columns, texts, [row.step.filled for row in rows], session.console.width)
    session.print(drawn)
    if hidden:
        session.say(f"the terminal is too narrow for {', '.join(hidden)}; `-o csv` shows them")
    if chart and session.console.is_terminal:
        lines = {
            str(each): [row.values[str(each)] for row in rows]
            for each in indicators
            if each.is_price
        }
        session.print(
            candlesticks([row.step.bar for row in rows], session.console.width, 16, lines)
        )


def _cell(column: str, value: str | int | bool | None) -> str:
    if column == FILLED:
        return FILLED if value else ""
    return UNKNOWN if value is None else str(value)
