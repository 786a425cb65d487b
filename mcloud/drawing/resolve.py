"""A view of contradicting contents."""

from rich.console import Group
from rich.text import Text

from mcloud.replication.resolve import Question


def contents(question: Question) -> Group:
    """Draw the contents of each site, one in a line."""
    lines = [question.subject, *(f"  {line}" for line in question.lines)]
    if not question.lines:
        lines.append("  no site has it")
    elif not question.is_open:
        lines.append("there is no conflict")
    return Group(*map(Text, lines))
