"""``mcloud candles``"""

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from mcloud.cli.options import length_of_time, moment, symbol_of
from mcloud.cli.session import Session, command
from mcloud.errors import UsageError

if TYPE_CHECKING:
    from mcloud.candle_history import CandleRow
    from mcloud.market.indicators import Indicator

_TIME, _COLUMNS = "Time range", "Output"


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
    from mcloud.candle_history import TimeRange, check_known, describe, read_rows
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
        raise UsageError("--from takes a single site")
    name, opened = next(iter(session.sites(site).items()))
    rows, holes = read_rows(opened, symbol, span, interval, indicators, fill=fill)
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
        session.warn(f"{describe(holes, symbol, name)}; run `mcloud verify --repair` to fetch them")


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
    rows: "Sequence[CandleRow]",
    marked: bool,
    indicators: "Sequence[Indicator]",
    chart: bool,
) -> None:
    from mcloud.drawing.candles import candlesticks, table

    drawn, hidden = table(rows, marked, indicators, session.console.width)
    session.print(drawn)
    if hidden:
        session.say(f"the terminal is too narrow for {', '.join(hidden)}; `-o csv` shows them")
    if chart and session.console.is_terminal:
        lines = {
            str(each): [row.values[str(each)] for row in rows]
            for each in indicators
            if each.is_price
        }
        bars = [row.step.bar for row in rows]
        session.print(candlesticks(bars, session.console.width, 16, lines))
