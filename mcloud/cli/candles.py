"""``mcloud candles``"""

import re
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from mcloud.cli.session import Session, command
from mcloud.errors import UsageError

if TYPE_CHECKING:
    from mcloud.clouds.ports import Site
    from mcloud.market.interval import Bar

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

_SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def register(app: typer.Typer) -> None:
    command(app, formats=("text", "json", "csv"))(candles)


def candles(
    session: Session,
    symbol: Annotated[
        str | None, typer.Argument(help="TRADING_SYMBOL or BTCUSDT if left out.")
    ] = None,
    site: Annotated[
        str | None, typer.Option("--from", help="Site to read from; the first if left out.")
    ] = None,
    interval: Annotated[str, typer.Option(help="1m, 5m, 15m, 1h or 1d.")] = "1m",
    last: Annotated[
        str | None, typer.Option(help="As far back from the newest candle: 90m, 2h, 7d.")
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="First minute, UTC: 2024-08-08 or 2024-08-08T23:54.")
    ] = None,
    end: Annotated[str | None, typer.Option(help="Up to but not including this minute.")] = None,
    chart: Annotated[bool, typer.Option(help="Draw a chart, on a terminal.")] = True,
) -> None:
    """Read the candles of a symbol."""
    from mcloud.feed.open import SYMBOL
    from mcloud.market.interval import INTERVALS, derive

    symbol = symbol_of(symbol or session.config.symbol or SYMBOL)
    if interval not in INTERVALS:
        raise UsageError(f"no interval {interval!r}; there is {', '.join(INTERVALS)}")
    if last and start:
        raise UsageError("--last and --start exclude each other")
    until = moment("--end", end) if end else None
    span = _span(last or "2h")
    begin = moment("--start", start) if start else None
    if begin is not None and until is not None and until <= begin:
        raise UsageError("--end is not after --start")
    if site and "," in site:
        raise UsageError("--from takes one site")
    name, opened = next(iter(session.sites(site).items()))
    bounds = _bounds(opened, symbol, begin, until, span, INTERVALS[interval])
    bars = derive(opened.candles.range(symbol, *bounds), interval) if bounds else []
    if not bars:
        _check_known(opened, symbol)
    if session.output == "json":
        session.print_json([_row(bar) for bar in bars])
    elif session.output == "csv":
        _print_csv(bars)
    elif not bars:
        session.say(f"no candles of {symbol} at {name} in that time")
    else:
        _draw(session, bars, chart)


def _bounds(
    site: "Site", symbol: str, begin: int | None, until: int | None, span: int, width: int
) -> tuple[int, int] | None:
    """Start and end in ms. Without a start it reaches back from the end, or the newest candle.

    Whole bars of ``width`` ms: one that lacks its beginning or its end would be a wrong one.
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


def _check_known(site: "Site", symbol: str) -> None:
    """UsageError for a symbol that the site has never seen, where it has seen others."""
    from mcloud.config import did_you_mean

    known = [beat.symbol for beat in site.control.heartbeats()]
    if known and symbol not in known and site.candles.last(symbol) is None:
        hint = did_you_mean(symbol, known)
        raise UsageError(f"no symbol {symbol!r} at {site.name}; there is {', '.join(known)}{hint}")


def _row(bar: "Bar") -> dict[str, str | int]:
    """Decimals as strings: a JSON number is a float to most readers."""
    from mcloud.market.trade import to_text

    return {
        "symbol": bar.symbol,
        "timestamp": bar.timestamp,
        **{name: to_text(getattr(bar, name)) for name in COLUMNS[2:8]},
        "trade_count": bar.trade_count,
        "first_id": bar.first_id,
        "last_id": bar.last_id,
    }


def _print_csv(bars: "list[Bar]") -> None:
    import csv

    writer = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(_row, bars))


def _draw(session: Session, bars: "list[Bar]", chart: bool) -> None:
    from rich.table import Table

    from mcloud.dashboard.chart import candlesticks

    rows = [_row(bar) for bar in bars]
    # A number that is cut off is a wrong number: what does not fit is left out, from the right.
    columns = list(COLUMNS[1:])
    widths = {c: max(len(c), *(len(str(row[c])) for row in rows)) for c in columns}
    while sum(widths[c] + 1 for c in columns) > session.console.width + 1 and len(columns) > 5:
        columns.pop()
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(column, justify="left" if column == "timestamp" else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(str(row[column]) for column in columns))
    session.print(table)
    hidden = COLUMNS[1 + len(columns) :]
    if hidden:
        session.say(f"too narrow for {', '.join(hidden)}; `-o csv` has them")
    if chart and session.console.is_terminal:
        session.print(candlesticks(bars, session.console.width, 16))


def symbol_of(text: str) -> str:
    """A symbol as it is written; UsageError where it cannot be one."""
    from mcloud.market.trade import BadTrade, check_symbol

    try:
        return check_symbol(text.upper())
    except BadTrade as error:
        raise UsageError(f"{error}; such as BTCUSDT") from None


def _span(text: str) -> int:
    """``90m``, ``2h``, ``7d`` in ms."""
    match = re.fullmatch(r"([1-9][0-9]{0,5})([mhdw])", text)
    if not match:
        raise UsageError(f"not a length of time: {text!r}; such as 90m, 2h or 7d")
    return int(match[1]) * _SECONDS[match[2]] * 1000


def moment(option: str, text: str) -> int:
    """An ISO date or time in ms; without a zone it is UTC."""
    from datetime import UTC, datetime

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{option} is not a time: {text!r}; such as 2024-08-08 or 2024-08-08T23:54"
        ) from None
    return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000)
