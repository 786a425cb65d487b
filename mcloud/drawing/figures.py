"""The figures of a snapshot as short texts, each with its age if it is not fresh.

Both screens use them: ``mcloud status`` prints them once, and ``mcloud monitor`` keeps them up to
date.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from rich.text import Text

from mcloud.clouds.figures import MeasuredFigure, rows_of
from mcloud.clouds.observation import Observation
from mcloud.clouds.ports import SERVICES, Depth, Heartbeat, Lag
from mcloud.cost.words import usd
from mcloud.durations import brief, duration
from mcloud.market.trade import to_text
from mcloud.observing.document import why_missing
from mcloud.observing.queries import CANDLES, COMPACTION, COST, FAST, METRICS, PROBES, STORE
from mcloud.observing.recent import Recent
from mcloud.observing.replicated import is_current
from mcloud.observing.snapshot import SiteSnapshot, Snapshot

Value = TypeVar("Value")

SLACK = 10.0  # seconds over the interval of a figure until it counts as old
HOUR = 3600.0  # seconds between two scheduled compactions
QUIET = 300.0  # seconds without a trade, while other symbols have some, that are shown
FRESH = 20.0  # seconds; the figures of a metrics service are older in most cases, and say so


@dataclass(frozen=True)
class Cell:
    """One figure of one site."""

    text: Text
    age: float | None = None
    """Age in seconds. None if the text says how old the figure is."""
    problem: str = ""
    """Reason why the figure is not newer."""
    is_old: bool = False
    """Whether the figure is older than its interval explains, or its site has a problem."""

    @property
    def shown_age(self) -> str:
        """The age, if it has to be shown."""
        return brief(self.age) if self.is_old and self.age is not None else ""

    @property
    def ago(self) -> str:
        return f"{self.shown_age} ago" if self.shown_age else ""


@dataclass(frozen=True)
class FigureRow:
    label: str
    cells: list[Cell]


def rows(snapshot: Snapshot) -> list[FigureRow]:
    """Return one row per figure, with one cell per site."""
    columns = [figures(site, snapshot.at) for site in snapshot.sites.values()]
    return [FigureRow(label, [cells[label] for cells in columns]) for label in FIGURES]


def figures(site: SiteSnapshot, now: float) -> dict[str, Cell]:
    """Return all figures of a site, by label.

    A site with a problem has the age of each, because they may have changed since.
    """
    cells = {label: make(site, now) for label, make in FIGURES.items()}
    if not (site.down or site.silent):
        return cells
    return {
        label: replace(cell, is_old=cell.is_old or (cell.age or 0.0) >= 1)
        for label, cell in cells.items()
    }


def services(site: SiteSnapshot, now: float) -> Cell:
    if site.down:
        said = "; ".join(f"{_services(names)}: {reason}" for reason, names in site.down.items())
        return Cell(Text.assemble(("down", "bold red"), f"  {said}"))
    if site.silent:
        said = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in site.silent.items())
        return Cell(Text.assemble(("no news", "bold yellow"), f"  {said}"))
    known = [each for each in site.health.values() if each.known]
    if len(known) < len(site.health):
        return Cell(Text("asking", "dim"))
    slowest = max(each.took for each in known)
    oldest = min(each.at or 0.0 for each in known)
    text = Text.assemble(("up", "green"), (f"  {slowest * 1000:.0f} ms", "dim"))
    return _aged(text, oldest, now, PROBES)


def queue(site: SiteSnapshot, now: float) -> Cell:
    return _depth(site.queue, site.cloud, now, FAST)


def dead_letters(site: SiteSnapshot, now: float) -> Cell:
    cell = _depth(site.dead_letters, site.cloud, now, STORE)
    depth = site.dead_letters.value
    if depth is not None and depth.ready:
        cell.text.stylize("yellow")
    return cell


def measured(declared: Sequence[MeasuredFigure]) -> "Callable[[SiteSnapshot, float], Cell]":
    """Return what draws the figures of one row: the first one, and the others if they are not 0."""
    first, *others = declared

    def cell(site: SiteSnapshot, now: float) -> Cell:
        seen = site.figures
        if seen.value is None:
            return _unknown(seen.why)
        figure = seen.value[first.name]
        if figure.value is None:
            return _unknown(seen.problem or why_missing(site.cloud, first.unmeasured))
        text = _value(first, figure.value, seen.value.window)
        for each in others:
            if count := seen.value[each.name].value:
                text.append(f", {count:,.0f} {each.note}", "yellow")
        return _aged(text, figure.as_of, now, FRESH, seen.problem)

    return cell


def _value(declared: MeasuredFigure, value: float, window: float) -> Text:
    if declared.unit == "age":
        return Text(duration(value))
    if declared.unit == "latency":
        return Text(f"{value * 1000:.0f} ms" if value < 10 else duration(value))
    if declared.is_fault:
        return Text(f"{value:,.0f}", "yellow" if value else "")
    return Text(f"{value:,.0f} in {window / 60:.0f} min")


def _measured_rows(part: str) -> "dict[str, Callable[[SiteSnapshot, float], Cell]]":
    return {label: measured(declared) for label, declared in rows_of(part).items()}


def processed(site: SiteSnapshot, now: float) -> Cell:
    beats = site.heartbeats.value
    if beats is None:
        return _unknown(site.heartbeats.why)
    broken = next(iter(site.damaged_heartbeats.values()), None)
    if not beats:
        if broken is not None:
            return _unknown(str(broken))
        return Cell(Text("no trades yet", "dim"), problem=site.heartbeats.problem)
    trades = sum(beat.trades for beat in beats)
    newest = max(beat.at for beat in beats)
    text = Text(f"{trades:,} trades" if broken is None else f"at least {trades:,} trades")
    if said := _quiet(beats):
        text.append(f", {said}", "dim")
    return _aged(text, newest, now, STORE, site.heartbeats.problem)


def _quiet(beats: Sequence[Heartbeat]) -> str:
    """Return the symbols whose newest trade is much older than that of the others."""
    newest = max(beat.last_trade_time for beat in beats)
    quiet = [beat for beat in beats if newest - beat.last_trade_time > 1000 * QUIET]
    if not quiet:
        return ""
    oldest = min(quiet, key=lambda beat: beat.last_trade_time)
    others = f" and {len(quiet) - 1} others" if len(quiet) > 1 else ""
    longest = brief((newest - oldest.last_trade_time) / 1000)
    return f"{oldest.symbol}{others} none for {'up to ' if others else ''}{longest}"


def candle(site: SiteSnapshot, now: float) -> Cell:
    def shown(_: list[Recent]) -> Text:
        last = site.last.last if site.last else None
        if last is None:
            return Text("none of its own" if _is_standby(site) else "none yet", "dim")
        return Text(f"{last.symbol} {last.timestamp[11:16]} {to_text(last.close)}")

    return _seen(site.recent, now, CANDLES, shown)


def holes(site: SiteSnapshot, now: float) -> Cell:
    def shown(recent: list[Recent]) -> Text:
        lacking = [each for each in recent if each.missing]
        if not lacking:
            if recent:
                return Text("none")
            return Text("no candles of its own" if _is_standby(site) else "no candles", "dim")
        named = ", ".join(f"{each.symbol} {each.missing:,}" for each in lacking)
        return Text(f"{named} missing", "yellow")

    return _seen(site.recent, now, CANDLES, shown)


def _is_standby(site: SiteSnapshot) -> bool:
    """Return whether a site has at most the candles that a replicator brings, of which it has no
    heartbeats.
    """
    return site.heartbeats.value == [] and bool(site.lags.value)


def behind(site: SiteSnapshot, now: float) -> Cell:
    lags = site.lags.value
    if lags is None:
        return _unknown(site.lags.why)
    if not lags:
        return Cell(Text("no replicator", "dim"), problem=site.lags.problem)
    text = Text(", ").join(_lag(lag, now) for lag in lags)
    current = [lag.at for lag in lags if is_current(lag, now)]
    if not current:
        return Cell(text, problem=site.lags.problem)
    oldest = min(current)
    return _aged(text, oldest, now, STORE, site.lags.problem)


def compacted(site: SiteSnapshot, now: float) -> Cell:
    seen = site.compaction
    if not seen.known:
        return _unknown(seen.why)
    last = seen.value
    if last is None:
        return Cell(Text("not yet", "dim"), problem=seen.problem)
    text = Text(f"{last.objects:,} objects in {duration(last.seconds)}")
    if last.next_symbol:
        text.append(f", up to {last.next_symbol}", "yellow")
    if last.problems:
        text.append(f", {last.problems:,} failed", "yellow")
    if last.staged_since is not None:
        ago = brief(now - last.staged_since)
        text.append(f", {last.staged:,} staged objects left, the oldest written {ago} ago")
    return _aged(text, last.at, now, HOUR + COMPACTION, seen.problem)


def cost(site: SiteSnapshot, now: float) -> Cell:
    seen = site.cost
    if seen.value is None:
        return _unknown(seen.why)
    text = Text(f"{usd(seen.value.month_to_date)} this month")
    if seen.value.per_hour is not None:
        text.append(f", {usd(seen.value.per_hour)}/h")
    return _aged(text, seen.at or 0.0, now, COST, seen.problem)


FIGURES: Mapping[str, Callable[[SiteSnapshot, float], Cell]] = {
    "services": services,
    "queue depth": queue,
    **_measured_rows("queue"),
    "dead letters": dead_letters,
    **_measured_rows("function"),
    **_measured_rows("store"),
    "processed": processed,
    "last candle": candle,
    "holes": holes,
    "behind": behind,
    "compacted": compacted,
    "cost": cost,
}
"""The figures by label, in the order in which they are shown."""


def _services(names: Sequence[str]) -> str:
    return "all" if len(names) == len(SERVICES) else ", ".join(names)


def _seen(
    seen: Observation[Value], now: float, interval: float, shown: Callable[[Value], Text]
) -> Cell:
    if seen.value is None:
        return _unknown(seen.why)
    return _aged(shown(seen.value), seen.at or 0.0, now, interval, seen.problem)


def _depth(seen: Observation[Depth], cloud: str, now: float, interval: float) -> Cell:
    depth = seen.value
    if depth is None or depth.ready is None:
        return _unknown(seen.problem or (seen.why if not seen.known else why_missing(cloud, {})))
    if depth.in_flight is None:  # from the metrics, minutes late
        text, interval = Text(f"{depth.ready:,} waiting"), max(interval, METRICS["gcp"])
    else:
        text = Text(f"{depth.ready:,} ready, {depth.in_flight:,} in flight")
    return _aged(text, depth.as_of, now, interval, seen.problem)


def _unknown(why: str) -> Cell:
    return Cell(Text(f"unknown: {why}", "dim"))


def _aged(text: Text, at: float, now: float, interval: float, problem: str = "") -> Cell:
    """Return a figure of which a newer one is expected every ``interval`` seconds."""
    age = now - at
    return Cell(text, age, problem, is_old=age > interval + SLACK)


def _lag(lag: Lag, now: float) -> Text:
    part = "" if lag.part == "all" else f" {lag.part}"
    if not is_current(lag, now):
        ago = brief(max(0.0, now - lag.at))
        return Text(f"{lag.source}{part} unknown, last reported {ago} ago", "dim")
    candles = "unknown" if lag.candles_s is None else brief(lag.candles_s)
    raw = "unknown" if lag.raw_s is None else brief(lag.raw_s)
    is_old = now - lag.at > STORE + SLACK
    return Text(f"{lag.source}{part} {candles}, raw {raw}", "dim" if is_old else "")


def chart(history: Sequence[tuple[float, int | None]], width: int, height: int = 1) -> list[str]:
    """Return the last values as bars of eighths: ``height`` lines of at most ``width`` columns.

    Unknown values leave a gap. Without any known value, the chart is a message: it draws no zeros.
    """
    values = [value for _, value in history][-width:]
    known = [value for value in values if value is not None]
    if not known:
        return ["no data"[:width], *[""] * (height - 1)]
    top = max(known)
    eighths = [None if value is None else _eighths(value, top, height) for value in values]
    return [
        "".join(" " if each is None else BARS[max(0, min(8, each - 8 * row))] for each in eighths)
        for row in reversed(range(height))
    ]


def sparkline(values: Sequence[float | None], width: int, *, from_zero: bool = True) -> str:
    """Return the last values as one line of bars of eighths. Unknown values leave a gap.

    Args:
        from_zero: whether the lowest bar stands for 0. Otherwise it is the lowest value, so that
            small changes of a price are visible.
    """
    shown = values[-width:] if width > 0 else []
    known = [value for value in shown if value is not None]
    if not known:
        return ""
    low, high = 0.0 if from_zero else min(known), max(known)
    span = high - low
    return "".join(
        " " if value is None else BARS[1 + int(7 * (value - low) / span) if span else 1]
        for value in shown
    )


def _eighths(value: int, top: int, height: int) -> int:
    """Return the height of a bar. Zero is one eighth, to be visible, and other values are
    higher.
    """
    return max(2, value * 8 * height // top) if value else 1


BARS = " ▁▂▃▄▅▆▇█"
