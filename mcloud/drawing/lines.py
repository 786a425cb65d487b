"""Lines of a fixed width."""

from rich.text import Text


def fit(text: Text, width: int, *, pad: bool = False) -> Text:
    """Return a line of at most ``width`` columns, cut off with an ellipsis. ``pad`` makes it
    exactly that wide.
    """
    # Copy the text with its style as a span, so that appended text keeps its own style.
    line = Text().append_text(text)
    line.truncate(max(0, width), overflow="ellipsis", pad=pad)
    return line


def sides(left: Text, right: Text, width: int) -> Text:
    """Return a line of exactly ``width`` columns with a text on each side. The left text is cut if
    both are too long.
    """
    right = fit(right, width)
    room = width - right.cell_len - (1 if right.cell_len else 0)
    line = fit(left, room, pad=True)
    if right.cell_len:
        line.append(" ").append_text(right)
    return line
