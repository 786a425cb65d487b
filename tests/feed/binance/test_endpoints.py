"""Exchanges by name, and addresses of one's own."""

import pytest

from mcloud.errors import UsageError
from mcloud.feed.binance.endpoints import KNOWN, endpoints


def test_each_name_finds_its_own() -> None:
    assert {name: endpoints(name).name for name in KNOWN} == {name: name for name in KNOWN}
    assert endpoints().ws_url == "wss://stream.binance.com:9443"
    assert endpoints("binance-futures").history_path == "/fapi/v1/historicalTrades"


def test_another_rest_server_brings_the_history_back() -> None:
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
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="--ws-url is not an address"):
        endpoints(ws_url=url)
