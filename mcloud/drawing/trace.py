"""A view of a trade's path: its places and times."""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mcloud.durations import duration
from mcloud.trace.find import TraceReport
from mcloud.trace.timeline import StageReport

SKEW = (
    "A stage is earlier than the one before it, because the clocks of two machines differ;"
    " `mcloud doctor` checks the clock of this one."
)


def view(traced: TraceReport) -> RenderableType:
    """Draw the trade, then a timeline per site."""
    parts: list[RenderableType] = list(map(Text, _about(traced)))
    for name, site in traced.sites.items():
        parts += [Text(), Text(name, "bold"), _timeline(site.stages)]
        places = (("candle", site.candle), ("object", site.object))
        parts += [Text(f"{what:<10} {place}", "dim") for what, place in places if place]
    if traced.is_skewed:
        parts += [Text(), Text(SKEW, "yellow")]
    return Group(*parts)


def _about(traced: TraceReport) -> Iterator[str]:
    head = f"{traced.symbol} {traced.id}"
    trade = traced.trade
    yield f"{head}: {trade.quantity} at {trade.price}" if trade else head
    for message in traced.messages:
        size = "" if message.trades is None else f", {message.trades:,} trades"
        ids = f"{message.first_id} to {message.last_id}"
        yield f"in the message {ids}{size} of producer {message.producer}"
    trace = traced.trace
    if trace:
        xray = f"sampled; X-Ray calls it {trace.xray_trace_id}"
        yield f"trace {trace.trace_id}, {xray if trace.sampled else 'not sampled'}"


def _timeline(stages: Sequence[StageReport]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("stage")
    table.add_column("time (UTC)", no_wrap=True)
    table.add_column("after", justify="right", no_wrap=True)
    table.add_column("from")
    for stage in stages:
        if stage.time is None:
            table.add_row(stage.stage, "unknown", "", stage.unknown, style="dim")
        else:
            time = stage.time.replace("T", " ").rstrip("Z")
            table.add_row(stage.stage, time, after(stage.after_ms), stage.source)
    return table


def after(ms: int | None) -> str:
    """Return the time since the stage before: ``+812 ms``, ``-3 ms``, ``+5 min 07 s``."""
    if ms is None:
        return ""
    if abs(ms) < 10_000:
        return f"{ms:+,} ms"
    return f"{'+' if ms > 0 else ''}{duration(ms / 1000)}"
