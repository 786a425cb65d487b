"""``mcloud cost``: report, forecast and reduce the cost of the pipeline."""

from typing import TYPE_CHECKING, Annotated

import typer

from mcloud.cli.help import group
from mcloud.cli.options import WAIT
from mcloud.cli.session import Session, command
from mcloud.errors import UsageError

if TYPE_CHECKING:
    from mcloud.cost.month import Month
    from mcloud.cost.report import CostReport
    from mcloud.cost.usage import SiteUsage

_VIEW, _PRICES = "View", "Prices"

MONTH = Annotated[
    str | None,
    typer.Option(metavar="MONTH", help="Month, UTC, such as 2026-10. Default: this month."),
]
NO_FREE_TIER = Annotated[
    bool,
    typer.Option(
        "--no-free-tier",
        help="Assume that other uses of the account take the free tiers.",
        rich_help_panel=_PRICES,
    ),
]
HELP = """Estimate, report and reduce the cost of the pipeline.

Examples:
mcloud cost estimate --symbols 400 --rate 3000 --freshness 60
mcloud cost report
mcloud cost advise
"""


def register(app: typer.Typer) -> None:
    cost = group(app, "cost", HELP)
    command(cost, formats=("text", "json", "csv", "md", "html"))(report)
    command(cost)(forecast)
    command(cost)(advise)
    command(cost)(estimate)


def report(
    session: Session,
    month: MONTH = None,
    by: Annotated[
        str,
        typer.Option(
            metavar="COLUMN",
            help="Group by service, site or symbol.",
            rich_help_panel=_VIEW,
        ),
    ] = "service",
    no_free_tier: NO_FREE_TIER = False,
    details: Annotated[
        bool,
        typer.Option(
            "--details",
            help="Show each meter with its source and age, and all notes.",
            rich_help_panel=_VIEW,
        ),
    ] = False,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare",
            help="Compare the clouds service by service.",
            rich_help_panel=_VIEW,
        ),
    ] = False,
    no_billed: Annotated[
        bool,
        typer.Option(
            "--no-billed",
            help="Do not request the bills. A request can cost $0.01.",
            rich_help_panel=_PRICES,
        ),
    ] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Exit with 3 if a budget is exceeded, will be, or cannot be checked.",
        ),
    ] = False,
    wait: WAIT = False,
) -> None:
    """Estimate the cost of a month from metered usage at list prices.

    Examples:
    mcloud cost report
    mcloud cost report --by site --compare
    mcloud cost report --month 2026-10 -o csv
    """
    from mcloud.config import unknown
    from mcloud.cost.report import BY

    if by not in BY:
        raise unknown("grouping", by, BY)
    made = _make(session, month, by, no_free_tier=no_free_tier, billed=not no_billed, wait=wait)
    if session.output == "json":
        session.print_json(made.report)
    elif session.output == "csv":
        from mcloud.cost.table import as_csv

        print(as_csv(made), end="")
    elif session.output == "md":
        from mcloud.cost.table import as_markdown

        print(as_markdown(made), end="")
    elif session.output == "html":
        from mcloud.drawing.html import cost_page

        print(cost_page(made))
    else:
        from mcloud.drawing.cost import report_view

        width = session.console.width
        session.print(report_view(made, compare=compare, details=details, width=width))
    if check and (made.over_budget or made.unknown_sites):
        for sentence in made.over_budget:
            session.warn(f"over budget: {sentence}")
        for sentence in made.unknown_sites:
            session.warn(f"not checked: {sentence}")
        raise typer.Exit(3)


def forecast(session: Session, no_free_tier: NO_FREE_TIER = False, wait: WAIT = False) -> None:
    """Forecast the cost of this month, with a range.

    Examples:
    mcloud cost forecast
    mcloud cost forecast --no-free-tier
    """
    from mcloud.drawing.cost import forecast_view

    made = _make(session, None, "site", no_free_tier=no_free_tier, billed=False, wait=wait)
    assert made.forecast is not None
    if session.output == "json":
        session.print_json(made.forecast.report)
    else:
        session.print(forecast_view(made.forecast))
    for note in made.notes[1:]:
        session.say(note)


