"""The chart, character by character."""

from decimal import Decimal

import pytest
from rich.text import Text

from mcloud.drawing.candles import candlesticks
from mcloud.market.interval import Bar


def bar(minute: int, open_: str, high: str, low: str, close: str) -> Bar:
    one = Decimal(1)
    start = 1_723_161_240_000 + minute * 60_000
    first, top, bottom, last = map(Decimal, (open_, high, low, close))
    return Bar("BTCUSDT", start, first, top, bottom, last, one, one, 1, 1, 1)


BARS = [
    bar(0, "100", "104", "99", "103"),
    bar(1, "103", "106", "101", "101"),
    bar(2, "101", "101", "96", "98"),
    bar(3, "98", "98", "98", "98"),
    bar(4, "98", "107", "98", "107"),
]


AXIS = "2024-08-08T23:54:00Z … 2024-08-08T23:58:00Z"


def test_draws_bodies_wicks_prices_and_times() -> None:
    assert lines(candlesticks(BARS, 40, 8)) == [
        "    ┃",
        " │  ┃ 105",
        "╷│  ┃",
        "┃┃  ┃ 102",
        "┃┃╻ ┃",
        "╿ ┃ ┃ 99",
        "  ┃╻┃",
        "  │   96",
        AXIS,
    ]


def test_rising_is_green_and_falling_is_red() -> None:
    text = candlesticks(BARS, 40, 8)
    first_row = {span.start: span.style for span in text.spans if span.end <= len(BARS)}
    assert [first_row[column] for column in range(len(BARS))] == [
        *("green", "red", "red", "green", "green")
    ]


def test_the_newest_bars_that_fit_are_drawn() -> None:
    assert lines(candlesticks(BARS, 8, 8)) == [
        "   ┃",
        "│  ┃ 105",
        "│  ┃",
        "┃  ┃ 102",
        "┃╻ ┃",
        " ┃ ┃ 99",
        " ┃╻┃",
        " │   96",
        AXIS.replace("23:54", "23:55"),
    ]


def test_a_price_that_is_out_of_sight_does_not_flatten_those_in_sight() -> None:
    outlier = bar(-1, *["9000"] * 4)
    assert lines(candlesticks([outlier, *BARS], 10, 8)) == lines(candlesticks(BARS, 10, 8))


@pytest.mark.parametrize("width", [1, 2, 5])
def test_the_newest_bar_is_drawn_at_every_width(width: int) -> None:
    assert lines(candlesticks(BARS, width, 4)) == [
        "┃ 107",
        "┃ 104",
        "┃ 101",
        "┃ 98",
        "2024-08-08T23:58:00Z",
    ]


def test_a_single_bar_is_drawn() -> None:
    assert lines(candlesticks(BARS[:1], 20, 4)) == [
        "│ 104",
        "┃ 102",
        "┃ 101",
        "╿ 99",
        "2024-08-08T23:54:00Z",
    ]


def test_flat_prices_are_a_line_with_their_one_price() -> None:
    flat = [bar(minute, *["0.6123"] * 4) for minute in range(3)]
    assert lines(candlesticks(flat, 20, 4)) == [
        "   ",
        "╻╻╻ 0.6123",
        "   ",
        "   ",
        AXIS.replace("23:58", "23:56"),
    ]


def test_prices_have_the_digits_that_tell_them_apart() -> None:
    tight = bar(0, "0.61230", "0.61238", "0.61230", "0.61238")
    assert lines(candlesticks([tight], 20, 4))[:-1] == [
        "┃ 0.61238",
        "┃ 0.61235",
        "┃ 0.61233",
        "┃ 0.61230",
    ]


def test_the_smallest_and_the_largest_price_fit() -> None:
    """A trade has at most 16 digits before the decimal point and 12 after it."""
    extreme = bar(0, "9999999999999999", "9999999999999999", "0.000000000001", "0.000000000001")
    assert lines(candlesticks([extreme], 40, 2))[0] == "┃ 9999999999999999"
    tiny = bar(0, *["9999999999999999.000000000002", "9999999999999999.000000000001"] * 2)
    assert len(lines(candlesticks([tiny], 60, 16))) == 17


def test_a_chart_without_bars_is_a_message() -> None:
    assert candlesticks([], 80, 16).plain == "no data"


def test_lines_are_dots_where_no_bar_is() -> None:
    averages = {
        "sma:2": [None, *map(Decimal, ("102", "99.5", "98", "102.5"))],
        "vwap": [Decimal(value) for value in ("105", "105", "105", "90", "120")],
    }
    text = candlesticks(BARS, 40, 8, averages)
    assert lines(text) == [
        "    ┃",
        "·│· ┃ 105",
        "╷│  ┃",
        "┃┃  ┃ 102",
        "┃┃╻ ┃",
        "╿ ┃ ┃ 99",
        "  ┃╻┃",
        "  │   96",
        AXIS + "  · sma:2  · vwap",
    ]


def test_the_newest_values_belong_to_the_newest_bars() -> None:
    line = {"sma:1": [*[Decimal(105)] * 4, Decimal(101)]}
    assert lines(candlesticks(BARS, 8, 8, line))[1] == "│··┃ 105"


def lines(text: Text) -> list[str]:
    return text.plain.split("\n")


def test_a_bar_without_trades_differs_from_one_with_trades() -> None:
    still = [each._replace(trade_count=0) if each is BARS[3] else each for each in BARS]
    traded, filled = (lines(candlesticks(each, 40, 8)) for each in (BARS, still))
    assert traded != filled
    assert [line.replace("┄", "╻") for line in filled] == traded
