"""Views of replicators: a live panel of one, and a list of all."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mcloud.drawing.run_status import alive, unspoken
from mcloud.durations import duration

EXAMPLES = 5  # of what a pair reports

State = Mapping[str, Any]
"""State of a replicator; see ``mcloud.replication.replicate.document``."""


def panel(state: State) -> RenderableType:
    """Draw one replicator, live."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("pair", "", "candles", "behind", "raw objects", "behind"):
        table.add_column(heading, justify="left" if heading in ("pair", "") else "right")
    for pair in state["pairs"]:
        following = pair["phase"] == "following"
        table.add_row(
            _name(pair),
            Text(pair["phase"], "green" if following else "yellow"),
            f"{pair['written']:,}",
            behind(pair["candles_s"], pair["candles"], "candles"),
            f"{pair['objects']:,}",
            behind(pair["raw_s"], pair["raw"], "hours"),
        )
    return Group(table, *_trouble(state["pairs"]))


def listing(states: Sequence[tuple[str, bool, State]], now: float | None = None) -> RenderableType:
    """Draw all replicators, each given as name, whether it runs, and its last state."""
    now = time.time() if now is None else now
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("replicator", "state", "pid", "pair", "candles", "raw trades", "copied"):
        table.add_column(heading)
    trouble: list[Text] = []
    for name, runs, state in states:
        if (why := unspoken(runs, state)) is not None:
            table.add_row(name, why)
            continue
        how = alive(runs, state, now)
        head: tuple[RenderableType, ...] = (name, how, str(state["pid"]) if runs else "")
        for pair in state["pairs"]:
            # The lag in the state of a replicator that has ended is no longer true.
            lags = (
                behind(pair["candles_s"], pair["candles"], "candles") if runs else "",
                behind(pair["raw_s"], pair["raw"], "hours") if runs else "",
            )
            copied = f"{pair['written']:,} candles, {pair['objects']:,} objects"
            table.add_row(*head, _name(pair), *lags, copied)
            head = ("", "", "")
        trouble += _trouble(state["pairs"])
    return Group(table, *trouble)


def copied(pairs: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Draw the result of a finished pass."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("pair", "candles", "raw objects", "bytes", "disagreements", "damaged"):
        table.add_column(heading, justify="left" if heading == "pair" else "right")
    for pair in pairs:
        table.add_row(
            _name(pair),
            *(f"{pair[name]:,}" for name in ("written", "objects", "bytes")),
            *(f"{len(pair[name]):,}" for name in ("disagreements", "damaged")),
        )
    return Group(table, *_trouble(pairs))


def _trouble(pairs: Sequence[Mapping[str, Any]]) -> list[Text]:
    return [line for pair in pairs for line in _trouble_of(pair)]


def _trouble_of(pair: Mapping[str, Any]) -> Iterator[Text]:
    name = _name(pair)
    if pair["error"]:
        yield Text(f"{name}: {pair['error']}", "bold red")
    if pair["trimmed"]:
        yield Text(f"{name}: was away for too long, and compared everything again", "yellow")
    for what in ("disagreements", "damaged"):
        for each in pair[what][:EXAMPLES]:
            yield Text(f"{name}: {what.removesuffix('s')}: {each}", "yellow")
        if len(pair[what]) > EXAMPLES:
            yield Text(f"{name}: … and {len(pair[what]) - EXAMPLES} more {what}", "yellow")


def _name(pair: Mapping[str, Any]) -> str:
    return f"{pair['source']} → {pair['target']}"


def behind(seconds: float | None, count: int, of: str) -> Text:
    """Return a lag, and the number of items known to wait."""
    words = "unknown" if seconds is None else duration(seconds)
    return Text(f"{words}, {count:,} {of}" if count else words, "dim" if seconds is None else "")
