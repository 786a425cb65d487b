"""Views of failovers and guards."""

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mcloud.drawing.doctor import MARKS
from mcloud.drawing.lines import aligned
from mcloud.drawing.run_status import alive, unspoken
from mcloud.durations import duration
from mcloud.failover.decide import NOTHING, Debt
from mcloud.failover.execution import MoveReport
from mcloud.failover.history import Kept
from mcloud.failover.moves import LoggedMove
from mcloud.failover.preflight import Preflight
from mcloud.failover.statement import GuardState, ServiceStatement, SiteStatement
from mcloud.runs import Running

COLOURS = {"up": "green", "down": "bold red", "unknown": "yellow"}


def listing(guards: Sequence[Running[GuardState]], now: float | None = None) -> RenderableType:
    """Draw all guards."""
    now = time.time() if now is None else now
    table = _table("guard", "state", "pid", "primary", "sites", "last decision")
    for guard in guards:
        state = guard.state
        if state is None:
            table.add_row(guard.name, unspoken(guard))
            continue
        how = alive(guard.runs, state, now)
        if guard.runs and state.paused:
            how = Text("paused", "yellow")
        table.add_row(
            guard.name,
            how,
            str(state.pid) if guard.runs else "",
            leader(state),
            _verdicts(state.sites) if guard.runs else "",
            Text(_decision(state.decision)),
        )
    return table


def panel(state: GuardState) -> RenderableType:
    """Draw one guard, live."""
    table = _table("site", "", "queue", "function", "candles", "archive", "canary", "backlog")
    for name, site in state.sites.items():
        leads = " (primary)" if name == state.primary else ""
        services = [_service(site.services.get(service)) for service in _SERVICES]
        table.add_row(
            f"{name}{leads}",
            Text(site.verdict or "unknown", COLOURS.get(site.verdict or "", "yellow")),
            *services,
            "" if site.canary_s is None else f"{site.canary_s:.1f} s",
            "unknown" if site.backlog is None else f"{site.backlog:,}",
        )
    decision = state.decision
    parts: list[RenderableType] = [table, Text(f"{leader(state)}; {_decision(decision)}")]
    parts += [Text(f"  {line}", "dim") for line in (decision.lines if decision else ())]
    if state.problem:
        parts.append(Text(state.problem, "red"))
    return Group(*parts)


def explanation(state: GuardState, last: int) -> RenderableType:
    """Draw the last decision with its grounds, and the decisions before it."""
    if not state.history:
        return Text("no decision yet", "dim")
    newest = state.history[-1]
    parts: list[RenderableType] = [
        Text(f"{leader(state)}"),
        Text(f"{_moment(newest.until)}  {_decision(newest)}", "bold"),
        *(Text(f"  {line}") for line in newest.lines),
    ]
    before = state.history[-1 - last : -1][::-1]
    if before:
        table = _table("from", "to", "looks", "decision")
        for each in before:
            row = (_moment(each.at), _moment(each.until), f"{each.times:,}")
            table.add_row(*row, Text(_decision(each)))
        parts += ["", Text("before that", "dim"), table]
    cost = state.cost
    if cost.usd is not None:
        words = f"checking has cost ${cost.usd:.5f} in {cost.hours:.2f} h"
        parts += ["", Text(f"{words} ({cost.basis}; an estimate from counted calls)", "dim")]
    return Group(*parts)


def leader(state: GuardState) -> str:
    if state.primary is None:
        return "no control record yet: the first site is the primary"
    return f"{state.primary} is the primary in epoch {state.epoch}"


