"""A view of a plan."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mcloud.infra.plan import CREATE, DELETE, REPLACE, UPDATE, Change, StackPlan

_STYLES = {CREATE: "green", UPDATE: "yellow", REPLACE: "bold red", DELETE: "red"}
# For drift: somebody has already made these changes.
_DONE = {UPDATE: "changed", DELETE: "destroyed"}


def changes_table(site: str, plan: StackPlan) -> RenderableType:
    """Draw a row for each change, then the drift."""
    parts: list[RenderableType] = [Text(f"{site}: {sentence(plan)}", style="bold")]
    if plan.changes:
        undone = {change.address for change in plan.drift}
        table = _table()
        for change in plan.changes:
            table.add_row(
                Text(change.action, style=_STYLES[change.action]),
                Text(change.address),
                _risk(change),
                Text(_summary(change, undone)),
            )
        parts.append(table)
    if plan.drift:
        parts.append(Text("drift, which applying puts back:"))
        table = _table()
        for change in plan.drift:
            words = Text(_DONE.get(change.action, change.action), style="magenta")
            table.add_row(words, Text(change.address), Text(""), Text(change.summary))
        parts.append(table)
    return Group(*parts)


def sentence(plan: StackPlan) -> str:
    """Return a summary such as ``3 to create, 1 to change``, or ``no changes``."""
    counts = [f"{count} to {action}" for action, count in plan.counts().items() if count]
    if plan.outputs and not counts:
        counts.append(f"{len(plan.outputs)} outputs to change")
    if plan.drift:
        counts.append(f"{len(plan.drift)} drifted")
    return ", ".join(counts) or "no changes"


def _table() -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for _ in range(4):
        table.add_column(overflow="fold")  # a truncated name is useless
    return table


def _risk(change: Change) -> Text:
    if not change.holds:
        return Text("")
    return Text(f"! loses {change.holds} of {change.name}", style="bold red")


def _summary(change: Change, undone: set[str]) -> str:
    if change.address in undone:
        return f"puts back: {change.summary}" if change.summary else "puts back"
    return change.summary
