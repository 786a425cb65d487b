"""``mcloud anomalies`` and ``mcloud anomalies scan``"""

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from mcloud.cli.help import HelpGroup
from mcloud.cli.options import SYMBOLS, WAIT, length_of_time, moment, symbol_of
from mcloud.cli.session import Session, command, default
from mcloud.errors import UsageError

if TYPE_CHECKING:
    from mcloud.clouds.anomalies import ListedAnomaly
    from mcloud.clouds.ports import Site
    from mcloud.market.anomaly import Thresholds
    from mcloud.observing.anomalies import AnomalyScan

FORMATS = ("text", "json", "csv")

_THRESHOLDS = "Thresholds (default: those of [anomalies] in mcloud.toml)"


def register(app: typer.Typer) -> None:
    found = typer.Typer(cls=HelpGroup, rich_markup_mode=None)
    app.add_typer(found, name="anomalies")
    default(found, formats=FORMATS)(anomalies)
    command(found, formats=FORMATS)(scan)


def anomalies(
    session: Session,
    symbols: SYMBOLS = None,
    site: Annotated[
        str | None,
        typer.Option(
            "--site", metavar="SITES", help="Comma-separated sites to read from. Default: all."
        ),
    ] = None,
    last: Annotated[
        str,
        typer.Option(
            metavar="DURATION", help="Time before the newest anomaly, such as 90m, 24h or 7d."
        ),
    ] = "24h",
    kind: Annotated[
        str | None,
        typer.Option(
            metavar="KIND", help="One of price-jump, volume-spike and drift. Default: all kinds."
        ),
    ] = None,
    wait: WAIT = False,
) -> None:
    """List price jumps, volume spikes and price drifts.

    Producers find them. `mcloud anomalies scan` searches stored candles again.

    Examples:
    mcloud anomalies
    mcloud anomalies --symbols BTCUSDT --last 7d
    mcloud anomalies --kind price-jump -o csv
    """
    from mcloud.cli.reading import opened
    from mcloud.market.anomaly import KINDS
    from mcloud.observing.anomalies import collect, listed, reasons

    wanted = {symbol_of(each.strip()) for each in symbols.split(",")} if symbols else None
    if kind is not None and kind not in KINDS:
        from mcloud.config import unknown

        raise unknown("kind", kind, KINDS)
    span = int(length_of_time("--last", last) * 1000)
    found = collect(opened(session, site, wait=wait))
    for broken in found.damaged:
        session.warn(broken)
    if found.failed:
        session.warn(f"the list is incomplete: {reasons(found.failed)}")
    chosen = [
        (anomaly, sites)
        for anomaly, sites in found.anomalies
        if (wanted is None or anomaly.symbol in wanted) and kind in (None, anomaly.kind)
    ]
    newest = max((anomaly.start for anomaly, _ in chosen), default=0)
    rows = [listed(*each) for each in chosen if each[0].start > newest - span]
    _show(session, rows, "no anomalies were found")


def scan(
    session: Session,
    symbol: Annotated[str, typer.Argument(help="Symbol, such as BTCUSDT.")],
    site: Annotated[
        str | None,
        typer.Option("--site", metavar="SITE", help="Site to read from. Default: the first site."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="First minute, UTC. Default: a day before the newest candle."
        ),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="End, UTC, exclusive. Default: the newest candle."),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(
            metavar="MINUTES",
            help="Number of traded minutes that each minute is compared with.",
            rich_help_panel=_THRESHOLDS,
        ),
    ] = None,
    jump_score: Annotated[
        float | None,
        typer.Option(
            metavar="SCORE",
            help="Minimum score of a price jump, in usual deviations.",
            rich_help_panel=_THRESHOLDS,
        ),
    ] = None,
    jump_least: Annotated[
        float | None,
        typer.Option(
            metavar="FRACTION",
            help="Minimum price jump, as a fraction of the price (0.01 is 1%).",
            rich_help_panel=_THRESHOLDS,
        ),
    ] = None,
    volume_score: Annotated[
        float | None,
        typer.Option(
            metavar="SCORE",
            help="Minimum score of a volume spike, in usual deviations.",
            rich_help_panel=_THRESHOLDS,
        ),
    ] = None,
    volume_least: Annotated[
        float | None,
        typer.Option(
            metavar="FACTOR",
            help="Minimum volume spike, as a multiple of the usual volume.",
            rich_help_panel=_THRESHOLDS,
        ),
    ] = None,
    drift_score: Annotated[
        float | None,
        typer.Option(
            metavar="SCORE",
            help="Minimum score of a drift, in usual deviations.",
            rich_help_panel=_THRESHOLDS,
        ),
    ] = None,
    drift_least: Annotated[
        float | None,
        typer.Option(
            metavar="FRACTION",
            help="Minimum drift, as a fraction of the price.",
            rich_help_panel=_THRESHOLDS,
        ),
    ] = None,
    wait: WAIT = False,
) -> None:
    """Search stored candles for anomalies, without storing any.

    The search is the same as that of the functions. Use it to try other thresholds.

    Examples:
    mcloud anomalies scan BTCUSDT
    mcloud anomalies scan BTCUSDT --start 2024-08-08 --jump-least 0.005
    """
    from mcloud.candle_history import check_known
    from mcloud.cli.reading import read_one
    from mcloud.market.trade import MAX_TIME
    from mcloud.observing.anomalies import listed
    from mcloud.observing.anomalies import scan as search

    symbol = symbol_of(symbol)
    given = {
        "window": window,
        "jump_score": jump_score,
        "jump_least": jump_least,
        "volume_score": volume_score,
        "volume_least": volume_least,
        "drift_score": drift_score,
        "drift_least": drift_least,
    }
    thresholds = _thresholds(session, given)
    begin = moment("--start", start) if start else None
    until = moment("--end", end) if end else MAX_TIME
    if begin is not None and until <= begin:
        raise UsageError("--end must be after --start")
    if site and "," in site:
        raise UsageError("--site takes a single site")

    def read(each: "Site") -> "AnomalyScan":
        found = search(each, symbol, begin, until, thresholds)
        if not found.has_candles:
            check_known(each, symbol)
        return found

    opened, found = read_one(session, site, read, wait=wait)
    name = opened.name
    session.say(f"checked {found.candles} candles of {symbol} at {name}")
    nothing = "no anomalies were found" if found.candles else "no candles in that time range"
    _show(session, [listed(anomaly, [name]) for anomaly in found.anomalies], nothing)


def _thresholds(session: Session, given: Mapping[str, float | None]) -> "Thresholds":
    from mcloud.config import settings
    from mcloud.market.anomaly import Thresholds

    own = settings(session.config, "anomalies", Thresholds)
    changed = {name: value for name, value in given.items() if value is not None}
    try:
        return Thresholds(**{**vars(own), **changed})
    except ValueError as error:
        raise UsageError(f"--{error}".replace("_", "-", 1)) from None


def _show(session: Session, rows: "Sequence[ListedAnomaly]", nothing: str) -> None:
    if session.output == "json":
        session.print_json(rows)
    elif session.output == "csv":
        import csv
        from dataclasses import fields

        from mcloud.clouds.anomalies import ListedAnomaly
        from mcloud.documents import encode

        columns = [each.name for each in fields(ListedAnomaly)]
        writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({**encode(row), "sites": " ".join(row.sites)} for row in rows)
    elif not rows:
        session.say(nothing)
    else:
        from mcloud.drawing.anomalies import WIDE, table

        session.print(table(rows, session.console.width))
        if session.console.width < WIDE:
            session.say("the terminal is too narrow for usual, score; `-o csv` shows them")
