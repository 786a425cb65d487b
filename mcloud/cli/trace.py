"""``mcloud trace``"""

from typing import Annotated

import typer

from mcloud.cli.session import Session, command


def register(app: typer.Typer) -> None:
    command(app)(trace)


def trace(
    session: Session,
    trade_id: Annotated[
        int, typer.Argument(min=0, max=2**63 - 1, help="The exchange's id of the trade.")
    ],
    symbol: Annotated[
        str | None, typer.Option(help="TRADING_SYMBOL or BTCUSDT if left out.")
    ] = None,
    site: Annotated[
        str | None, typer.Option("--site", help="Sites to ask, comma-separated; all if left out.")
    ] = None,
) -> None:
    """Show where a trade was and when; exit 3 where it is nowhere."""
    from mcloud.cli.candles import symbol_of
    from mcloud.cli.progress import waiting
    from mcloud.feed.open import SYMBOL
    from mcloud.runs import runs_called
    from mcloud.trace.find import find

    name = symbol_of(symbol or session.config.symbol or SYMBOL)
    producers = runs_called(session.config.state, None, "producers")
    sites = session.sites(site)
    with waiting(session, f"looking for {name} {trade_id}"):
        traced = find(name, trade_id, sites, producers)
    if session.output == "json":
        session.print_json(traced.to_json())
    elif traced.is_found:
        from mcloud.drawing.trace import view

        session.print(view(traced.to_json()))
    if not traced.is_found:
        session.warn(f"no trade {trade_id} of {name} was found")
        for place in traced.looked:
            session.say(f"  {place}")
        raise typer.Exit(3)