def preflight(found: Preflight) -> RenderableType:
    """Draw the checks before a move, and its expected effects."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for each in found.checks:
        table.add_row(Text(*MARKS[each.state]), each.check, Text(each.text))
    behind = found.estimate.messages_behind
    target, primary = found.target, found.primary
    lines = [f"{target} is already the primary, in epoch {found.epoch}"]
    if target != primary:
        held = "an unknown number of" if behind is None else f"{behind:,}"
        lines = [
            f"{target} becomes the primary in epoch {found.epoch + 1}, in place of {primary}",
            f"producers follow within about {found.estimate.seconds:.0f} s (an estimate), and"
            " spool new trades until then",
            f"{held} messages are still on their way through {primary}; nothing is deleted there,"
            " and what only it has is copied afterwards",
        ]
    away = [
        Text(
            f"{name} does not answer, and gets the control record when it is back: {why}", "yellow"
        )
        for name, why in found.away.items()
    ]
    return Group(table, "", *map(Text, lines), *away)


def consequences(debt: Debt, sites: Sequence[str]) -> list[str]:
    """Return what it means to forget the catch-up of a site that no longer exists."""
    site, since = debt.site, datetime.fromtimestamp(debt.since, UTC)
    return [
        f"{site} was replaced as primary in epoch {debt.epoch}, and has not been proven equal to"
        f" the other sites since {since:%Y-%m-%d %H:%M} UTC.",
        f"Trades that only {site} received since then, and that were not copied, stay with it:"
        " nothing is copied from it any more, and nothing is deleted there. What still exists of"
        " its queue, candles and raw trades costs money until it is removed in its cloud.",
        f"`mcloud verify` names trade ids that are missing from {', '.join(sites)}, and"
        " `mcloud verify --repair` fetches them from the exchange as far as it still has them.",
    ]


def outcome(move: MoveReport) -> RenderableType:
    """Draw the result of a move."""
    return Group(*_outcome(move))


def _outcome(move: MoveReport) -> Iterator[Text]:
    if not move.moved:
        yield Text(
            f"{move.primary} is the primary in epoch {move.epoch}, by {move.by}: another failover"
            " was first",
            "yellow",
        )
        return
    yield Text(f"{move.primary} is the primary in epoch {move.epoch}", "green")
    if move.arrived_s is None or move.rto_s is None:
        yield Text(move.problem, "red")
    else:
        words = f"a trade was stored there after {move.arrived_s:.1f} s (RTO {move.rto_s:.1f} s)"
        yield Text(words)
    for name, seconds in move.producers.items():
        follows = "has not followed yet" if seconds is None else f"follows after {seconds:.1f} s"
        yield Text(f"producer {name} {follows}", "yellow" if seconds is None else "")
    for site, why in move.owed.items():
        yield Text(f"a catch-up of {site} is due: {why}", "yellow")
    for each in move.caught_up:
        words = f"{each.site}: {each.candles:,} candles and {each.objects:,} raw objects"
        yield Text(f"{words} were copied; {'verified equal' if each.ok else each.reason}")
    missing = move.rpo_ids_missing
    if missing is None:
        yield Text("ids missing (RPO): unknown until every site has caught up", "dim")
    else:
        yield Text(f"ids missing (RPO): {missing:,}", "green" if not missing else "bold red")


def moves(found: Sequence[LoggedMove]) -> RenderableType:
    """Draw one line a move, or another change. A reason that does not fit is cut."""
    rows: list[Sequence[Text | str]] = [("when", "move", "leaderless", "who", "why")]
    rows += [
        (_moment(each.first.at), _way(each), _gap(each), each.author, each.first.why)
        for each in found
    ]
    head, *lines = aligned(rows, right=(2,))
    head.stylize("bold")
    return Group(head, *lines)


def steps(found: Sequence[LoggedMove]) -> RenderableType:
    """Draw every move with its whole reason, and the time of each of its steps."""
    parts: list[RenderableType] = []
    for each in found:
        head = Text.assemble((f"{_moment(each.first.at)}  ", "bold"), _way(each))
        gap = _gap(each)
        if gap:
            head.append(" · ").append_text(gap).append("" if each.problem else " leaderless")
        parts += [head, Text(f"  {each.first.by}: {each.first.why}".rstrip(": "))]
        if each.is_move:
            begun = each.first.at
            table = _table(*[""] * 3)
            table.show_header = False
            for entry in each.entries:
                record = entry.record
                epoch = f"epoch {record.epoch}, primary {record.primary}" if record else ""
                table.add_row(f"  +{entry.at - begun:.2f} s", entry.step, epoch)
            parts.append(table)
        parts.append("")
    return Group(*parts[:-1])


def _way(move: LoggedMove) -> Text:
    if not move.is_move:
        return Text(move.first.step, "dim")
    return Text.assemble(move.source or "unknown", " → ", (move.target or "unknown", "bold"))


def _gap(move: LoggedMove) -> Text:
    if not move.is_move:
        return Text()
    if move.problem:
        return Text(move.problem, "yellow")
    return Text("unknown" if move.gap_s is None else duration(move.gap_s))


_SERVICES = ("queue", "function", "candles", "archive")


def _service(seen: ServiceStatement | None) -> Text:
    if seen is None:
        return Text("not yet", "dim")
    if seen.state == "up" and seen.latency_s is not None:
        return Text(f"{seen.latency_s * 1000:.0f} ms", "green")
    return Text(seen.state, COLOURS[seen.state])


def _verdicts(sites: Mapping[str, SiteStatement]) -> Text:
    text = Text()
    for name, site in sites.items():
        verdict = site.verdict or "unknown"
        text.append(f"{' ' if text else ''}{name} ").append(verdict, COLOURS.get(verdict, ""))
    return text


def _decision(decision: Kept | None) -> str:
    if decision is None:
        return "no decision yet"
    action = "no action" if decision.action == NOTHING else decision.action
    return f"{f'{action} {decision.site}'.strip()}: {decision.reason}"


def _moment(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%SZ}"


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading)
    return table
