"""Views of replicators: a live panel of one, and a list of all."""

import time
from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mcloud.drawing.run_status import alive, unspoken
from mcloud.durations import duration
from mcloud.replication.progress import PairProgress, ReplicatorState
from mcloud.runs import Running

EXAMPLES = 5  # of what a pair reports


def panel(pairs: Sequence[PairProgress]) -> RenderableType:
    """Draw one replicator, live."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("pair", "", "candles", "behind", "raw objects", "behind"):
        table.add_column(heading, justify="left" if heading in ("pair", "") else "right")
    for pair in pairs:
        following = pair.phase == "following"
        table.add_row(
            _name(pair),
            Text(pair.phase, "green" if following else "yellow"),
            f"{pair.written:,}",
            behind(pair.candles_s, pair.candles, "candles"),
            f"{pair.objects:,}",
            behind(pair.raw_s, pair.raw, "hours"),
        )
    return Group(table, *_trouble(pairs))


def listing(
    replicators: Sequence[Running[ReplicatorState]], now: float | None = None
) -> RenderableType:
    """Draw all replicators."""
    now = time.time() if now is None else now
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("replicator", "state", "pid", "pair", "candles", "raw trades", "copied"):
        table.add_column(heading)
    trouble: list[Text] = []
    for each in replicators:
        state, runs = each.state, each.runs
        if state is None:
            table.add_row(each.name, unspoken(each))
            continue
        how = alive(runs, state, now)
        head: tuple[RenderableType, ...] = (each.name, how, str(state.pid) if runs else "")
        for pair in state.pairs:
            # The lag in the state of a replicator that has ended is no longer true.
            lags = (
                behind(pair.candles_s, pair.candles, "candles") if runs else "",
                behind(pair.raw_s, pair.raw, "hours") if runs else "",
            )
            copied = f"{pair.written:,} candles, {pair.objects:,} objects"
            table.add_row(*head, _name(pair), *lags, copied)
            head = ("", "", "")
        trouble += _trouble(state.pairs)
    return Group(table, *trouble)


def copied(pairs: Sequence[PairProgress]) -> RenderableType:
    """Draw the result of a finished pass."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("pair", "candles", "raw objects", "bytes", "disagreements", "damaged"):
        table.add_column(heading, justify="left" if heading == "pair" else "right")
    for pair in pairs:
        table.add_row(
            _name(pair),
            *(f"{count:,}" for count in (pair.written, pair.objects, pair.bytes)),
            *(f"{len(found):,}" for found in (pair.disagreements, pair.damaged)),
        )
    return Group(table, *_trouble(pairs))


def _trouble(pairs: Sequence[PairProgress]) -> list[Text]:
    return [line for pair in pairs for line in _trouble_of(pair)]


def _trouble_of(pair: PairProgress) -> Iterator[Text]:
    name = _name(pair)
    if pair.error:
        yield Text(f"{name}: {pair.error}", "bold red")
    if pair.trimmed:
        yield Text(f"{name}: was away for too long, and compared everything again", "yellow")
    for what, found in (("disagreements", pair.disagreements), ("damaged", pair.damaged)):
        for each in found[:EXAMPLES]:
            yield Text(f"{name}: {what.removesuffix('s')}: {each}", "yellow")
        if len(found) > EXAMPLES:
            yield Text(f"{name}: … and {len(found) - EXAMPLES} more {what}", "yellow")


def _name(pair: PairProgress) -> str:
    return f"{pair.source} → {pair.target}"


def behind(seconds: float | None, count: int, of: str) -> Text:
    """Return a lag, and the number of items known to wait."""
    words = "unknown" if seconds is None else duration(seconds)
    return Text(f"{words}, {count:,} {of}" if count else words, "dim" if seconds is None else "")
