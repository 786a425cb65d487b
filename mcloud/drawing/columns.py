"""A table with one column per site and one row per figure, in exactly the given room."""

from collections.abc import Callable, Mapping, Sequence

from rich.cells import cell_len
from rich.text import Text

from mcloud.clouds.figures import FIGURES, rows_of
from mcloud.clouds.ports import SERVICES
from mcloud.drawing.figures import Cell, chart, rows, sparkline
from mcloud.drawing.focus import service
from mcloud.drawing.lines import fit, sides
from mcloud.durations import duration
from mcloud.market.trade import to_text
from mcloud.observing.snapshot import SiteSnapshot, Snapshot, Trend

LABEL = 14  # columns
LONGER = 12  # columns by which a symbol may be longer, of those of the first site
NARROWEST = 31  # columns of a site
WIDEST = 93
TEXT = 46  # columns of a figure with its age; charts use the rest

CHART = "depths"
TRENDS = ("trades/s", "lag", "latency", "price")
GROUPS = (
    ("services", "queue depth", CHART, *rows_of("queue"), "dead letters"),
    tuple(rows_of("function")),
    ("processed", "last candle", "holes", *rows_of("store")),
    ("behind", "cost"),
)
_LEAST_FIRST = (
    *("writes", "p95", "throttles", "processed", CHART, "cost", "behind", "oldest", "calls"),
    *("last candle", "errors", "holes", "dead letters"),
)
SPARABLE = (*(each.row for each in FIGURES if each.row not in _LEAST_FIRST), *_LEAST_FIRST)
"""Rows that are left out if there is no room, in this order. The rest stays."""
CHART_HEIGHTS = (4, 8)  # lines, where there is room for more than one
BELOW = 6  # lines that processes and events below have, before a chart gets its greatest height
SYMBOLS = 8  # lines, in place of the one last candle