def advise(session: Session, no_free_tier: NO_FREE_TIER = False, wait: WAIT = False) -> None:
    """List changes that would save money, with the command or setting.

    Examples:
    mcloud cost advise
    mcloud cost advise -o json
    """
    import time

    from mcloud.cost.advise import advise
    from mcloud.cost.forecast import LITTLE
    from mcloud.cost.settings import money

    now = time.time()
    month = _month(None, now)
    settings = money(session.config).settings
    usages = _usages(session, month, now, wait=wait)
    for usage in usages:
        if usage.problem:
            session.warn(f"{usage.site}: unknown: {usage.problem}")
    found = advise(
        *(usages, month, now),
        profile=session.config.profile,
        free_tier=settings.free_tier and not no_free_tier,
    )
    if session.output == "json":
        session.print_json([each.report for each in found])
    elif not found:
        session.say("at the usage so far, no change would save a cent per month")
    else:
        from mcloud.drawing.cost import advice_view

        session.print(advice_view(found))
    measured = now - min((usage.start for usage in usages), default=now)
    if found and measured < LITTLE:
        session.warn(f"{measured / 60:.0f} min of usage are too little to predict a month")


def estimate(
    session: Session,
    symbols: Annotated[
        int, typer.Option(min=1, max=10_000, metavar="COUNT", help="Number of symbols.")
    ] = 1,
    rate: Annotated[
        float,
        typer.Option(
            min=0.01,
            max=20_000,
            metavar="RATE",
            help="Trades per second of all symbols together, on average.",
        ),
    ] = 30.0,
    freshness: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=600,
            metavar="SECONDS",
            help="Maximum age of a candle at the sites, in seconds. Default: [produce] of"
            " mcloud.toml, or 5.",
        ),
    ] = None,
    site: Annotated[
        str, typer.Option(metavar="SITES", help="Comma-separated clouds: aws and gcp.")
    ] = "aws,gcp",
    no_free_tier: NO_FREE_TIER = False,
) -> None:
    """Estimate what a pipeline would cost, before it is deployed.

    A few minutes of simulated trades pass through the code of the pipeline in memory. Nothing is
    deployed or called. The estimate covers the path of the trades and the data that they leave,
    in the first and in the twelfth month. With two sites, it also shows what `mcloud replicate`
    would add if it runs all the time and both sites get all trades.

    Examples:
    mcloud cost estimate
    mcloud cost estimate --symbols 400 --rate 3000 --freshness 60
    mcloud cost estimate --freshness 1 --site aws -o json
    """
    from functools import partial

    from mcloud.cli.progress import waiting
    from mcloud.clouds.resources import CLOUDS, Cloud
    from mcloud.config import select, settings
    from mcloud.config.produce import ProduceSettings
    from mcloud.cost.estimate import Load, estimate
    from mcloud.cost.settings import money
    from mcloud.documents import encode
    from mcloud.replication.running_cost import replicator

    if freshness is None:
        freshness = settings(session.config, "produce", ProduceSettings).freshness
    load = Load(symbols, rate, freshness)
    free_tier = money(session.config).settings.free_tier and not no_free_tier
    clouds: dict[str, Cloud] = {cloud: cloud for cloud in select(CLOUDS, site)}
    with waiting(session, "simulating trades"):
        lines = estimate(load, clouds, free_tier=free_tier)
        more = partial(replicator, others=len(clouds) - 1)
        replicated = estimate(load, clouds, free_tier=free_tier, more=more)
    if session.output == "json":
        found = {"lines": lines, "with_replicator": replicated}
        documents = {name: [encode(line) for line in each] for name, each in found.items()}
        session.print_json({"load": encode(load), **documents})
    else:
        from mcloud.drawing.cost import estimate_view

        session.print(estimate_view(load, lines, replicated, free_tier=free_tier))


def _make(
    session: Session, month: str | None, by: str, *, no_free_tier: bool, billed: bool, wait: bool
) -> "CostReport":
    import time

    from mcloud.cost.bills import bills
    from mcloud.cost.forecast import forecast
    from mcloud.cost.report import make_report
    from mcloud.cost.settings import money
    from mcloud.sites.resources import site_resources

    now = time.time()
    settings = money(session.config)
    chosen = _month(month, now)
    usages = _usages(session, chosen, now, wait=wait)
    free_tier = settings.settings.free_tier and not no_free_tier
    return make_report(
        *(usages, chosen, now),
        by=by,
        free_tier=free_tier,
        bills=(
            bills(session.config, site_resources(session.config), chosen, now, settings.settings)
            if billed
            else {}
        ),
        money=settings,
        forecast=forecast(usages, chosen, now, free_tier=free_tier),
    )


def _usages(session: Session, month: "Month", now: float, *, wait: bool) -> "list[SiteUsage]":
    from mcloud.cli.progress import waiting
    from mcloud.cli.reading import opened
    from mcloud.cost.usage import collect

    sites = opened(session, None, wait=wait)
    with waiting(session, "reading the meters"):
        return collect(session.config, sites, month, now)


def _month(text: str | None, now: float) -> "Month":
    from mcloud.cost.month import Month

    month = Month.parse(text) if text else Month.of(now)
    if month.start > now:
        raise UsageError(f"{month.name} is in the future")
    return month
