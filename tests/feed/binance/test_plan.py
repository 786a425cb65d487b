"""The plan has every symbol once, within the limits of connections, URLs and messages."""

import json
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcloud.errors import UsageError
from mcloud.feed.binance.plan import MAX_STREAMS, MAX_URL, NAMES, spread, subscribe

SYMBOLS = st.lists(
    st.from_regex(r"[A-Z0-9]{2,20}", fullmatch=True), min_size=1, max_size=400, unique=True
)


@given(SYMBOLS, st.integers(1, MAX_STREAMS))
def test_each_symbol_goes_over_one_connection(symbols: list[str], streams: int) -> None:
    groups = spread(symbols, streams)
    assert sorted(symbol for group in groups for symbol in group) == sorted(symbols)
    assert max(map(len, groups)) <= streams
    assert max(map(len, groups)) - min(map(len, groups)) <= 1
    assert len(groups) == -(-len(symbols) // streams)


def test_adjacent_symbols_go_to_different_connections() -> None:
    assert spread(["BTC", "ETH", "C", "D"], 2) == [("BTC", "C"), ("ETH", "D")]


@pytest.mark.parametrize("streams", [0, -1, MAX_STREAMS + 1])
def test_impossible_connections_are_refused(streams: int) -> None:
    with pytest.raises(UsageError, match="1 to 1024"):
        spread(["BTCUSDT"], streams)


@given(SYMBOLS)
def test_each_stream_is_subscribed_once(symbols: list[str]) -> None:
    subscription = subscribe("wss://example.com:9443", symbols)
    assert len(subscription.url) <= MAX_URL
    url = urlsplit(subscription.url)
    assert (url.scheme, url.netloc, url.path) == ("wss", "example.com:9443", "/stream")
    asked = parse_qs(url.query)["streams"][0].split("/")
    for number, text in enumerate(subscription.messages, start=1):
        message = json.loads(text)
        assert (message["method"], message["id"]) == ("SUBSCRIBE", number)
        assert 1 <= len(message["params"]) <= NAMES
        asked += message["params"]
    assert asked == [f"{symbol.lower()}@trade" for symbol in symbols]


def test_a_few_symbols_need_no_message() -> None:
    assert subscribe("wss://e", ["BTCUSDT", "ETHUSDT"]).messages == ()
