"""Lines of a fixed width."""

import pytest
from rich.console import Console, Group

from mcloud.drawing.lines import aligned, bar


@pytest.mark.parametrize(
    ("share", "drawn"),
    [(0, ""), (1, "████"), (0.5, "██"), (0.000001, "▏"), (0.375, "█▌")],
)
def test_bars_are_proportional_and_visible(share: float, drawn: str) -> None:
    assert bar(share, 4) == drawn


def test_columns_are_aligned_and_only_the_last_is_cut() -> None:
    lines = aligned([("a", "1", "[first] words"), ("long", "100", "")], right=(1,))
    console = Console(width=16, color_system=None)
    with console.capture() as captured:
        console.print(Group(*lines))
    assert captured.get().splitlines() == ["a       1  [fir…", "long  100"]
