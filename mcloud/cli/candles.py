"""``mcloud candles``"""

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from mcloud.cli.options import WAIT, length_of_time, moment, symbol_of
from mcloud.cli.session import Session, command
from mcloud.errors import UsageError

if TYPE_CHECKING:
    from mcloud.candle_history import CandleRow
    from mcloud.clouds.ports import Site
    from mcloud.market.indicators import Indicator
    from mcloud.market.quiet import CandleHole

_TIME, _COLUMNS = "Time range", "Output"

ROWS = 10  # of the table on a terminal
VOLUME = 3  # rows of the volumes
AROUND = 7  # lines around the chart and the table: titles, times, and the next prompt
LOWEST, HIGHEST = 6, 24  # rows of the prices


class _Shown(NamedTuple):
    """The part of the candles that a person sees, and how."""

    interval: str
    fill: bool
    indicators: "Sequence[Indicator]"
    chart: bool
    rows: int | None


def register(app: typer.Typer) -> None:
    command(app, formats=("text", "json", "csv", "html"))(candles)


def candles(
    session: Session,
    symbol: Annotated[
        str | None,
        typer.Argument(help="Symbol. Default: TRADING_SYMBOL if set, otherwise BTCUSDT."),
    ] = None,
    site: Annotated[
        str | None,
        typer.Option("--site", metavar="SITE", help="Site to read from. Default: the first site."),
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
    most: Annotated[
        int | None,
        typer.Option(
            "--rows",
            min=1,
            metavar="COUNT",
            help="Newest candles in the table. Default: 10 on a terminal, otherwise all.",
            rich_help_panel=_COLUMNS,
        ),
    ] = None,
    wait: WAIT = False,
) -> None:
    """Read the candles of a symbol.

    Examples:
    mcloud candles BTCUSDT --site gcp --interval 5m
    mcloud candles BTCUSDT --last 7d --interval 1h --with sma:20,vwap
    mcloud candles BTCUSDT --start 2024-08-08 --end 2024-08-09 -o csv
    """
    from mcloud.candle_history import TimeRange, check_known, describe, read_rows
    from mcloud.cli.reading import read_one
    from mcloud.config import unknown
    from mcloud.feed.open import SYMBOL
    from mcloud.market.interval import INTERVALS

    symbol = symbol_of(symbol or session.config.symbol or SYMBOL)
    if interval not in INTERVALS:
        raise unknown("interval", interval, INTERVALS)
    if last and start:
        raise UsageError("--last and --start cannot be combined")
    indicators = _indicators(with_) if with_ is not None else []
    until = moment("--end", end) if end else None
    begin = moment("--start", start) if start else None
    span = TimeRange(begin, until, int(length_of_time("--last", last or "2h") * 1000))
    if begin is not None and until is not None and until <= begin:
        raise UsageError("--end must be after --start")
    if site and "," in site:
        raise UsageError("--site takes a single site")

    def read(each: "Site") -> "tuple[list[CandleRow], list[CandleHole]]":
        rows, holes = read_rows(each, symbol, span, interval, indicators, fill=fill)
        if not rows:
            check_known(each, symbol)
        return rows, holes

    opened, (rows, holes) = read_one(session, site, read, wait=wait)
    name = opened.name
    if session.output == "json":
        session.print_json([row.record(fill) for row in rows])
    elif session.output == "csv":
        _print_csv(rows, fill, indicators)
    elif session.output == "html":
        from mcloud.drawing.html import candles_page

        print(candles_page(rows, symbol, interval, name))
    elif not rows:
        session.say(f"no candles of {symbol} at {name} in that time range")
    else:
        _draw(session, _Shown(interval, fill, indicators, chart, most), rows, name)
    if holes and (fill or indicators):
        session.warn(
            f"{describe(holes, symbol, name)}; run `mcloud verify --symbols {symbol} --repair` to"
            " fetch them"
        )


def _indicators(text: str) -> "list[Indicator]":
    from mcloud.config import did_you_mean
    from mcloud.market.indicators import NAMES, BadIndicator, parse

    try:
        return parse(text)
    except BadIndicator as error:
        raise UsageError(f"--with: {error}{did_you_mean(error.name, NAMES)}") from None


def _print_csv(
    rows: "Iterable[CandleRow]", marked: bool, indicators: "Iterable[Indicator]"
) -> None:
    import csv

    from mcloud.candle_history import FILLED, columns

    writer = csv.DictWriter(sys.stdout, columns(marked, indicators), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        record = row.record(marked)
        writer.writerow({**record, FILLED: str(record[FILLED]).lower()} if marked else record)


def _draw(
    session: Session,
    shown: "_Shown",
    rows: "Sequence[CandleRow]",
    site: str,
) -> None:
    """Draw the chart and below it the newest rows, or all rows in a pipe."""
    from mcloud.drawing.candles import table, title

    console = session.console
    width, height = console.size
    if shown.chart and console.is_terminal:
        from mcloud.drawing.candle_chart import candlesticks, legend

        lines = {
            str(each): [row.values[str(each)] for row in rows]
            for each in shown.indicators
            if each.is_price
        }
        session.print(title(rows, shown.interval, site))
        if lines:
            session.print(legend(list(lines)))
        tall = max(LOWEST, min(HIGHEST, height - ROWS - AROUND - VOLUME))
        bars = [row.step.bar for row in rows]
        chart = candlesticks(
            bars, width, tall, lines, interval=shown.interval, volume=VOLUME if height > 24 else 1
        )
        session.print(chart)
    count = shown.rows or (ROWS if console.is_terminal else len(rows))
    newest = rows[-count:]
    drawn, hidden = table(newest, shown.fill, shown.indicators, width)
    session.print(drawn)
    if len(newest) < len(rows):
        session.say(
            f"these are the newest {len(newest)} of {len(rows):,} candles;"
            f" `--rows {len(rows)}` shows all"
        )
    if hidden:
        session.say(f"the terminal is too narrow for {', '.join(hidden)}; `-o csv` shows them")
