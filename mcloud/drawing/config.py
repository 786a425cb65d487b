"""A view of the settings in effect."""

import json
from collections.abc import Mapping

from rich.table import Table
from rich.text import Text

from mcloud.config import Setting


def table(settings: Mapping[str, Setting], ignored: Mapping[str, Setting]) -> Table:
    """Draw each setting with its source.

    Args:
        ignored: variables without effect. The value is the reason.
    """
    drawn = Table(box=None, pad_edge=False)
    for heading in ("setting", "value", "from"):
        drawn.add_column(heading, overflow="fold", no_wrap=heading != "value")
    for name, each in settings.items():
        plain = each.value if isinstance(each.value, str) else json.dumps(each.value)
        drawn.add_row(*map(Text, (name, plain, each.origin)))
    for name, each in ignored.items():
        drawn.add_row(Text(name, "dim"), Text(f"no effect: {each.value}", "dim"), each.origin)
    return drawn
