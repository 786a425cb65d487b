"""The chart, character by character."""

from decimal import Decimal

import pytest
from rich.text import Text

from mcloud.drawing.candle_chart import candlesticks, legend
from mcloud.market.interval import Bar


def bar(minute: int, open_: str, high: str, low: str, close: str, volume: str = "1") -> Bar:
    start = 1_723_161_240_000 + minute * 60_000
    first, top, bottom, last = map(Decimal, (open_, high, low, close))
    return Bar("BTCUSDT", start, first, top, bottom, last, Decimal(volume), Decimal(1), 1, 1, 1)


BARS = [
    bar(0, "100", "104", "99", "103"),
    bar(1, "103", "106", "101", "101"),
    bar(2, "101", "101", "96", "98"),
    bar(3, "98", "98", "98", "98"),
    bar(4, "98", "107", "98", "107"),
]
STILL = [bar(minute, "100", "101", "99", "100") for minute in range(60)]
NARROW = 9  # columns: one for each bar, and four for the prices


def test_draws_bodies_wicks_prices_and_times() -> None:
    assert lines(candlesticks(BARS, NARROW, 8)) == [
        "    ┃ 107",
        " │  ┃ 105",
        "╷│  ┃",
        "┃┃  ┃ 102",
        "┃┃╻ ┃",
        "╿ ┃ ┃  99",
        "  ┃╻┃",
        "  │    96",
        "23:54",
        "2024-08-08 UTC",
    ]


def test_bars_are_widened_to_the_terminal() -> None:
    assert lines(candlesticks(BARS, 30, 8)) == [
        "                     ███  107",
        "       │             ███  105",
        "  ╷    │             ███",
        " ███  ███            ███  102",
        " ███  ███  ▄▄▄       ███",
        " ▀▀▀       ███       ███   99",
        "           ███  ▄▄▄  ███",
        "            │              96",
        " 23:54     23:56     23:58",
        " 2024-08-08 UTC",
    ]
    assert max(len(line) for line in lines(candlesticks(BARS, 200, 8))) == 199


def test_rising_is_green_and_falling_is_red() -> None:
    text = candlesticks(BARS, NARROW, 8)
    first_row = {span.start: span.style for span in text.spans if span.end <= len(BARS)}
    assert [first_row[column] for column in range(len(BARS))] == [
        *("green", "red", "red", "green", "green")
    ]


def test_the_newest_bars_that_fit_are_drawn() -> None:
    assert lines(candlesticks(BARS, NARROW - 1, 8)) == [
        "   ┃ 107",
        "│  ┃ 105",
        "│  ┃",
        "┃  ┃ 102",
        "┃╻ ┃",
        " ┃ ┃  99",
        " ┃╻┃",
        " │    96",
        "23:55",
        "2024-08-08 UTC",
    ]


def test_a_price_that_is_out_of_sight_does_not_flatten_those_in_sight() -> None:
    outlier = bar(-1, *["9000"] * 4)
    drawn = lines(candlesticks([outlier, *BARS], NARROW + 1, 8))
    assert drawn == lines(candlesticks(BARS, NARROW + 1, 8))


@pytest.mark.parametrize("width", [1, 2, 5])
def test_the_newest_bar_is_drawn_at_every_width(width: int) -> None:
    assert lines(candlesticks(BARS, width, 4)) == [
        "┃ 107",
        "┃ 104",
        "┃ 101",
        "┃  98",
        "23:58",
        "2024-08-08 UTC",
    ]


def test_a_single_bar_is_drawn() -> None:
    assert lines(candlesticks(BARS[:1], 20, 4)) == [
        "       │         104",
        "   █████████     103",
        "   █████████     101",
        "   ▀▀▀▀▀▀▀▀▀      99",
        "   23:54",
        "   2024-08-08 UTC",
    ]


def test_flat_prices_are_a_line_with_their_one_price() -> None:
    flat = [bar(minute, *["0.6123"] * 4) for minute in range(3)]
    assert lines(candlesticks(flat, 20, 4))[:4] == ["", "▄▄▄ ▄▄▄ ▄▄▄  0.6123", "", ""]


def test_prices_have_the_digits_that_tell_them_apart() -> None:
    tight = bar(0, "0.61230", "0.61238", "0.61230", "0.61238")
    assert [line.split()[-1] for line in lines(candlesticks([tight], 20, 4))[:-2]] == [
        *("0.61238", "0.61235", "0.61233", "0.61230")
    ]


