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
from mcloud.cost.report import CostReport
from mcloud.cost.table import compared_cells, group_cells
from mcloud.cost.words import percent, usd
from mcloud.durations import duration

BAR = 12  # columns
EIGHTHS = " ▏▎▍▌▋▊▉"


def report_view(report: CostReport, *, compare: bool, details: bool) -> RenderableType:
    """Draw the groups with their bars, and optionally every meter and the comparison of the
    clouds.
    """
    parts: list[RenderableType] = [_title(report), _groups(report)]
    if details:
        parts += [Text(), _lines(report)]
    if compare:
        parts += [Text(), comparison(report)]
    parts += [Text(), *_summary(report), *(Text(f"· {note}", "dim") for note in report.notes)]
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


def estimate_view(load: Load, lines: Sequence[EstimateLine], *, free_tier: bool) -> RenderableType:
    """Draw the cost of each service at each site, in each of the months."""
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
    symbols = "1 symbol" if load.symbols == 1 else f"{load.symbols:,} symbols"
    title = f"{symbols}, {load.rate:g} trades/s, candles at most {load.freshness:g} s old"
    tier = f", {'after' if free_tier else 'without'} free tiers"
    return Stack(
        Text.assemble((title, "bold"), tier, (" (estimate)", "dim")),
        table,
        Text("without guards, replicators, dashboards, queries and backups", "dim"),
    )


def advice_view(advice: Sequence[Advice]) -> RenderableType:
    table = _table(("saves a month", "right"), ("site", "left"), ("what", "left"))
    for each in advice:
        words = Text.assemble(each.title, "\n", (each.how, "cyan"), "\n", (each.why, "dim"))
        table.add_row(f"{'up to ' if each.at_most else ''}{usd(each.saving)}", each.site, words)
    return table


def bar(part: Decimal, whole: Decimal, width: int = BAR) -> str:
    """Return a bar in eighths of a column. A part above 0 is always visible."""
    eighths = int(part / whole * width * 8) if whole > 0 else 0
    if part > 0:
        eighths = max(1, eighths)
    full, rest = divmod(eighths, 8)
    return "█" * full + (EIGHTHS[rest] if rest else "")


def _title(report: CostReport) -> Text:
    tier = "after free tiers" if report.free_tier else "without free tiers"
    if report.is_unknown:
        return Text(f"{report.month.name}: unknown", "bold")
    return Text.assemble(
        (f"{report.month.name}: {usd(report.net)}", "bold"),
        f" {tier}, {usd(report.gross)} at list price",
        (" (estimate)", "dim"),
    )


def _groups(report: CostReport) -> Table:
    table = _table(
        ("site", "left"),
        (report.by, "left"),
        *((name, "right") for name in ("list", "net", "share", "per million")),
        ("", "left"),
    )
    largest = max((group.net for group in report.groups), default=Decimal(0))
    seen = ""
    for group in report.groups:
        drawn = Text(bar(group.net, largest), "cyan")
        if group.unknown:
            drawn.append(f"{' ' if drawn else ''}+ unknown: {', '.join(group.unknown)}", "yellow")
        table.add_row("" if group.site == seen else group.site, *group_cells(group), drawn)
        seen = group.site
    return table


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


def _summary(report: CostReport) -> list[Text]:
    words = []
    for usage in report.usages:
        trades = usage.trades.total
        words.append(
            Text(
                f"{usage.site}: "
                + ("trades unknown" if trades is None else f"{trades:,.0f} trades")
                + f" ({usage.trades.source})"
            )
        )
        bill = report.bills.get(usage.site)
        if isinstance(bill, Bill):
            age = duration(report.at - bill.as_of)
            words.append(Text(f"{usage.site}: billed {usd(bill.net)} ({bill.source}, {age} old)"))
        elif bill:
            words.append(Text(f"{usage.site}: billed: unknown: {bill}", "dim"))
    words += _budgets(report)
    if report.forecast and report.forecast.early:
        words.append(Text(f"forecast: too early: {report.forecast.rests_on}", "dim"))
    elif report.forecast and report.forecast.is_unknown:
        words.append(Text("forecast: unknown", "dim"))
    elif report.forecast:
        low, expected, high = map(usd, report.forecast.total)
        words.append(Text(f"forecast: {expected}, between {low} and {high}"))
    if report.own_cost:
        words.append(Text(f"this report cost {usd(report.own_cost)} at most", "dim"))
    return words


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
