"""The table of candles, and the line above the chart."""

from decimal import Decimal

from rich.console import Console, RenderableType

from drawing.test_candle_chart import BARS
from mcloud.candle_history import CandleRow
from mcloud.drawing.candles import table, title
from mcloud.market.indicators import parse
from mcloud.market.quiet import TimelineStep

INDICATORS = parse("sma:2,returns")
VALUES = [
    {"sma:2": None, "returns": None},
    {"sma:2": Decimal("102.3333333333"), "returns": Decimal("-0.0194174757281553")},
]
BARS_ = [BARS[0], BARS[1]._replace(close=Decimal("101.25"), volume=Decimal("12.5"))]
ROWS = [
    CandleRow(TimelineStep(bar, follows=True, complete=True), values)
    for bar, values in zip(BARS_, VALUES, strict=True)
]


def shown(drawn: RenderableType, width: int) -> list[str]:
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(drawn)
    return [line.rstrip() for line in captured.get().splitlines()]


def test_decimals_are_aligned_and_indicators_come_first() -> None:
    drawn, hidden = table(ROWS, marked=False, indicators=INDICATORS, width=200)
    assert hidden == []
    head, first, second = (line.split() for line in shown(drawn, 200))
    assert head[:8] == [
        *("timestamp", "sma:2", "returns", "open", "high", "low", "close", "volume")
    ]
    assert first[:8] == ["2024-08-08T23:54:00Z", *["–", "–", "100", "104", "99", "103.00", "1.0"]]
    assert second[1:8] == ["102.3333", "-0.01941748", "103", "106", "101", "101.25", "12.5"]


def test_columns_that_do_not_fit_are_left_out_from_the_right_and_no_number_is_cut() -> None:
    drawn, hidden = table(ROWS, marked=False, indicators=INDICATORS, width=60)
    lines = shown(drawn, 60)
    assert lines[2] == "2024-08-08T23:55:00Z 102.3333 -0.01941748  103  106 101"
    assert hidden == [*("close", "volume", "quote_volume", "trade_count", "first_id", "last_id")]


def test_the_title_sums_up_what_is_shown() -> None:
    assert title(ROWS, "1m", "aws").plain == (
        "BTCUSDT  101.25  +1.25%  low 99  high 106  2 trades  1m candles at aws"
    )
