"""A trade is parsed exactly or refused."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcloud.market.trade import (
    MAX_ID,
    MAX_TIME,
    BadTrade,
    Trade,
    aggregates_of,
    canonical,
    capitals,
    check_symbol,
    in_market,
    market_of_future,
    parse_number,
    split_market,
    to_text,
    trades_of,
    without_filled_voids,
)

DATA = {
    "s": "BTCUSDT",
    "t": 3735683259,
    "p": "61837.63000000",
    "q": "0.02000000",
    "T": 1723161255342,
    "m": True,
}

numbers = st.from_regex(r"[0-9]{1,16}(\.[0-9]{1,12})?", fullmatch=True, alphabet="0123456789.")


def test_a_trade_of_binance() -> None:
    assert Trade.from_binance(DATA | {"e": "trade", "M": True}) == Trade(
        "BTCUSDT", 3735683259, Decimal("61837.63"), Decimal("0.02"), 1723161255342, True
    )


@pytest.mark.parametrize("field", list(DATA))
def test_a_missing_field_is_reported(field: str) -> None:
    with pytest.raises(BadTrade, match=f"no field '{field}'"):
        Trade.from_binance({name: value for name, value in DATA.items() if name != field})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("s", value) for value in (None, 5, "", "btcusdt", "BTC USDT", "A" * 21, "BTC\n")],
        *[("s", value) for value in ("é", "E\u0301", "BTC.spot", "BTC.UM", "BTC.", "A.agg.um")],
        *[("t", value) for value in (None, "5", -1, 1.0, True, MAX_ID + 1)],
        *[("T", value) for value in (None, "5", -1, 1.0, True, MAX_TIME + 1)],
        *[("m", value) for value in (None, 0, 1, "true")],
        *[
            (field, value)
            for field in "pq"
            for value in (None, 1, 1.5, "", "-1", "+1", "1e5", "NaN", "Infinity", "1_0", " 1")
        ],
        *[("p", value) for value in ("0", "0.000", "٣", "1\n", ".5", "1.", "1" * 17, "1.1.1")],
    ],
)
def test_a_wrong_field_is_a_bad_trade(field: str, value: object) -> None:
    with pytest.raises(BadTrade):
        Trade.from_binance(DATA | {field: value})


@given(numbers)
def test_a_number_has_one_text(text: str) -> None:
    short = canonical(text)
    assert Decimal(short) == Decimal(text)
    assert canonical(short) == short
    assert canonical("0" + text) == short
    assert to_text(parse_number("p", text)) == short


@given(numbers, numbers)
def test_equal_numbers_and_only_they_share_their_text(one: str, other: str) -> None:
    assert (canonical(one) == canonical(other)) == (Decimal(one) == Decimal(other))


def test_valid_symbols_are_accepted() -> None:
    for symbol in ("BTCUSDT", "BTCUSDT_250926", "1INCHUSDT"):
        assert check_symbol(symbol) == symbol


@pytest.mark.parametrize(
    ("typed", "symbol", "parts"),
    [
        ("btcusdt", "BTCUSDT", ("BTCUSDT", "spot")),
        (" btcusdt.UM", "BTCUSDT.um", ("BTCUSDT", "um")),
        ("btcusd_perp.cm", "BTCUSD_PERP.cm", ("BTCUSD_PERP", "cm")),
        ("币安人生usdt", "币安人生USDT", ("币安人生USDT", "spot")),
        ("e\u0301usdt", "ÉUSDT", ("ÉUSDT", "spot")),
    ],
)
def test_symbols_and_their_markets(typed: str, symbol: str, parts: tuple[str, str]) -> None:
    assert check_symbol(capitals(typed)) == symbol
    assert split_market(symbol) == parts
    assert in_market(*parts) == symbol


@pytest.mark.parametrize("symbol", ["BTCUSDT", "BTCUSDT.um", "BTCUSD_PERP.cm", "币安人生USDT"])
def test_aggregates_have_their_own_symbol_in_the_market_of_the_trades(symbol: str) -> None:
    aggregates = aggregates_of(symbol)
    assert check_symbol(capitals(aggregates.lower())) == aggregates == f"{symbol}.agg"
    assert trades_of(aggregates) == trades_of(symbol) == symbol
    assert split_market(aggregates) == split_market(symbol)


def test_the_symbol_of_a_future_tells_its_market() -> None:
    for name in ("BTCUSD_PERP", "ETHUSD_250926"):
        assert market_of_future(name) == "cm"
    for name in ("BTCUSDT", "BTCUSDT_250926", "币安人生USDT", "USD_PERP"):
        assert market_of_future(name) == "um"


@pytest.mark.parametrize("mark", ["NA", "INSURANCE_FUND", "ADL"])
def test_a_trade_that_no_market_made_is_a_void(mark: str) -> None:
    trade = Trade.from_binance(DATA | {"X": mark, "p": "0", "q": "0"})
    assert trade == Trade.from_binance(DATA | {"X": mark}) == Trade.void(*trade[:2], trade.time)
    assert trade.is_void
    assert Trade.from_binance(DATA | {"X": "MARKET"}) == Trade.from_binance(DATA)


@pytest.mark.parametrize("mark", ["RPI", "", None, 1, ["NA"]])
def test_an_unknown_mark_is_no_void(mark: object) -> None:
    with pytest.raises(BadTrade, match="X is neither MARKET"):
        Trade.from_binance(DATA | {"X": mark})


def test_the_earliest_of_several_voids_of_one_id_counts() -> None:
    early, late = (Trade.void("BTCUSDT.um", 5, time) for time in (10, 20))
    other = Trade.void("BTCUSDT.um", 6, 20)
    assert without_filled_voids([late, early, other]) == [early, other]
    assert without_filled_voids({late, early}) == [early]
    trade = Trade("BTCUSDT.um", 5, Decimal(1), Decimal(1), 30, True)
    assert without_filled_voids([late, trade, early]) == [trade]


@pytest.mark.parametrize("symbol", ["हिन्दीUSDT", "ไม้USDT", "币安人生USDT", "Ü2USDT.um"])
def test_names_of_any_script_are_symbols(symbol: str) -> None:
    assert check_symbol(symbol) == symbol


@pytest.mark.parametrize(
    "symbol", ["A-B", "A/B", "A:B", "A[B", "A\x7f", "A\u00a0B", "A\u200bB", "é"]
)
def test_a_symbol_consists_of_letters_and_digits(symbol: str) -> None:
    with pytest.raises(BadTrade):
        check_symbol(symbol)
