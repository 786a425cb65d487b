"""Views of alerts."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mcloud.alerts.report import AlertReport, FigureReport, RuleReport
from mcloud.alerts.watch import WatcherState
from mcloud.drawing.lines import INDENT, verdict_line
from mcloud.drawing.run_status import alive, unspoken
from mcloud.durations import brief, utc
from mcloud.notify.check import ChannelAnswer
from mcloud.notify.event import RESOLVED, Event
from mcloud.notify.payload import headline
from mcloud.notify.silences import ListedSilence, Silence
from mcloud.runs import Running

SHOWN = 5  # failures of channels
STALE = 30.0  # seconds; an older figure shows its age
LIMIT = 22  # columns
SINGLE = 3  # figures that are in order and have a line each

_STYLES = {
    "firing": "bold red",
    "silenced": "yellow",
    "pending": "yellow",
    "unknown": "yellow",
    "ok": "green",
}


def summary(found: AlertReport, advice: Callable[[str], str] = str) -> RenderableType:
    """Draw the alerts that fire, each with its remedy, then those that may fire next or that nobody
    knows, and the number of the others.

    ``advice`` returns the text of a remedy as it is shown, such as with the profile.
    """
    firing: list[tuple[RuleReport, FigureReport]] = []
    silenced: list[tuple[RuleReport, FigureReport]] = []
    pending: list[tuple[RuleReport, FigureReport]] = []
    unknown: dict[str, list[str]] = {}
    fine = 0
    for rule in found.rules:
        if rule.enabled and rule.why and not rule.why.startswith("nothing"):
            unknown.setdefault(rule.why.removeprefix("unknown: "), []).append(rule.name)
        for figure in rule.figures:
            if figure.state == "firing":
                (silenced if figure.silenced else firing).append((rule, figure))
            elif figure.state == "pending":
                pending.append((rule, figure))
            elif figure.state == "unknown":
                about = " ".join((rule.name, *figure.names))
                unknown.setdefault(figure.unknown, []).append(about)
            else:
                fine += 1
    facts = [
        f"{count:,} {words}"
        for count, words in (
            (len(firing), f"alert{'s' * (len(firing) != 1)} firing"),
            (len(silenced), "silenced"),
            (len(pending), "pending"),
            (sum(map(len, unknown.values())), "unknown"),
            (fine, "in order"),
        )
        if count
    ]
    facts[:0] = [] if firing else ["no alert fires"]
    is_blind = bool(unknown) and not fine
    word = "FAULT" if firing else "WARN" if pending or is_blind else "OK"
    lines: list[RenderableType] = [verdict_line(word, facts)]
    for rule, figure in firing:
        lines.append(_deviation(rule, figure, "bold red"))
        lines += _indented(figure.why, "", INDENT + 2)
        lines += _indented(f"→ {advice(figure.advice)}", "cyan", INDENT + 2)
    lines += [_deviation(rule, figure, "yellow") for rule, figure in (*pending, *silenced)]
    for why, of in unknown.items():
        lines += _indented(f"{', '.join(of)}: unknown, {why}", "yellow", INDENT)
    for silence in found.silences:
        lines += _indented(advice(_silence(silence)), "yellow", INDENT)
    idle = sum(rule.enabled and rule.why.startswith("nothing") for rule in found.rules)
    off = sum(not rule.enabled for rule in found.rules)
    rest = [
        f"{count} rule{'s' * (count > 1)} {words}"
        for count, words in ((idle, "without a figure here"), (off, "disabled"))
        if count
    ]
    return Group(*lines, *_indented(", ".join(rest), "dim", INDENT))


def everything(found: AlertReport) -> RenderableType:
    """Draw every rule with its figures. Many figures that are in order share one line."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("rule", "of", "state", "value", "limit", "since"):
        table.add_column(heading, no_wrap=heading != "value")
    notes: list[Text] = []
    unknown: dict[str, list[str]] = {}
    for rule in found.rules:
        if rule.origin != "built in":
            notes.append(Text(f"{rule.name}: set in {rule.origin}", style="dim"))
        state = "off" if not rule.enabled else "unknown" if rule.why else ""
        if rule.why.startswith("nothing"):
            state = "none"
        elif rule.why:
            unknown.setdefault(rule.why.removeprefix("unknown: "), []).append(rule.name)
        if state:
            style = _STYLES.get(state, "dim")
            table.add_row(rule.name, "", Text(state, style), "", _limit(rule.limit))
            continue
        for of, figure in _lines(rule):
            is_silenced = figure.state == "firing" and figure.silenced is not None
            how = "silenced" if is_silenced else figure.state
            table.add_row(
                rule.name,
                of,
                Text(how, style=_STYLES[how]),
                _value(figure),
                _limit(rule.limit),
                "" if figure.for_s is None else brief(figure.for_s),
            )
            about = f"{rule.name} {of}".rstrip()
            if figure.unknown:
                unknown.setdefault(figure.unknown, []).append(about)
            if figure.why and figure.state == "firing":
                notes.append(Text(f"{about}: {figure.why}"))
    for silence in found.silences:
        notes.append(Text(_silence(silence), "yellow"))
    # Many figures may share one reason, such as a site that does not answer.
    notes += [Text(f"{', '.join(of)}: unknown, {why}") for why, of in unknown.items()]
    return Group(table, Text(), *notes) if notes else table


