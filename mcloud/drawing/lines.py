"""Lines of a fixed width."""

from collections.abc import Sequence

from rich.text import Text

INDENT = 7  # columns, so that lines stand below the facts of a verdict

EIGHTHS = " ▏▎▍▌▋▊▉"

_VERDICTS = {"OK": "bold green", "WARN": "bold yellow"}


def verdict_line(word: str, facts: Sequence[str]) -> Text:
    """Return a line such as ``OK     aws and gcp up``."""
    line = Text(word, _VERDICTS.get(word, "bold red")).append(" " * (INDENT - len(word)), "")
    return Text().append_text(line).append(" · ".join(facts), "bold")


def bar(share: float, width: int) -> str:
    """Return a bar in eighths of a column, for a share of the width from 0 to 1. A share above 0 is
    always visible.
    """
    eighths = int(share * width * 8)
    if share > 0:
        eighths = max(1, eighths)
    full, rest = divmod(eighths, 8)
    return "█" * full + (EIGHTHS[rest] if rest else "")


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


def aligned(rows: Sequence[Sequence[Text | str]], right: Sequence[int] = ()) -> list[Text]:
    """Return a line for each row, whose columns stand two columns apart.

    Only the last column is cut if a line is too long for a terminal. ``right`` are the numbers of
    the columns that are aligned to the right.
    """
    cells = [[Text.assemble(each) for each in row] for row in rows]
    widths = [max(cell.cell_len for cell in column) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        line = Text(no_wrap=True, overflow="ellipsis")
        for number, cell in enumerate(row):
            gap = Text(" " * (widths[number] - cell.cell_len))
            for part in (gap, cell) if number in right else (cell, gap):
                line.append_text(part)
            line.append("  ")
        line.rstrip()
        lines.append(line)
    return lines