def fitting(width: int) -> int:
    """Return the number of sites that fit side by side."""
    return max(1, (width - LABEL) // NARROWEST)


def columns(shown: Sequence[SiteSnapshot], now: float, width: int, room: int) -> list[Text]:
    """Return up to ``room`` lines, without headings."""
    each = column_width(shown, width)
    some = Snapshot(now, {site.name: site for site in shown})
    table = {row.label: [_row(row.label, row.cells, each)] for row in rows(some)}
    table[CHART] = _chart(shown, each, 1)
    kept = {label for group in GROUPS for label in group}
    for label in SPARABLE:
        if len(kept) <= room:
            break
        kept.discard(label)
    gaps = len(GROUPS) - 1
    spare = room - len(kept) - gaps
    trends = _trends(shown, each)
    is_roomy = spare > len(trends)
    if is_roomy:
        spare -= len(trends) + 1
    # The order in which a high terminal is filled.
    for label, block, left in (
        (CHART, _chart(shown, each, CHART_HEIGHTS[0]), 0),
        ("services", [*table["services"], *_services(shown, each)], 0),
        ("last candle", _symbols(shown, each), 0),
        (CHART, _chart(shown, each, CHART_HEIGHTS[1]), BELOW),
    ):
        more = len(block) - len(table[label])
        if 0 < more <= spare - left:
            table[label] = block
            spare -= more
    lines: list[Text] = []
    for group in GROUPS:
        block = [line for label in group if label in kept for line in table[label]]
        lines += [Text()] if lines and block and spare >= 0 else []
        lines += block
    return [*lines, Text(), *trends] if is_roomy else lines


def column_width(shown: Sequence[SiteSnapshot], width: int) -> int:
    return min(WIDEST, (width - LABEL) // max(1, len(shown)))


def heading(shown: Sequence[SiteSnapshot], begin: int, count: int, width: int) -> Text:
    """Return the sites' names with the keys that focus them, and which of the sites these are."""
    which = f"{begin + 1}" if len(shown) == 1 else f"{begin + 1}-{begin + len(shown)}"
    which = f"{which} of {count}" if len(shown) < count else ""
    line = fit(Text(which, "dim"), LABEL, pad=True)
    for number, site in enumerate(shown, begin + 1):
        name = Text.assemble((f"{number} ", "dim"), (site.name, "bold"))
        if site.name != site.cloud:
            name.append(f" {site.cloud}", "dim")
        line.append_text(fit(name, column_width(shown, width), pad=True))
    return line


def _row(label: str, cells: Sequence[Cell], width: int, longer: int = 0) -> Text:
    """Return a row. Its label takes ``longer`` columns from the first cell."""
    line = fit(Text(label, "dim"), LABEL + longer, pad=True)
    for number, cell in enumerate(cells):
        line.append_text(_cell(cell, width if number else width - longer))
    return line


def _cell(cell: Cell, width: int) -> Text:
    """Return a cell with the figure on the left and its age on the right."""
    age = Text(cell.shown_age, "yellow" if cell.problem else "dim")
    return fit(sides(cell.text, age, min(TEXT, width - 2)), width, pad=True)


def _chart(shown: Sequence[SiteSnapshot], width: int, height: int) -> list[Text]:
    """Return the chart of each queue's depth, with the maximum beside it."""
    lines = [Text(" " * LABEL) for _ in range(height)]
    for site in shown:
        depths = [depth for _, depth in site.history if depth is not None]
        drawn = chart(site.history, width - 14, height) if depths else [""] * height
        for number, line in enumerate(lines):
            top = f"max {max(depths):,}" if depths and number == 0 else ""
            cell = sides(Text(drawn[number], "dim"), Text(top, "dim"), width - 2)
            line.append_text(fit(cell, width, pad=True))
    return lines


def _trends(shown: Sequence[SiteSnapshot], width: int) -> list[Text]:
    """Return a line for each figure, with its last values as bars and the newest as a number."""
    lines = []
    for label in TRENDS:
        line = fit(Text(label, "dim"), LABEL, pad=True)
        for site in shown:
            values, newest = _trend(label, site)
            number = Text(newest, "bold" if newest else "")
            columns = min(TEXT, width - 2) - number.cell_len - 1
            bars = sparkline(values, columns, from_zero=label != "price")
            drawn = Text(bars, "dim") if bars else Text("no data", "dim")
            cell = sides(drawn, number, min(TEXT, width - 2))
            line.append_text(fit(cell, width, pad=True))
        lines.append(line)
    return lines


def _trend(label: str, site: SiteSnapshot) -> tuple[list[float | None], str]:
    """Return the values of a figure, and the newest as a text."""
    trends = site.trends
    series: Mapping[str, tuple[Trend, Callable[[float], str]]] = {
        "trades/s": (trends.rate, lambda value: f"{value:,.0f}"),
        "lag": (trends.lag, duration),
        "latency": (trends.latency, lambda value: f"{value * 1000:,.0f} ms"),
        "price": (trends.price, lambda value: f"{value:,.10g}"),
    }
    found, words = series[label]
    values = [value for _, value in found]
    newest = values[-1] if values else None
    return values, "" if newest is None else words(newest)


def _services(shown: Sequence[SiteSnapshot], width: int) -> list[Text]:
    return [
        _row(f"  {name}", [Cell(service(site.health[name])) for site in shown], width)
        for name in SERVICES
    ]


def _symbols(shown: Sequence[SiteSnapshot], width: int) -> list[Text]:
    """Return the newest candle of each symbol."""
    recent = [{each.symbol: each for each in site.recent.value or ()} for site in shown]
    names = sorted(set().union(*recent))
    longest = max((cell_len(name) for name in names[:SYMBOLS]), default=0)
    longer = min(max(0, longest + 1 - LABEL), LONGER)
    lines = []
    for name in names[:SYMBOLS]:
        cells = []
        for site in recent:
            candle = site[name].last if name in site else None
            none = "none" if name in site else "none of its own"
            said = f"{candle.timestamp[11:16]} {to_text(candle.close)}" if candle else none
            cells.append(Cell(Text(said, "" if candle else "dim")))
        lines.append(_row(name, cells, width, longer))
    if len(names) > SYMBOLS:
        lines[-1] = Text(f"… {len(names) - SYMBOLS + 1} more symbols", "dim")
    return lines