def _deviation(rule: RuleReport, figure: FigureReport, style: str) -> RenderableType:
    """Return the line of a figure that is not in order."""
    state = "silenced" if figure.silenced and figure.state == "firing" else figure.state
    line = Text.assemble((" ".join((rule.name, *figure.names)), style))
    if state != "firing":
        line.append(f" {state}", style)
    line.append(f": {_value(figure)}")
    if figure.for_s is not None:
        line.append(f" for {brief(figure.for_s)}")
    return Padding.indent(line.append(f" (limit: {rule.limit})", "dim"), INDENT)


def _indented(text: str, style: str, columns: int) -> list[RenderableType]:
    return [Padding.indent(Text(text, style), columns)] if text else []


def _silence(silence: ListedSilence) -> str:
    until = f"silence {silence.id}: {target(silence)}, until {utc(silence.end)}"
    return f"{until}, by {silence.by}: {silence.why}"


def _lines(rule: RuleReport) -> Iterator[tuple[str, FigureReport]]:
    """Yield the label and the figure of each line. If many are in order, only the worst of them has
    a line.
    """
    fine = [each for each in rule.figures if each.state == "ok"]
    much = len(fine) > SINGLE
    for each in rule.figures:
        if not (much and each.state == "ok"):
            yield " ".join(each.names), each
    if much:
        pick = min if rule.limit.startswith("below") else max
        worst = pick(fine, key=lambda each: each.value or 0.0)
        oldest = max(each.age_s or 0.0 for each in fine)
        all_ = "all" if len(fine) == len(rule.figures) else "other"
        yield f"{all_} {len(fine)}", replace(worst, age_s=oldest)


def watchers(runs: Sequence[Running[WatcherState]], now: float | None = None) -> Group:
    """Draw all watchers."""
    now = time.time() if now is None else now
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("watcher", "state", "pid", "every", "fires", "unknown", "channels"):
        table.add_column(heading)
    trouble: list[Text] = []
    for watcher in runs:
        state = watcher.state
        if state is None:
            table.add_row(watcher.name, unspoken(watcher))
            continue
        fires = ", ".join(
            each.key + (" (silenced)" if each.silenced else "") for each in state.firing
        )
        table.add_row(
            watcher.name,
            alive(watcher.runs, state, now),
            str(state.pid) if watcher.runs else "",
            f"{state.interval:g} s",
            Text(fires or "nothing", "bold red" if fires else ""),
            str(state.unknown),
            ", ".join(state.channels) or "none",
        )
        trouble += [
            Text(f"{watcher.name}: not sent: {each}", "yellow") for each in state.failures[-SHOWN:]
        ]
    return Group(table, *trouble)


def silences(found: Sequence[ListedSilence]) -> RenderableType:
    """Draw every silence that is active or planned."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("id", "state", "silences", "from", "until", "by", "why"):
        table.add_column(heading, no_wrap=heading in ("id", "state"))
    for each in found:
        style = "yellow" if each.state == "active" else ""
        table.add_row(
            *(each.id, Text(each.state, style), target(each)),
            *(utc(each.begin), utc(each.end), each.by, Text(each.why)),
        )
    return table


def target(silence: Silence) -> str:
    """Return a silence's target, such as ``rule dead-letters of aws``."""
    return f"{silence.what} {silence.name}" + (f" of {silence.of}" if silence.of else "")


def news(event: Event) -> Text:
    """Draw an event of a watcher."""
    style = "green" if event.state == RESOLVED else "bold red"
    return Text.assemble((headline(event), style), f"\n{event.text}" if event.text else "")


def answers(found: Sequence[ChannelAnswer]) -> RenderableType:
    """Draw the answers of the channels to a test."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("channel", "type", "", "seconds", "answer"):
        table.add_column(heading, justify="right" if heading == "seconds" else "left")
    for each in found:
        how = Text("ok", "green") if each.ok else Text("failed", "bold red")
        seconds = "" if each.seconds is None else f"{each.seconds:.2f}"
        table.add_row(each.name, each.type, how, seconds, Text(each.answer))
    return table


def _limit(text: str) -> str:
    """Break a limit into two lines if one would be too long for a screen of 80 columns."""
    return text.replace(" for ", "\nfor ") if len(text) > LIMIT else text


def _value(figure: FigureReport) -> str:
    if figure.value is None:
        return ""
    is_old = figure.age_s is not None and figure.age_s > STALE
    return f"{figure.text} ({brief(figure.age_s or 0.0)} ago)" if is_old else figure.text
