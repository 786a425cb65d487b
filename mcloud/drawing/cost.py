"""Views of the cost of the pipeline."""

from collections.abc import Sequence
from decimal import Decimal
from itertools import product

from rich.console import Group as Stack
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mcloud.clouds.billing import Bill
from mcloud.cost.advise import Advice
from mcloud.cost.estimate import EstimateLine, Load, net_of
from mcloud.cost.forecast import Forecast, Range
from mcloud.cost.report import EMBEDDED, CostReport, Group
from mcloud.cost.table import compared_cells, group_cells
from mcloud.cost.words import percent, usd
from mcloud.drawing.lines import bar
from mcloud.durations import duration

BAR = 12  # columns
WIDE = 90  # columns of a terminal that have room for all columns of a report


def report_view(
    report: CostReport, *, compare: bool, details: bool, width: int = WIDE
) -> RenderableType:
    """Draw the groups with a sum for each site and their bars. ``details`` adds every meter and all
    notes, and ``compare`` the comparison of the clouds. Below ``WIDE`` columns, figures that follow
    from the others are left out.
    """
    parts: list[RenderableType] = [_title(report), _groups(report, width)]
    if details:
        parts += [Text(), _lines(report)]
    if compare:
        parts += [Text(), comparison(report)]
    parts += [Text(), *_summary(report, details=details)]
    if details:
        parts += [Text(f"· {note}", "dim") for note in report.notes]
    else:
        parts.append(Text(_footer(report), "dim"))
    return Stack(*parts)


def comparison(report: CostReport) -> Table:
    """Draw the cost of each service on either cloud."""
    table = _table(
        ("service", "left"),
        *((name, "right") for name in ("AWS list", "AWS net", "GCP list", "GCP net", "GCP saves")),
    )
    for row in report.comparison:
        cells = compared_cells(row, report)
        table.add_row(*cells, style="bold" if row.service == "total" else "")
    return table


def forecast_view(forecast: Forecast) -> RenderableType:
    table = _table(("", "left"), ("expected", "right"), ("low", "right"), ("high", "right"))
    for site, each in forecast.sites.items():
        table.add_row(site, *_range(None if site in forecast.unknown else each))
    table.add_row("all", *_range(None if forecast.is_unknown else forecast.total), style="bold")
    words = [Text(f"by the end of {forecast.month.name}; based on {forecast.rests_on}", "dim")]
    for (cloud, meter), day in forecast.runs_out.items():
        words.append(Text(f"the free tier of {cloud} {meter} is used up on {day}", "yellow"))
    return Stack(table, *words)


def estimate_view(
    load: Load,
    lines: Sequence[EstimateLine],
    replicated: Sequence[EstimateLine],
    *,
    free_tier: bool,
) -> RenderableType:
    """Draw the cost of each service at each site, in each of the months.

    Args:
        replicated: the same with a replicator between the sites.
    """
    months = sorted({line.month for line in lines})
    sites = list(dict.fromkeys(line.site for line in lines))
    table = _table(
        ("service", "left"), *((f"{site}, month {n}", "right") for site in sites for n in months)
    )

    for service in dict.fromkeys(line.service for line in lines):
        found = [line for line in lines if line.service == service]
        table.add_row(service, *(usd(net_of(found, *key)) for key in product(sites, months)))
    sums = (usd(net_of(lines, *key)) for key in product(sites, months))
    table.add_row("total", *sums, style="bold")
    if len(sites) > 1:
        more = (net_of(replicated, *key) - net_of(lines, *key) for key in product(sites, months))
        table.add_row("replicator", *(f"+{usd(each)}" for each in more))
    symbols = "1 symbol" if load.symbols == 1 else f"{load.symbols:,} symbols"
    title = f"{symbols}, {load.rate:g} trades/s, candles at most {load.freshness:g} s old"
    tier = f", {'after' if free_tier else 'without'} free tiers"
    return Stack(
        Text.assemble((title, "bold"), tier, (" (estimate)", "dim")),
        table,
        Text("without guards, dashboards, queries and backups", "dim"),
    )


