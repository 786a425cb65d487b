"""Drawing anomalies."""

import pytest
from rich.console import Console

from mcloud.clouds.anomalies import ListedAnomaly
from mcloud.drawing.anomalies import WIDE, table

ROWS = [
    ListedAnomaly(
        timestamp="2024-08-08T23:57:00Z",
        symbol="BTCUSDT",
        kind="price-jump",
        value="61651.01",
        usual="61782.25",
        change="-0.0021",
        score="2.04",
        trades=3,
        complete=False,
        sites=("aws", "gcp"),
    ),
    ListedAnomaly(
        timestamp="2024-08-08T23:58:00Z",
        symbol="BTCUSDT",
        kind="volume-spike",
        value="1234.56789",
        usual="12.5",
        change="98",
        score="9.1",
        trades=3,
        complete=True,
        sites=("aws",),
    ),
]


@pytest.mark.parametrize("width", [80, WIDE - 1, WIDE, 200])
def test_no_column_is_truncated(width: int) -> None:
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(table(ROWS, width))
    text = captured.get()
    assert "…" not in text
    words = text.split()
    for row in ROWS:
        assert {row.timestamp, row.symbol, row.kind, row.value} <= set(words)
    assert {"-0.21%", "×99", "missing"} <= set(words)
    assert ("61782.25" in words) == ("score" in words) == (width >= WIDE)
