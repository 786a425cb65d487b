"""Views of alerts."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mcloud.drawing.run_status import alive, unspoken
from mcloud.durations import brief, utc

SHOWN = 5  # failures of channels
STALE = 30.0  # seconds; an older figure shows its age
LIMIT = 22  # columns
SINGLE = 3  # figures that are in order and have a line each

Document = Mapping[str, Any]
"""Output of ``mcloud alerts list -o json``; see ``mcloud.alerts.report``."""

_STYLES = {
    "firing": "bold red",
    "silenced": "yellow",
    "pending": "yellow",
    "unknown": "yellow",
    "ok": "green",
}


def report(document: Document) -> RenderableType:
    """Draw every rule with its figures. Many figures that are in order share one line."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("rule", "of", "state", "value", "limit", "since"):
        table.add_column(heading, no_wrap=heading != "value")
    notes: list[Text] = []
    unknown: dict[str, list[str]] = {}
    for rule in document["rules"]:
        if rule["origin"] != "built in":
            notes.append(Text(f"{rule['name']}: set in {rule['origin']}", style="dim"))
        state = "off" if not rule["enabled"] else "unknown" if rule["why"] else ""
        if rule["why"].startswith("nothing"):
            state = "none"
        elif rule["why"]:
            unknown.setdefault(rule["why"].removeprefix("unknown: "), []).append(rule["name"])
        if state:
            style = _STYLES.get(state, "dim")
            table.add_row(rule["name"], "", Text(state, style), "", _limit(rule["limit"]))
            continue
        for of, figure in _lines(rule):
            how = (
                "silenced"
                if figure["state"] == "firing" and figure["silenced"]
                else figure["state"]
            )
            table.add_row(
                rule["name"],
                of,
                Text(how, style=_STYLES[how]),
                _value(figure),
                _limit(rule["limit"]),
                "" if figure["for_s"] is None else brief(figure["for_s"]),
            )
            about = f"{rule['name']} {of}".rstrip()
            if figure["unknown"]:
                unknown.setdefault(figure["unknown"], []).append(about)
            if figure["why"] and figure["state"] == "firing":
                notes.append(Text(f"{about}: {figure['why']}"))
    for silence in document["silences"]:
        said = f"silence {silence['id']}: {target(silence)}, until {utc(silence['end'])}"
        notes.append(Text(f"{said}, by {silence['by']}: {silence['why']}", "yellow"))
    # Many figures may share one reason, such as a site that does not answer.
    notes += [Text(f"{', '.join(of)}: unknown, {why}") for why, of in unknown.items()]
    return Group(table, Text(), *notes) if notes else table


def _lines(rule: Document) -> Iterator[tuple[str, Document]]:
    """Yield the label and the figure of each line. If many are in order, only the worst of them has
    a line.
    """
    fine = [each for each in rule["figures"] if each["state"] == "ok"]
    much = len(fine) > SINGLE
    for each in rule["figures"]:
        if not (much and each["state"] == "ok"):
            yield " ".join(each["names"]), each
    if much:
        pick = min if rule["limit"].startswith("below") else max
        age = max(each["age_s"] for each in fine)
        worst = pick(each["value"] for each in fine)
        all_ = "all" if len(fine) == len(rule["figures"]) else "other"
        of_it = next(each for each in fine if each["value"] == worst)
        yield f"{all_} {len(fine)}", {**of_it, "age_s": age}


def watchers(states: Sequence[tuple[str, bool, Document]], now: float | None = None) -> Group:
    """Draw all watchers, each given as name, whether it runs, and its last state."""
    now = time.time() if now is None else now
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("watcher", "state", "pid", "every", "fires", "unknown", "channels"):
        table.add_column(heading)
    trouble: list[Text] = []
    for name, runs, state in states:
        if (why := unspoken(runs, state)) is not None:
            table.add_row(name, why)
            continue
        how = alive(runs, state, now)
        fires = ", ".join(
            each["key"] + (" (silenced)" if each.get("silenced") else "")
            for each in state["firing"]
        )
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


def silences(document: Sequence[Document]) -> RenderableType:
    """Draw every silence that is active or planned."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("id", "state", "silences", "from", "until", "by", "why"):
        table.add_column(heading, no_wrap=heading in ("id", "state"))
    for each in document:
        style = "yellow" if each["state"] == "active" else ""
        table.add_row(
            *(each["id"], Text(each["state"], style), target(each)),
            *(utc(each["begin"]), utc(each["end"]), each["by"], Text(each["why"])),
        )
    return table


def target(silence: Document) -> str:
    """Return a silence's target, such as ``rule dead-letters of aws``."""
    return f"{silence['what']} {silence['name']}" + (
        f" of {silence['of']}" if silence["of"] else ""
    )


def answers(document: Sequence[Document]) -> RenderableType:
    """Draw the answers of the channels to a test."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("channel", "type", "", "seconds", "answer"):
        table.add_column(heading, justify="right" if heading == "seconds" else "left")
    for each in document:
        how = Text("ok", "green") if each["ok"] else Text("failed", "bold red")
        seconds = "" if each["seconds"] is None else f"{each['seconds']:.2f}"
        table.add_row(each["name"], each["type"], how, seconds, Text(each["answer"]))
    return table


def _limit(text: str) -> str:
    """Break a limit into two lines if one would be too long for a screen of 80 columns."""
    return text.replace(" for ", "\nfor ") if len(text) > LIMIT else text


def _value(figure: Document) -> str:
    if figure["value"] is None:
        return ""
    age = f" ({brief(figure['age_s'])} ago)" if figure["age_s"] > STALE else ""
    return f"{figure['text']}{age}"
