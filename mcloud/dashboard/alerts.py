"""Alerts as something to look at."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mcloud.dashboard.duration import duration

SHOWN = 5  # failures of channels

Document = Mapping[str, Any]
"""What ``mcloud alerts list -o json`` prints; see ``mcloud.alerts.report``."""

_STYLES = {"firing": "bold red", "pending": "yellow", "unknown": "yellow", "ok": "green"}


def report(document: Document) -> RenderableType:
    """Every rule, and every figure that it looks at."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("rule", "of", "state", "value", "age", "limit", "severity", "from"):
        table.add_column(heading, justify="right" if heading in ("value", "age") else "left")
    for rule in document["rules"]:
        about = (rule["limit"], rule["severity"], rule["origin"])
        if not rule["figures"]:
            state = Text(rule["why"] or "off", style="dim")
            table.add_row(rule["name"], "", state, "", "", *about)
        for each in rule["figures"]:
            table.add_row(
                rule["name"],
                " ".join(each["names"]),
                _state(each),
                "" if each["value"] is None else f"{each['value']:,.6g}",
                _age(each["age_s"]),
                *about,
            )
    return table


def watchers(states: Sequence[tuple[str, bool, Document]], now: float | None = None) -> Group:
    """All watchers: (name, does it run, what it last said)."""
    now = time.time() if now is None else now
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("watcher", "state", "pid", "every", "fires", "unknown", "channels"):
        table.add_column(heading)
    trouble: list[Text] = []
    for name, runs, state in states:
        if not state:
            table.add_row(name, "starting" if runs else "never ran")
            continue
        how = (
            Text("running", "green")
            if runs
            else Text(f"ended {duration(now - state['at'])} ago", "dim")
        )
        fires = ", ".join(each["key"] for each in state["firing"])
        table.add_row(
            name,
            how,
            str(state["pid"]) if runs else "",
            f"{state['interval']:g} s",
            Text(fires or "nothing", "bold red" if fires else ""),
            str(state["unknown"]),
            ", ".join(state["channels"]) or "none",
        )
        trouble += [
            Text(f"{name}: not sent: {each}", "yellow") for each in state["failures"][-SHOWN:]
        ]
    return Group(table, *trouble)


def answers(document: Sequence[Document]) -> RenderableType:
    """What the channels said to a test."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("channel", "type", "", "seconds", "answer"):
        table.add_column(heading, justify="right" if heading == "seconds" else "left")
    for each in document:
        how = Text("ok", "green") if each["ok"] else Text("failed", "bold red")
        seconds = "" if each["seconds"] is None else f"{each['seconds']:.2f}"
        table.add_row(each["name"], each["type"], how, seconds, Text(each["answer"]))
    return table


def _state(figure: Document) -> Text:
    words = figure["state"]
    if figure["unknown"]:
        words = f"{words}: {figure['unknown']}" if words == "unknown" else f"{words} (unknown)"
    elif figure["why"]:
        words += f": {figure['why']}"
    return Text(words, style=_STYLES[figure["state"]])


def _age(seconds: float | None) -> str:
    return "" if seconds is None else duration(max(0.0, seconds))
