"""Reports as web pages: one file each, without scripts and without requests to any server."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from html import escape
from itertools import zip_longest

from mcloud.candle_history import CandleRow
from mcloud.cost.report import CostReport
from mcloud.cost.table import group_cells
from mcloud.cost.words import usd
from mcloud.drawing.drill import figures
from mcloud.drawing.verify import ROWS
from mcloud.market.trade import to_text
from mcloud.rehearsal.drill_report import DrillReport
from mcloud.replication.verify_document import FindingDocument, VerifyDocument

WIDTH, HEIGHT, VOLUMES = 1000, 360, 80  # of a chart, in units of the drawing
MARGIN = 90  # units on the right, for the prices
LABELS = 5  # prices and times beside a chart
DAYS = 14  # that a map shows
DAY = timedelta(days=1)

STYLE = """
:root { color-scheme: light dark; --back: #ffffff; --text: #1f2328; --dim: #667079;
  --line: #d5d9de; --good: #1a7f4b; --bad: #c62f3a; --warn: #9a6700; --bar: #2f6fb5; }
@media (prefers-color-scheme: dark) { :root { --back: #15191e; --text: #e4e8ec; --dim: #9aa4ae;
  --line: #343b43; --good: #3fb879; --bad: #f2727b; --warn: #d9a441; --bar: #6aa6e8; } }
body { background: var(--back); color: var(--text); font: 15px/1.5 system-ui, sans-serif;
  margin: 2rem auto; max-width: 66rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .8rem .3rem 0; text-align: left; }
td.number, th.number { text-align: right; } tr.total { font-weight: 600; }
.dim { color: var(--dim); } .good { color: var(--good); } .bad { color: var(--bad); }
.warn { color: var(--warn); } .scroll { overflow-x: auto; }
.bar { background: var(--bar); display: inline-block; height: .7rem; min-width: 2px; }
svg { height: auto; width: 100%; } svg text { fill: var(--dim); font: 12px system-ui, sans-serif; }
.rise { fill: var(--good); stroke: var(--good); } .fall { fill: var(--bad); stroke: var(--bad); }
.grid { stroke: var(--line); } .cell { background: var(--line); display: inline-block;
  height: 14px; margin: 1px; width: 14px; } .cell.bad { background: var(--bad); }
"""


def candles_page(rows: Sequence[CandleRow], symbol: str, interval: str, site: str) -> str:
    """Return a page with a chart of candles and volumes, and their table."""
    bars = [row.step.bar for row in rows]
    names = list(rows[0].values) if rows else []
    heads = ("time, UTC", *names, "open", "high", "low", "close", "volume", "trades")
    lines = [
        (
            bar.timestamp.replace("T", " ").rstrip("Z"),
            *("–" if (value := row.values[name]) is None else to_text(value) for name in names),
            *(to_text(each) for each in (bar.open, bar.high, bar.low, bar.close, bar.volume)),
            f"{bar.trade_count:,}",
        )
        for row, bar in zip(rows[::-1], bars[::-1], strict=True)
    ]
    about = f"{len(bars):,} candles of {interval} at {site}"
    body = _chart(rows) if rows else "<p class=dim>no data</p>"
    return page(
        f"{symbol} {interval}", f"<p class=dim>{escape(about)}</p>{body}", _table(heads, lines)
    )


def cost_page(report: CostReport) -> str:
    """Return a page with the cost of each service and site."""
    largest = max((group.net for group in report.groups), default=Decimal(0))
    lines: list[Sequence[str]] = []
    totals: set[int] = set()
    bars: list[str] = []
    for total in report.subtotals:
        for group in (each for each in report.groups if each.site == total.site):
            lines.append((group.site, *group_cells(group)))
            share = float(group.net / largest) if largest else 0.0
            bars.append(f'<span class=bar style="width:{share * 12:.2f}rem"></span>')
        totals.add(len(lines))
        lines.append((total.site, "total", *group_cells(total)[1:]))
        bars.append("")
    heads = ("site", report.by, "list", "net", "share", "per million trades", "")
    rows = [(*map(escape, line), bar) for line, bar in zip(lines, bars, strict=True)]
    net = "unknown" if report.is_unknown else usd(report.net)
    change = report.today_total
    today = "" if change is None else f", {usd(change)} of it today"
    notes = "".join(f"<li>{escape(note)}</li>" for note in report.notes)
    return page(
        f"Cost of {report.month.name}: {net}{today}",
        "<p class=dim>an estimate</p>",
        _table(heads, rows, totals, is_escaped=True),
        f"<h2>Notes</h2><ul>{notes}</ul>",
    )


def drill_page(report: DrillReport) -> str:
    """Return a page with the timeline and the figures of a drill."""
    verdict = ("good", "passed") if report.ok else ("bad", "failed")
    timeline = [(f"{each.s:z.1f} s", each.what) for each in report.timeline]
    facts = [
        (escape(name), f"<span class={'good' if is_good else 'bad'}>{escape(value)}</span>")
        for name, value, is_good in figures(report)
    ]
    problem = f"<p class=bad>{escape(report.problem)}</p>" if report.problem else ""
    return page(
        f"Drill: {report.scenario} of {report.site}",
        f"<p>{escape(report.about)}: <b class={verdict[0]}>{verdict[1]}</b></p>{problem}",
        _table(("since the outage", "what"), timeline),
        "<h2>Result</h2>",
        _table(("figure", "value"), facts, is_escaped=True),
    )


def verify_page(document: VerifyDocument) -> str:
    """Return a page with the counts of a comparison, and a map of the hours with findings."""
    is_good = document.ok and not document.left_out
    count = len(document.findings)
    verdict = "equal and complete" if document.ok else f"{count:,} finding{'s' * (count != 1)}"
    if document.ok and not is_good:
        verdict = "no findings at the sites that were compared"
    counts = [
        (row.label, *(f"{row.count(site):,}" for site in document.sites.values())) for row in ROWS
    ]
    findings = [
        (each.kind, each.site or "all sites", each.symbol, each.timestamp, each.why)
        for each in document.findings
    ]
    compared = (
        f"{' and '.join(document.what)} of {', '.join(document.symbols) or 'no symbol'},"
        f" from {document.start or 'the beginning'} to {document.end or 'now'}"
    )
    parts = [
        f"<p><b class={'good' if is_good else 'bad'}>{verdict}</b></p>",
        *(
            f"<p class=bad>{escape(name)} was not compared: {escape(why)}</p>"
            for name, why in document.left_out.items()
        ),
        f"<p class=dim>{escape(compared)}</p>",
        _table(("", *document.sites), counts),
        *_map(document.findings),
    ]
    if findings:
        parts += ["<h2>Findings</h2>", _table(("kind", "site", "symbol", "time", "why"), findings)]
    return page("Comparison of the sites", *parts)


def page(title: str, *parts: str) -> str:
    """Return a page of these parts, which are HTML. The title is a text."""
    name = escape(title)
    head = "<meta charset=utf-8><meta name=viewport content='width=device-width'>"
    body = "\n".join(parts)
    return (
        f"<!doctype html>\n<html lang=en><head>{head}<style>{STYLE}</style>"
        f"<title>{name}</title></head><body><h1>{name}</h1>\n{body}\n</body></html>"
    )


def _map(findings: Iterable[FindingDocument]) -> list[str]:
    """Return a row for each symbol and kind, with a line of cells for each day, and a cell for each
    of its hours, from the first finding to the last and at most for DAYS.
    """
    # A damaged object may not tell its time.
    timed = [each for each in findings if not each.timestamp.startswith("1970-")]
    counts = Counter((each.symbol, each.kind, _hour(each)) for each in timed)
    if not counts:
        return []
    last = max(hour for _, _, hour in counts).replace(hour=0)
    first = max(min(hour for _, _, hour in counts).replace(hour=0), last - DAY * (DAYS - 1))
    days = [first + DAY * n for n in range((last - first).days + 1)]
    rows = []
    for symbol, kind in sorted({(symbol, kind) for symbol, kind, _ in counts}):
        lines = (
            "".join(_map_cell(hour, counts[symbol, kind, hour]) for hour in _hours(day))
            for day in days
        )
        rows.append((escape(symbol), escape(kind), "<br>".join(lines)))
    heads = ("symbol", "kind", f"hours of {first:%Y-%m-%d} to {last:%Y-%m-%d}, UTC")
    return ["<h2>Hours with findings</h2>", _table(heads, rows, is_escaped=True)]


def _hour(finding: FindingDocument) -> datetime:
    return datetime.fromisoformat(finding.timestamp).replace(minute=0, second=0, microsecond=0)


def _hours(day: datetime) -> list[datetime]:
    return [day + timedelta(hours=n) for n in range(24)]


def _map_cell(hour: datetime, count: int) -> str:
    style = "cell bad" if count else "cell"
    return f'<span class="{style}" title="{hour:%Y-%m-%d %H:%M}: {count:,}"></span>'


def _chart(rows: Sequence[CandleRow]) -> str:
    bars = [row.step.bar for row in rows]
    low, high = min(bar.low for bar in bars), max(bar.high for bar in bars)
    largest = max(bar.volume for bar in bars)
    slot = WIDTH / len(bars)
    body = max(1.0, min(40.0, slot * 0.7))

    def y(price: Decimal) -> float:
        return (
            HEIGHT / 2 if low == high else float((high - price) / (high - low)) * (HEIGHT - 10) + 5
        )

    digits = max(0, 4 - (high or Decimal(1)).adjusted())  # five significant ones of a price
    parts = []
    for step in range(LABELS):
        price = low + (high - low) * step / (LABELS - 1)
        at = y(price)
        parts.append(f"<line class=grid x1=0 x2={WIDTH} y1={at:.1f} y2={at:.1f} />")
        label = f"{round(price, digits):,f}"
        parts.append(f"<text x={WIDTH + 8} y={at + 4:.1f}>{label}</text>")
    for index, bar in enumerate(bars):
        middle = slot * (index + 0.5)
        way = "rise" if bar.close >= bar.open else "fall"
        top, bottom = y(max(bar.open, bar.close)), y(min(bar.open, bar.close))
        tall = float(bar.volume / largest) * VOLUMES if largest else 0.0
        thick = max(1.0, bottom - top)
        left, base = middle - body / 2, HEIGHT + VOLUMES + 10
        said = f"{bar.timestamp}: {to_text(bar.close)}, volume {to_text(bar.volume)}"
        parts.append(
            f"<g class={way}><title>{said}</title>"
            f"<line x1={middle:.1f} x2={middle:.1f} y1={y(bar.high):.1f} y2={y(bar.low):.1f} />"
            f"<rect x={left:.1f} y={top:.1f} width={body:.1f} height={thick:.1f} />"
            f"<rect x={left:.1f} y={base - tall:.1f} width={body:.1f} height={tall:.1f}"
            " fill-opacity=.5 stroke=none /></g>"
        )
    for index in sorted({round(n * (len(bars) - 1) / (LABELS - 1)) for n in range(LABELS)}):
        at = slot * (index + 0.5)
        label = bars[index].timestamp[5:16].replace("T", " ")
        parts.append(
            f"<text x={at:.1f} y={HEIGHT + VOLUMES + 28} text-anchor=middle>{label}</text>"
        )
    box = f"-40 0 {WIDTH + MARGIN + 40} {HEIGHT + VOLUMES + 36}"
    return f'<svg viewBox="{box}" role=img aria-label="candles">{"".join(parts)}</svg>'


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[-+$]*\d[\d,.]*(%| s)?|–", text) is not None


def _table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    totals: Iterable[int] = (),
    *,
    is_escaped: bool = False,
) -> str:
    """Return a table. Cells are texts, unless they are HTML already."""
    bold = set(totals)

    def cell(text: str) -> str:
        style = " class=number" if _is_number(text) else ""
        return f"<td{style}>{text if is_escaped else escape(text)}</td>"

    styles = [" class=number" if _is_number(each) else "" for each in rows[0]] if rows else []
    head = "".join(
        f"<th{style}>{escape(each)}</th>"
        for each, style in zip_longest(heads, styles, fillvalue="")
    )
    lines = []
    for number, row in enumerate(rows):
        style = " class=total" if number in bold else ""
        lines.append(f"<tr{style}>{''.join(map(cell, row))}</tr>")
    return (
        f"<div class=scroll><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )
