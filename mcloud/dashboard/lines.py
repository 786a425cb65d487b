"""Lines of a fixed width."""

from rich.text import Text


def fit(text: Text, width: int, *, pad: bool = False) -> Text:
    """At most so wide, ending in … where something is cut off; exactly so wide with ``pad``."""
    # A copy whose style is one of its spans: what is appended to it keeps its own.
    line = Text().append_text(text)
    line.truncate(max(0, width), overflow="ellipsis", pad=pad)
    return line


def sides(left: Text, right: Text, width: int) -> Text:
    """Exactly so wide, one text on each side; the left one gives way where both are too long."""
    right = fit(right, width)
    room = width - right.cell_len - (1 if right.cell_len else 0)
    line = fit(left, room, pad=True)
    if right.cell_len:
        line.append(" ").append_text(right)
    return line
