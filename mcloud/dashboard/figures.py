"""The figures of a snapshot as short texts, each with its age where it is not fresh.

Both screens are made of them: ``mcloud status`` prints them once, ``mcloud monitor`` keeps them up.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from mcloud.clouds.ports import Depth, Figure, Figures, Heartbeat, Lag
from mcloud.dashboard.collector import Seen
from mcloud.dashboard.duration import brief, duration
from mcloud.dashboard.parts import CANDLES, FAST, METRICS, PROBES, STORE
from mcloud.dashboard.recent import Recent
from mcloud.dashboard.snapshot import CostFigure, SiteSnapshot, Snapshot
from mcloud.market.trade import to_text

SLACK = 10.0  # seconds over the interval of a figure until it counts as old


@dataclass(frozen=True)
class Cell:
    """One figure of one site."""

    text: Text
    age: float | None = None
    """Seconds; None where it is fresh, or says itself how old it is."""
    problem: str = ""
    """Why it is not newer."""

    @property
    def ago(self) -> str:
        return "" if self.age is None else f"{brief(self.age)} ago"


@dataclass(frozen=True)
class Row:
    label: str
    cells: list[Cell]


def rows(snapshot: Snapshot) -> list[Row]:
    """One row a figure, one cell a site."""
    sites, now = list(snapshot.sites.values()), snapshot.at
    return [Row(label, [make(site, now) for site in sites]) for label, make in FIGURES.items()]


def services(site: SiteSnapshot, now: float) -> Cell:
    down = site.down
    if down:
        reasons = {each.reason for each in down}
        names = ", ".join(each.service for each in down)
        if len(down) == len(site.health):
            names = "all"
        said = "; ".join(f"{each.service}: {each.reason}" for each in down)
        if len(reasons) == 1:
            said = f"{names}: {reasons.pop()}"
        return Cell(Text.assemble(("down", "bold red"), f"  {said}"))
    known = [each for each in site.health.values() if each.known]
    if len(known) < len(site.health):
        return Cell(Text("asking", "dim"))
    slowest = max(each.took for each in known)
    oldest = min(each.at or 0.0 for each in known)
    text = Text.assemble(("up", "green"), (f"  {slowest * 1000:.0f} ms", "dim"))
    return Cell(text, _age(oldest, now, PROBES))


def queue(site: SiteSnapshot, now: float) -> Cell:
    return _depth(site.queue, now, FAST)


def dead_letters(site: SiteSnapshot, now: float) -> Cell:
    cell = _depth(site.dead_letters, now, STORE)
    depth = site.dead_letters.value
    if depth is not None and depth.ready:
        cell.text.stylize("yellow")
    return cell


def oldest(site: SiteSnapshot, now: float) -> Cell:
    return _figure(site, now, lambda seen: seen.oldest_age, lambda value: Text(duration(value)))


def calls(site: SiteSnapshot, now: float) -> Cell:
    return _figure(
        site,
        now,
        lambda seen: seen.calls,
        lambda value: Text(f"{value:,.0f} in {_window(site)}"),
    )


def errors(site: SiteSnapshot, now: float) -> Cell:
    return _figure(site, now, lambda seen: seen.errors, _count)


def throttles(site: SiteSnapshot, now: float) -> Cell:
    without = "Cloud Run counts none" if site.cloud == "gcp" else "no data"
    return _figure(site, now, lambda seen: seen.throttles, _count, without)


def p95(site: SiteSnapshot, now: float) -> Cell:
    return _figure(site, now, lambda seen: seen.p95, lambda value: Text(_seconds(value)))


def writes(site: SiteSnapshot, now: float) -> Cell:
    def shown(value: float) -> Text:
        text = Text(f"{value:,.0f} in {_window(site)}")
        seen = site.figures.value
        if seen is not None and seen.write_throttles.value:
            text.append(f", {seen.write_throttles.value:,.0f} throttled", "yellow")
        return text

    return _figure(site, now, lambda seen: seen.writes, shown)


def processed(site: SiteSnapshot, now: float) -> Cell:
    def shown(beats: list[Heartbeat]) -> Text:
        if not beats:
            return Text("no trades yet", "dim")
        trades = sum(beat.trades for beat in beats)
        newest = max(beat.at for beat in beats)
        return Text(f"{trades:,} trades, last {brief(max(0.0, now - newest))} ago")

    return _seen(site.heartbeats, now, STORE, shown)


def candle(site: SiteSnapshot, now: float) -> Cell:
    def shown(_: list[Recent]) -> Text:
        last = site.last.last if site.last else None
        if last is None:
            return Text("none yet", "dim")
        return Text(f"{last.symbol} {last.timestamp[11:16]} {to_text(last.close)}")

    return _seen(site.recent, now, CANDLES, shown)


def holes(site: SiteSnapshot, now: float) -> Cell:
    def shown(recent: list[Recent]) -> Text:
        lacking = [each for each in recent if each.missing]
        if not lacking:
            return Text("none" if recent else "no candles", "" if recent else "dim")
        named = ", ".join(f"{each.symbol} {each.missing:,}" for each in lacking)
        return Text(f"{named} missing", "yellow")

    return _seen(site.recent, now, CANDLES, shown)


def behind(site: SiteSnapshot, now: float) -> Cell:
    def shown(lags: list[Lag]) -> Text:
        if not lags:
            return Text("no replicator", "dim")
        return Text(", ").join(_lag(lag, now) for lag in lags)

    return _seen(site.lags, now, STORE, shown)


def cost(site: SiteSnapshot, now: float) -> Cell:
    def shown(figure: CostFigure) -> Text:
        text = Text(f"${figure.month_to_date:,.2f} this month")
        if figure.per_hour is not None:
            text.append(f", ${figure.per_hour:,.4f}/h")
        return text

    if site.cost.value is None:
        return _unknown(site.cost.problem or "not counted yet")
    cell = _seen(site.cost, now, METRICS["aws"], shown)
    return Cell(cell.text, _age(site.cost.value.as_of, now, 3600.0), cell.problem)


FIGURES: Mapping[str, Callable[[SiteSnapshot, float], Cell]] = {
    "services": services,
    "queue": queue,
    "oldest": oldest,
    "dead letters": dead_letters,
    "calls": calls,
    "errors": errors,
    "throttles": throttles,
    "p95": p95,
    "writes": writes,
    "processed": processed,
    "last candle": candle,
    "holes": holes,
    "behind": behind,
    "cost": cost,
}
"""By label, in the order in which they are shown."""


def _seen(seen: Seen[Any], now: float, interval: float, shown: Callable[[Any], Text]) -> Cell:
    if not seen.known:
        return _unknown(seen.why)
    return Cell(shown(seen.value), _age(seen.at or 0.0, now, interval), seen.problem)


def _depth(seen: Seen[Depth], now: float, interval: float) -> Cell:
    depth = seen.value
    if depth is None or depth.ready is None:
        return _unknown(seen.problem or (seen.why if not seen.known else "no data"))
    if depth.in_flight is None:
        text = Text(f"{depth.ready:,} waiting")
    else:
        text = Text(f"{depth.ready:,} ready, {depth.in_flight:,} in flight")
    return Cell(text, _age(depth.as_of, now, interval), seen.problem)


def _figure(
    site: SiteSnapshot,
    now: float,
    which: Callable[[Figures], Figure],
    shown: Callable[[float], Text],
    without: str = "no data",
) -> Cell:
    figures = site.figures
    if figures.value is None:
        return _unknown(figures.why)
    figure = which(figures.value)
    if figure.value is None:
        return _unknown(figures.problem or without)
    return Cell(shown(figure.value), _age(figure.as_of, now, 20.0), figures.problem)


def _unknown(why: str) -> Cell:
    return Cell(Text(f"unknown: {why}", "dim"))


def _age(at: float, now: float, interval: float) -> float | None:
    """Seconds, where they are more than the interval of the figure explains."""
    return now - at if now - at > interval + SLACK else None


def _count(value: float) -> Text:
    return Text(f"{value:,.0f}", "yellow" if value else "")


def _window(site: SiteSnapshot) -> str:
    window = site.figures.value.window if site.figures.value else 0.0
    return f"{window / 60:.0f} min"


def _seconds(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 10 else duration(value)


def _lag(lag: Lag, now: float) -> Text:
    part = "" if lag.part == "all" else f" {lag.part}"
    candles = "unknown" if lag.candles_s is None else brief(lag.candles_s)
    raw = "unknown" if lag.raw_s is None else brief(lag.raw_s)
    old = now - lag.at > STORE + SLACK
    said = f" ({brief(now - lag.at)} ago)" if old else ""
    return Text(f"{lag.source}{part} {candles}, raw {raw}{said}", "dim" if old else "")


def spark(history: Sequence[tuple[float, int | None]], width: int) -> str:
    """The last values as bars of eighths; what is unknown leaves a gap, and nothing says so."""
    values = [value for _, value in history][-width:]
    known = [value for value in values if value is not None]
    if not known:
        return "no data"[:width]
    top = max(known)
    return "".join(" " if value is None else _bar(value, top) for value in values)


def _bar(value: int, top: int) -> str:
    """Anything above zero is higher than zero."""
    bars = "▁▂▃▄▅▆▇█"
    return bars[0 if not value else max(1, value * 7 // top)]
