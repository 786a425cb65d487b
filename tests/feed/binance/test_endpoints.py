"""Exchanges by name, and custom addresses."""

import pytest

from mcloud.errors import UsageError
from mcloud.feed.binance.endpoints import KNOWN, endpoints


def test_each_name_finds_its_own() -> None:
    assert {name: endpoints(name).name for name in KNOWN} == {name: name for name in KNOWN}
    assert endpoints().ws_url == "wss://stream.binance.com:9443"
    assert endpoints("binance-futures").history_path == "/fapi/v1/historicalTrades"


def test_another_rest_server_may_have_the_history() -> None:
    assert not endpoints("binance-data").has_history
    mixed = endpoints("binance-data", rest_url="https://api.binance.com/")
    assert mixed.has_history
    assert mixed.rest_url == "https://api.binance.com"
    assert mixed.ws_url == "wss://data-stream.binance.vision"


def test_a_stream_path_is_not_doubled() -> None:
    assert endpoints(ws_url="ws://127.0.0.1:9443/stream").ws_url == "ws://127.0.0.1:9443"
    assert endpoints(ws_url="wss://example.com/market/ws/").ws_url == "wss://example.com/market"


def test_a_wrong_name_is_put_right() -> None:
    with pytest.raises(UsageError, match="did you mean 'binance-us'") as raised:
        endpoints("binance_us")
    assert "--ws-url" in raised.value.remedy


@pytest.mark.parametrize(
    "url",
    ["example.com", "https://example.com", "wss://", "wss://e:x", "wss://e?streams=a", "ws:/e"],
)
def test_an_invalid_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="invalid --ws-url"):
        endpoints(ws_url=url)


@pytest.mark.parametrize("name", ["binance-futures", "binance-coin-futures"])
def test_trades_of_futures_use_the_public_route(name: str) -> None:
    assert endpoints(name).ws_url.endswith("stream.binance.com/public")


@pytest.mark.parametrize(
    ("exchange", "text", "symbol"),
    [
        ("binance", "BTCUSDT", "BTCUSDT"),
        ("binance-futures", "BTCUSDT", "BTCUSDT.um"),
        ("binance-futures", "BTCUSDT.um", "BTCUSDT.um"),
        ("binance-coin-futures", "BTCUSD_PERP", "BTCUSD_PERP.cm"),
    ],
)
def test_a_symbol_gets_the_market_of_the_exchange(exchange: str, text: str, symbol: str) -> None:
    assert endpoints(exchange).symbol(text) == symbol


@pytest.mark.parametrize(
    ("exchange", "text", "other"),
    [
        ("binance", "BTCUSDT.um", "binance-futures"),
        ("binance-us", "BTCUSD_PERP.cm", "binance-coin-futures"),
        ("binance-futures", "BTCUSD_PERP.cm", "binance-coin-futures"),
    ],
)
def test_a_symbol_of_another_market_is_refused_by_name(
    exchange: str, text: str, other: str
) -> None:
    with pytest.raises(UsageError, match=f"{text} is not traded at {exchange}") as raised:
        endpoints(exchange).symbol(text)
    assert f"--source {other}" in raised.value.remedy
