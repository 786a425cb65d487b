"""A view of one site: every figure with its reason, and every symbol."""

from collections.abc import Callable

from rich.cells import cell_len
from rich.text import Text

from mcloud.clouds.observation import Observation
from mcloud.clouds.ports import SERVICES
from mcloud.drawing.figures import Cell, chart, figures
from mcloud.drawing.lines import fit
from mcloud.durations import brief
from mcloud.market.trade import to_text
from mcloud.observing.snapshot import SiteSnapshot

LABEL = 14  # columns
DEPTHS = 60  # that are drawn


def details(
    site: SiteSnapshot, now: float, room: int, keeps: Callable[[str], bool] = lambda text: True
) -> list[Text]:
    """Return all lines of the view. The chart is higher if there is more room. ``keeps`` tells
    whether a symbol is shown.
    """
    height = 1 if room < 36 else 4
    lines = [Text.assemble((site.name, "bold"), (f" {site.cloud}", "dim"))]
    lines += [_line(name, service(site.health[name])) for name in SERVICES]
    lines += [Text()]
    for label, cell in figures(site, now).items():
        if label != "services":
            lines.append(_figure(label, cell))
        if label == "queue depth" and site.history:
            lines += [
                Text(" " * LABEL + each, "dim") for each in chart(site.history, DEPTHS, height)
            ]
    lines += [Text(), *(line for line in _symbols(site, now) if keeps(line.plain))]
    pause = (site.guards.value or {}).get("pause")
    if pause and pause.paused:
        said = f"paused by {pause.by}, {brief(max(0.0, now - pause.at))} ago"
        why = f": {pause.why}" if pause.why else ""
        lines.append(_line("guards", Text(f"{said}{why}", "yellow")))
    return lines


def service(seen: Observation[float]) -> Text:
    """Return whether a service is up, and its response time."""
    if seen.problem:
        return Text.assemble(("down", "bold red"), f"  {seen.problem}")
    if not seen.known:
        return Text("asking", "dim")
    return Text.assemble(("up", "green"), (f"  {seen.took * 1000:.0f} ms", "dim"))


def _figure(label: str, cell: Cell) -> Text:
    text = cell.text.copy()
    if cell.ago:
        text.append(f"  {cell.ago}", "dim")
    if cell.problem and cell.problem not in cell.text.plain:
        text.append(f"  {cell.problem}", "yellow")
    return _line(label, text)


def _symbols(site: SiteSnapshot, now: float) -> list[Text]:
    recent = {each.symbol: each for each in site.recent.value or []}
    names = [beat.symbol for beat in site.heartbeats.value or []]
    width = max(LABEL, *(cell_len(name) + 1 for name in names), 0)
    lines = []
    for beat in site.heartbeats.value or []:
        each = recent.get(beat.symbol)
        text = Text(f"{beat.trades:>10,} trades, {brief(max(0.0, now - beat.at)):>6} ago")
        if each and each.last:
            text.append(f"  {each.last.timestamp[:16]} {to_text(each.last.close):>12}")
        if each and each.missing:
            text.append(f"   {each.missing:,} missing", "yellow")
        lines.append(_line(beat.symbol, text, width))
    return lines


def _line(label: str, text: Text, width: int = LABEL) -> Text:
    return fit(Text(label, "dim"), width, pad=True).append_text(text)