def advice_view(advice: Sequence[Advice]) -> RenderableType:
    table = _table(("saves a month", "right"), ("site", "left"), ("what", "left"))
    for each in advice:
        words = Text.assemble(each.title, "\n", (each.how, "cyan"), "\n", (each.why, "dim"))
        table.add_row(f"{'up to ' if each.at_most else ''}{usd(each.saving)}", each.site, words)
    return table


def _title(report: CostReport) -> Text:
    tier = "after free tiers" if report.free_tier else "without free tiers"
    if report.is_unknown:
        return Text(f"{report.month.name}: unknown", "bold")
    line = Text.assemble(
        (f"{report.month.name}: {usd(report.net)}", "bold"),
        f" {tier}, {usd(report.gross)} at list price",
        (" (estimate)", "dim"),
    )
    change = report.today_total
    return line if change is None else line.append(f", {_change(change)} today")


def _groups(report: CostReport, width: int) -> Table:
    """Draw the groups of each site and their sum, and the sum of all sites."""
    kept = slice(None) if width >= WIDE else slice(3)  # without share and cost per million trades
    columns = BAR if width >= WIDE else BAR // 2
    heads = ("" if report.by == "site" else report.by, "list", "net", "share", "per million")
    table = _table(
        ("site", "left"),
        *((name, "right" if index else "left") for index, name in enumerate(heads[kept])),
        *((("today", "right"),) if report.today else ()),
        ("", "left"),
    )
    parts = [] if report.by == "site" else report.groups
    largest = max((each.net for each in parts or report.groups), default=Decimal(0))

    def add(site: str, cells: Sequence[str], today: str, drawn: Text, style: str = "") -> None:
        table.add_row(site, *cells[kept], *([today] if report.today else []), drawn, style=style)

    for total in report.subtotals:
        mine = [each for each in parts if each.site == total.site]
        for number, group in enumerate(mine):
            name = "" if number else group.site
            add(name, group_cells(group), "", _bar(group, largest, columns))
        cells = ("total", *group_cells(total)[1:])
        today = _change(report.today.get(total.site))
        if mine:
            add("", cells, today, Text(), "bold")
        else:
            add(total.site, cells, today, _bar(total, largest, columns))
    if len(report.subtotals) > 1 and not report.is_unknown:
        share = "100%" if report.net else ""
        cells = ("total", usd(report.gross), usd(report.net), share, "")
        add("all", cells, _change(report.today_total), Text(), "bold")
    return table


def _bar(group: Group, largest: Decimal, columns: int) -> Text:
    drawn = Text(bar(float(group.net / largest) if largest else 0.0, columns), "cyan")
    if group.unknown:
        drawn.append(f"{' ' if drawn else ''}+ unknown: {', '.join(group.unknown)}", "yellow")
    return drawn


def _change(change: Decimal | str | None) -> str:
    if not isinstance(change, Decimal):
        return "unknown"
    return f"{'+' if change > 0 else ''}{usd(change)}"


def _lines(report: CostReport) -> Table:
    table = _table(
        ("site", "left"),
        ("meter", "left"),
        *((name, "right") for name in ("used", "free", "list", "net")),
        ("from", "left"),
    )
    for line in report.lines:
        age = report.at - line.as_of
        source = f"{line.source}{'' if line.exact else ' (estimate)'}"
        source += f", {duration(age)} old" if age > 60 else ""
        known = line.used is not None
        table.add_row(
            line.site,
            line.meter,
            count(line.used) if line.used is not None else "unknown",
            count(line.free) if known else "",
            usd(line.gross) if known else "",
            usd(line.net) if known else "",
            Text(source, "dim"),
        )
    return table