def test_prices_stand_below_each_other_and_the_newest_close_is_exact() -> None:
    bars = [bar(0, "100", "104", "99", "103"), bar(1, "103", "106", "96", "100.25")]
    labels = [line.split()[-1] for line in lines(candlesticks(bars, 40, 4))[:-2]]
    assert labels == ["106.00", "103.00", "100.25", "96.00"]


def test_the_smallest_and_the_largest_price_fit() -> None:
    """A trade has at most 16 digits before the decimal point and 12 after it."""
    extreme = bar(0, "9999999999999999", "9999999999999999", "0.000000000001", "0.000000000001")
    top, bottom, *_ = lines(candlesticks([extreme], 40, 2))
    assert top.endswith("9999999999999999.000000000000")
    assert bottom.endswith(" 0.000000000001")
    tiny = bar(0, *["9999999999999999.000000000002", "9999999999999999.000000000001"] * 2)
    assert len(lines(candlesticks([tiny], 60, 16))) == 18


def test_a_chart_without_bars_is_a_message() -> None:
    assert candlesticks([], 80, 16).plain == "no data"


AVERAGES = {
    "sma:2": [None, *map(Decimal, ("102", "99.5", "98", "102.5"))],
    "vwap": [Decimal(value) for value in ("105", "105", "105", "90", "120")],
}


def test_lines_are_in_front_of_wide_bars() -> None:
    assert lines(candlesticks(BARS, 30, 8, AVERAGES))[:8] == [
        "                     ███  107",
        "··•····•····•··      ███  105",
        "  ╷    │             ███",
        " ███ ·█•█·          ·█•█· 102",
        " ███  ███  ▄▄▄       ███",
        " ▀▀▀      ·█•█·      ███   99",
        "           ███ ·▄•▄· ███",
        "            │              96",
    ]
    assert legend(list(AVERAGES)).plain == "• sma:2  • vwap"


def test_a_line_does_not_hide_the_body_of_a_thin_bar() -> None:
    drawn = lines(candlesticks(BARS, NARROW, 8, AVERAGES))
    assert drawn[1] == "••• ┃ 105"
    assert drawn[3:6] == lines(candlesticks(BARS, NARROW, 8))[3:6]


def test_the_newest_values_belong_to_the_newest_bars() -> None:
    line = {"sma:1": [*[Decimal(105)] * 4, Decimal(101)]}
    assert lines(candlesticks(BARS, NARROW - 1, 8, line))[1] == "•••┃ 105"


def test_a_bar_without_trades_differs_from_one_with_trades() -> None:
    still = [each._replace(trade_count=0) if each is BARS[3] else each for each in BARS]
    traded, filled = (lines(candlesticks(each, NARROW, 8)) for each in (BARS, still))
    assert traded != filled
    assert [line.replace("┄", "╻") for line in filled] == traded


def test_volumes_are_below_the_prices_and_any_volume_is_visible() -> None:
    volumes = ("0", "0.001", "3", "6", "12.345")
    bars = [bar._replace(volume=Decimal(v)) for bar, v in zip(BARS, volumes, strict=True)]
    assert lines(candlesticks(bars, 40, 4, volume=3))[4:7] == [
        "                        █████    12.3",
        "                  ▃▃▃▃▃ █████  volume",
        "      ▁▁▁▁▁ ▅▅▅▅▅ █████ █████",
    ]


def test_times_are_round_and_a_new_day_is_named() -> None:
    times, dates = lines(candlesticks(STILL, 70, 3))[-2:]
    assert times == "      00:00     00:10     00:20     00:30     00:40     00:50"
    assert dates == "      2024-08-09 UTC"


def test_days_are_named_by_month_and_day() -> None:
    midnight = STILL[6].start
    days = [STILL[0]._replace(start=midnight + day * 86_400_000) for day in range(20)]
    times, dates = lines(candlesticks(days, 70, 3, interval="1d"))[-2:]
    assert times.split() == ["08-09", "08-15", "08-22"]
    assert dates.strip() == "2024 UTC"


def test_missing_bars_bring_no_times_on_top_of_each_other() -> None:
    bars = [bar for number, bar in enumerate(STILL) if number in (0, 1, 6, 36, 38, 40)]
    times, dates = lines(candlesticks(bars, 34, 3))[-2:]
    assert times.split() == ["23:54", "00:00", "00:32"]
    assert dates.split() == ["2024-08-08", "2024-08-09", "UTC"]


def lines(text: Text) -> list[str]:
    return [line.rstrip() for line in text.plain.split("\n")]
