"""``mcloud candles``"""

import re
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from mcloud.cli.session import Session, command
from mcloud.errors import UsageError

if TYPE_CHECKING:
    from decimal import Decimal

    from mcloud.clouds.ports import Site
    from mcloud.market.candle import Candle
    from mcloud.market.indicators import Indicator
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

UNKNOWN = "–"

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
    with_: Annotated[
        str | None,
        typer.Option("--with", help="Indicators: sma:20,ema:12,vwap,volatility:30,returns."),
    ] = None,
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
    indicators = _indicators(with_) if with_ is not None else []
    until = moment("--end", end) if end else None
    span = span_of(last or "2h")
    begin = moment("--start", start) if start else None
    if begin is not None and until is not None and until <= begin:
        raise UsageError("--end is not after --start")
    if site and "," in site:
        raise UsageError("--from takes one site")
    name, opened = next(iter(session.sites(site).items()))
    bounds = _bounds(opened, symbol, begin, until, span, INTERVALS[interval])
    bars, values = [], {}
    if bounds:
        width = INTERVALS[interval]
        bars = derive(_lead(opened, symbol, bounds, width, indicators), interval)
        values = _values(bars, width, indicators, bounds[0])
        bars = [bar for bar in bars if bar.start >= bounds[0]]
    if not bars:
        check_known(opened, symbol)
    if session.output == "json":
        session.print_json(_rows(bars, values))
    elif session.output == "csv":
        _print_csv(bars, values)
    elif not bars:
        session.say(f"no candles of {symbol} at {name} in that time")
    else:
        _draw(session, bars, values, chart)


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


def check_known(site: "Site", symbol: str) -> None:
    """UsageError for a symbol that the site has never seen, where it has seen others."""
    from mcloud.config import did_you_mean
    from mcloud.documents import sound

    known = [beat.symbol for beat in sound(site.control.heartbeats())]
    if known and symbol not in known and site.candles.last(symbol) is None:
        hint = did_you_mean(symbol, known)
        raise UsageError(f"no symbol {symbol!r} at {site.name}; there is {', '.join(known)}{hint}")


def _indicators(text: str) -> "list[Indicator]":
    from mcloud.config import did_you_mean
    from mcloud.market.indicators import NAMES, BadIndicator, parse

    try:
        return parse(text)
    except BadIndicator as error:
        raise UsageError(f"--with: {error}{did_you_mean(error.name, NAMES)}") from None


def _lead(
    site: "Site",
    symbol: str,
    bounds: tuple[int, int],
    width: int,
    indicators: "Sequence[Indicator]",
) -> "list[Candle]":
    """The candles of the bounds, after as many earlier ones as the indicators need.

    Where the first interval of all has none, the last candle before it says whether it was quiet.
    """
    from mcloud.market.indicators import QUIET, reach

    begin = min((reach(each, bounds[0], width) for each in indicators), default=bounds[0])
    begin = begin // width * width
    candles = list(site.candles.range(symbol, begin, bounds[1]))
    if begin == bounds[0] or (candles and candles[0].start < begin + width):
        return candles
    earlier = list(site.candles.range(symbol, max(0, begin - QUIET * width), begin))
    newest = earlier[-1].start // width * width if earlier else 0
    return [candle for candle in earlier if candle.start >= newest] + candles


def _values(
    bars: "list[Bar]", width: int, indicators: "Sequence[Indicator]", begin: int
) -> "dict[Indicator, list[Decimal | None]]":
    """Each indicator's values at the bars from ``begin`` on."""
    from mcloud.market.indicators import compute

    hidden = sum(bar.start < begin for bar in bars)
    return {each: compute(bars, width, each)[hidden:] for each in indicators}


def _rows(
    bars: "list[Bar]", values: "Mapping[Indicator, list[Decimal | None]]"
) -> list[dict[str, str | int | None]]:
    """Decimals as strings: a JSON number is a float to most readers. None is unknown."""
    from mcloud.market.trade import to_text

    return [
        {
            "symbol": bar.symbol,
            "timestamp": bar.timestamp,
            **{name: to_text(getattr(bar, name)) for name in COLUMNS[2:8]},
            "trade_count": bar.trade_count,
            "first_id": bar.first_id,
            "last_id": bar.last_id,
            **{str(each): _text(values[each][index]) for each in values},
        }
        for index, bar in enumerate(bars)
    ]


def _text(value: "Decimal | None") -> str | None:
    from mcloud.market.indicators import signed_text

    return None if value is None else signed_text(value)


def _print_csv(bars: "list[Bar]", values: "Mapping[Indicator, list[Decimal | None]]") -> None:
    import csv

    columns = (*COLUMNS, *map(str, values))
    writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_rows(bars, values))


def _draw(
    session: Session,
    bars: "list[Bar]",
    values: "Mapping[Indicator, list[Decimal | None]]",
    chart: bool,
) -> None:
    from rich.table import Table

    from mcloud.dashboard.chart import candlesticks

    rows = _rows(bars, values)
    # What was asked for stands before what may be left out.
    columns = [*COLUMNS[1:7], *map(str, values), *COLUMNS[7:]]
    texts = [{c: UNKNOWN if row[c] is None else str(row[c]) for c in columns} for row in rows]
    # A number that is cut off is a wrong number: what does not fit is left out, from the right.
    widths = {c: max(len(c), *(len(row[c]) for row in texts)) for c in columns}
    hidden: list[str] = []
    while sum(widths[c] + 1 for c in columns) > session.console.width + 1 and len(columns) > 5:
        hidden.insert(0, columns.pop())
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(column, justify="left" if column == "timestamp" else "right", no_wrap=True)
    for row in texts:
        table.add_row(*(row[column] for column in columns))
    session.print(table)
    if hidden:
        session.say(f"too narrow for {', '.join(hidden)}; `-o csv` has them")
    if chart and session.console.is_terminal:
        lines = {str(each): values[each] for each in values if each.is_price}
        session.print(candlesticks(bars, session.console.width, 16, lines))


def symbol_of(text: str) -> str:
    """A symbol as it is written; UsageError where it cannot be one."""
    from mcloud.market.trade import BadTrade, capitals, check_symbol

    try:
        return check_symbol(capitals(text))
    except BadTrade as error:
        raise UsageError(f"{error}; such as BTCUSDT") from None


def span_of(text: str) -> int:
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