def _summary(report: CostReport, *, details: bool) -> list[Text]:
    words = []
    for usage in report.usages:
        if usage.problem:
            words.append(Text(f"{usage.site}: unknown: {usage.problem}", "yellow"))
        bill = report.bills.get(usage.site)
        if isinstance(bill, Bill):
            age = duration(report.at - bill.as_of)
            words.append(Text(f"{usage.site}: billed {usd(bill.net)} ({bill.source}, {age} old)"))
        elif bill and details:
            words.append(Text(f"{usage.site}: billed: unknown: {bill}", "dim"))
        is_missing = usage.trades.source.startswith("unknown: ") and not usage.problem
        if is_missing:
            words.append(Text(f"{usage.site}: trades {usage.trades.source}", "dim"))
        elif details:
            count = usage.trades.total
            trades = "trades unknown" if count is None else f"{count:,.0f} trades"
            words.append(Text(f"{usage.site}: {trades} ({usage.trades.source})", "dim"))
    words += _unknown_changes(report)
    words += _budgets(report)
    if report.forecast and report.forecast.early:
        words.append(Text(f"forecast: too early: {report.forecast.rests_on}", "dim"))
    elif report.forecast and report.forecast.is_unknown:
        words.append(Text("forecast: unknown", "dim"))
    elif report.forecast:
        low, expected, high = map(usd, report.forecast.total)
        words.append(Text(f"forecast: {expected}, between {low} and {high}"))
    if report.own_cost and details:
        words.append(Text(f"this report cost {usd(report.own_cost)} at most", "dim"))
    return words


def _unknown_changes(report: CostReport) -> list[Text]:
    """Return why the change since yesterday is unknown, for the sites where nothing else says
    it.
    """
    reasons: dict[str, list[str]] = {}
    problems = {usage.site for usage in report.usages if usage.problem}
    for site, why in report.today.items():
        if isinstance(why, str) and site not in problems:
            reasons.setdefault(why, []).append(site)
    return [
        Text(f"{', '.join(sites)}: the change since yesterday is unknown, because {why}", "dim")
        for why, sites in reasons.items()
    ]


def _footer(report: CostReport) -> str:
    first, *others = report.notes
    embedded = [each for each in others if each == EMBEDDED]
    count = len(others) - len(embedded)
    more = [f"{count} more note{'s' * (count > 1)} with --details"] if count else []
    return "; ".join([first, *embedded, *more])


def _budgets(report: CostReport) -> list[Text]:
    """Return the used share of each budget, as a minimum if some sites are unknown."""
    words = []
    budget, ahead = report.money.budget, report.forecast
    if budget is not None and report.is_unknown:
        words.append(Text(f"budget: unknown how much of {usd(budget)} is used"))
    elif budget is not None:
        least = "at least " if any(usage.is_unknown for usage in report.usages) else ""
        text = f"budget: {least}{percent(report.net, budget):.0f}% of {usd(budget)} used"
        if ahead and not ahead.early:
            text += f", {least}{percent(ahead.expected, budget):.0f}% by the end of the month"
        words.append(Text(text, "bold red" if report.over_budget else ""))
    for name, each in report.money.budgets.items():
        net = report.known_net_of(name)
        if net is None:
            words.append(Text(f"budget of {name}: unknown how much of {usd(each)} is used"))
        else:
            words.append(Text(f"budget of {name}: {percent(net, each):.0f}% of {usd(each)} used"))
    return words


def count(units: Decimal) -> str:
    """Return a number of units for a person."""
    if units == units.to_integral_value() or units >= 1000:
        return f"{units:,.0f}"
    return f"{units:.3g}" if units >= Decimal("0.0001") else f"{units:.1e}"


def _range(each: Range | None) -> tuple[str, str, str]:
    if each is None:
        return "unknown", "", ""
    return usd(each.expected), usd(each.low), usd(each.high)


def _table(*columns: tuple[str, str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name, justify in columns:
        # A number that is cut off is a wrong number, so only the last column may shrink.
        table.add_column(
            name,
            justify="right" if justify == "right" else "left",
            no_wrap=(name, justify) != columns[-1],
            overflow="fold",
        )
    return table
