"""``mcloud trace``"""

from typing import Annotated

import typer

from mcloud.cli.options import WAIT, symbol_of
from mcloud.cli.session import Session, command


def register(app: typer.Typer) -> None:
    command(app)(trace)


def trace(
    session: Session,
    trade_id: Annotated[
        int, typer.Argument(min=0, max=2**63 - 1, help="Trade id of the exchange.")
    ],
    symbol: Annotated[
        str | None,
        typer.Option(
            metavar="SYMBOL",
            help="Symbol. Default: TRADING_SYMBOL if set, otherwise BTCUSDT.",
        ),
    ] = None,
    site: Annotated[
        str | None,
        typer.Option(
            "--site", metavar="SITES", help="Comma-separated sites to ask. Default: all sites."
        ),
    ] = None,
    wait: WAIT = False,
) -> None:
    """Show where a trade went and when; exit 3 if nowhere.

    Examples:
    mcloud trace 3735684300
    mcloud trace 1453093221 --symbol ETHUSDT --site aws
    """
    from mcloud.cli.progress import waiting
    from mcloud.cli.reading import opened
    from mcloud.feed.open import SYMBOL
    from mcloud.runs import runs_called
    from mcloud.trace.find import find

    name = symbol_of(symbol or session.config.symbol or SYMBOL)
    producers = runs_called(session.config.state, None, "producers")
    sites = opened(session, site, wait=wait)
    with waiting(session, f"searching for {name} {trade_id}"):
        traced = find(name, trade_id, sites, producers)
    if session.output == "json":
        session.print_json(traced.report)
    elif traced.is_found:
        from mcloud.drawing.trace import view

        session.print(view(traced.report))
    if not traced.is_found:
        session.warn(f"no trade {trade_id} of {name} was found")
        for place in traced.looked:
            session.say(f"  {place}")
        raise typer.Exit(3)
