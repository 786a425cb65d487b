"""The three markets at once: their routes, their messages, void ids, and TLS."""

import json
import ssl
import stat
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect as connect_tls

from mcloud.errors import McloudError, UsageError
from mcloud.feed.json_lines import parse_message
from mcloud.local.exchange.faults import Fault
from mcloud.local.exchange.limits import Limits
from mcloud.local.exchange.thread import LocalExchange
from mcloud.market.trade import Trade

from .clients import ask, connect, get, make_trades, receive

SPOT, USD_M, COIN_M = "BTCUSDT", "BTCUSDT.um", "BTCUSD_PERP.cm"
TRADES = [
    trade
    for each in zip(*(make_trades(300, symbol) for symbol in (SPOT, USD_M, COIN_M)), strict=True)
    for trade in each
]
"""Three seconds of each market."""


@pytest.fixture
def exchange() -> Iterator[LocalExchange]:
    with LocalExchange(TRADES) as exchange:
        yield exchange


@pytest.fixture(scope="module")
def over() -> Iterator[LocalExchange]:
    """An exchange after all trades have been played."""
    with LocalExchange(TRADES, wait_for=0) as exchange:
        assert exchange.wait_finished(PATIENCE)
        yield exchange


def answer(exchange: LocalExchange, path: str, **headers: str) -> Any:
    return get(exchange.rest_url + path, **headers).json()


def read(exchange: LocalExchange, path: str) -> list[Any]:
    """Return all messages that a connection receives during a whole play."""
    with connect(exchange.ws_url + path) as client:
        assert exchange.wait_finished(PATIENCE)
        # The answer comes after all events.
        client.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": 1}))
        messages = []
        while not isinstance(message := receive(client), dict) or "id" not in message:
            messages.append(message.get("data", message) if isinstance(message, dict) else message)
        return messages


@pytest.mark.parametrize(
    ("path", "symbol", "market"),
    [
        ("/ws/btcusdt@trade", SPOT, None),
        ("/public/ws/btcusdt@trade", USD_M, "MARKET"),
        ("/public/stream?streams=btcusd_perp@trade", COIN_M, "MARKET"),
        ("/ws/btcusd_perp@trade", COIN_M, "MARKET"),
    ],
)
def test_trades_of_each_market(
    exchange: LocalExchange, path: str, symbol: str, market: str | None
) -> None:
    events = read(exchange, path)
    assert {event["s"] for event in events} == {symbol.partition(".")[0]}
    assert {event.get("X") for event in events} == {market}
    found = [
        Trade(symbol, e["t"], Decimal(e["p"]), Decimal(e["q"]), e["T"], e["m"]) for e in events
    ]
    assert found == exchange.played(symbol) == make_trades(300, symbol)


@pytest.mark.parametrize("stream", ["btcusdt@trade", "btcusd_perp@trade", "btcusdt@bookTicker"])
def test_the_market_route_sends_no_public_streams(exchange: LocalExchange, stream: str) -> None:
    assert read(exchange, f"/market/ws/{stream}") == []


@pytest.mark.parametrize("kind", ["aggTrade", "kline_1m", "ticker", "miniTicker"])
def test_the_public_route_sends_no_market_streams(exchange: LocalExchange, kind: str) -> None:
    assert read(exchange, f"/public/ws/btcusdt@{kind}") == []


@pytest.mark.parametrize(
    ("path", "api", "symbol"),
    [
        ("/ws/btcusdt@{}", "/api/v3", SPOT),
        ("/market/ws/btcusdt@{}", "/fapi/v1", USD_M),
        ("/market/ws/btcusd_perp@{}", "/dapi/v1", COIN_M),
    ],
)
class TestStreamsSayWhatRestSays:
    def test_aggregates(self, exchange: LocalExchange, path: str, api: str, symbol: str) -> None:
        events = read(exchange, path.format("aggTrade"))
        name = symbol.partition(".")[0]
        rows = answer(exchange, f"{api}/aggTrades?symbol={name}&limit=1000")
        assert len(rows) == 300
        assert [{key: event[key] for key in rows[0]} for event in events] == rows

    def test_klines(self, exchange: LocalExchange, path: str, api: str, symbol: str) -> None:
        events = read(exchange, path.format("kline_1m"))
        name = symbol.partition(".")[0]
        (row,) = answer(exchange, f"{api}/klines?symbol={name}&interval=1m")
        last = events[-1]["k"]
        said = [last[key] for key in ("t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q", "B")]
        assert said == row
        assert not last["x"]
        assert len(events) == 3  # one per second

    def test_tickers(self, exchange: LocalExchange, path: str, api: str, symbol: str) -> None:
        event = read(exchange, path.format("ticker"))[-1]
        name = symbol.partition(".")[0]
        row = answer(exchange, f"{api}/ticker/24hr?symbol={name}")
        row = row[0] if isinstance(row, list) else row
        keys = {"c": "lastPrice", "o": "openPrice", "h": "highPrice", "v": "volume", "n": "count"}
        assert [event[key] for key in keys] == [row[key] for key in keys.values()]
        assert event["w"] == row["weightedAvgPrice"]


def test_closed_klines_include_quiet_ones() -> None:
    first, last = make_trades(2)
    trades = [first, last._replace(time=first.time + 200_000)]
    with LocalExchange(trades) as exchange:
        events = [event["k"] for event in read(exchange, "/ws/btcusdt@kline_1m")]
        rows = answer(exchange, "/api/v3/klines?symbol=BTCUSDT&interval=1m")
    closed = [event for event in events if event["x"]]
    assert [event["t"] for event in closed] == [row[0] for row in rows[:-1]]
    assert [event["n"] for event in closed] == [1, 0, 0]
    assert {event["c"] for event in closed} == {"61837.00000000"}


def test_streams_of_all_symbols_name_those_of_their_route(exchange: LocalExchange) -> None:
    spot = read(exchange, "/ws/!miniTicker@arr")
    assert {each["s"] for event in spot for each in event} == {"BTCUSDT"}


def test_streams_of_all_futures(exchange: LocalExchange) -> None:
    futures = read(exchange, "/market/ws/!ticker@arr")
    assert {each["s"] for event in futures for each in event} == {"BTCUSDT", "BTCUSD_PERP"}


@pytest.mark.parametrize(
    ("path", "trades"),
    [("/ws/btcusdt@bookTicker", 300), ("/ws/!bookTicker", 300), ("/public/ws/!bookTicker", 600)],
)
def test_book_tickers_follow_the_trades(exchange: LocalExchange, path: str, trades: int) -> None:
    events = read(exchange, path)
    assert len(events) == trades
    # The price of these trades only rises, so the last bid is above all earlier asks.
    assert [float(event["a"]) for event in events] == [
        0 if trade.buyer_is_maker else float(trade.price)
        for trade in TRADES
        if (trade.symbol == SPOT) == (trades == 300)
    ]


def test_a_stalled_symbol_has_no_events_of_any_kind(exchange: LocalExchange) -> None:
    exchange.fault("stall", symbol=SPOT)
    kinds = ("trade", "aggTrade", "kline_1m", "ticker", "miniTicker", "bookTicker")
    streams = "/".join(f"btcusdt@{kind}" for kind in kinds)
    assert read(exchange, f"/stream?streams={streams}/!ticker@arr/!bookTicker") == []


@pytest.mark.parametrize("stream", ["btcusdt@depth", "btcusdt@markPrice", "btcusdt@kline_7m"])
def test_a_stream_that_cannot_be_derived_is_refused(over: LocalExchange, stream: str) -> None:
    with connect(over.ws_url + "/ws") as client:
        error = ask(client, "SUBSCRIBE", stream)["error"]
        assert error["code"] == 2
        assert f"cannot derive the stream {stream}" in error["msg"]
    with pytest.raises(InvalidStatus) as refused:
        connect(f"{over.ws_url}/ws/{stream}")
    assert refused.value.response.status_code == 400
    assert json.loads(refused.value.response.body)["error"]["code"] == 2


@pytest.mark.parametrize(
    "path", ["/api/v3/avgPrice", "/fapi/v1/openInterest", "/dapi/v1/premiumIndex", "/sapi/v1/x"]
)
def test_underivable_data_is_an_unsupported_operation(over: LocalExchange, path: str) -> None:
    refused = get(f"{over.rest_url}{path}?symbol=BTCUSDT")
    assert (refused.status, refused.json()["code"]) == (400, -1020)
    assert path in refused.json()["msg"]


@pytest.mark.parametrize(
    ("api", "names"),
    [("/api/v3", ["BTCUSDT"]), ("/fapi/v1", ["BTCUSDT"]), ("/dapi/v1", ["BTCUSD_PERP"])],
)
def test_each_market_lists_its_own(over: LocalExchange, api: str, names: list[str]) -> None:
    info = answer(over, f"{api}/exchangeInfo")
    assert [each["symbol"] for each in info["symbols"]] == names
    weight = 6000 if api == "/api/v3" else 2400
    assert info["rateLimits"][0]["limit"] == weight
    assert answer(over, f"{api}/trades?symbol=BTCUSDT_250926") == {
        "code": -1121,
        "msg": "Invalid symbol.",
    }


def test_old_futures_trades_want_a_key(over: LocalExchange) -> None:
    path = "/fapi/v1/historicalTrades?symbol=BTCUSDT&fromId=110&limit=2"
    refused = get(over.rest_url + path)
    assert (refused.status, refused.json()["code"]) == (401, -2014)
    assert [each["id"] for each in answer(over, path, **{"X-MBX-APIKEY": "k"})] == [110, 111]


def test_coin_m_counts_contracts(over: LocalExchange) -> None:
    (trade,) = answer(over, "/dapi/v1/trades?symbol=BTCUSD_PERP&limit=1")
    assert "quoteQty" not in trade
    worth = 100 * Decimal(trade["qty"]) / Decimal(trade["price"])
    assert Decimal(trade["baseQty"]) == worth.quantize(Decimal("1e-8"))
    assert answer(over, "/dapi/v1/ticker/price?symbol=BTCUSD_PERP")[0]["ps"] == "BTCUSD"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/fapi/v1/depth?symbol=BTCUSDT&limit=7", -4021),
        ("/fapi/v1/klines?symbol=BTCUSDT&interval=1s", -1120),
        ("/api/v3/klines?symbol=BTCUSDT", -1102),
        ("/api/v3/klines?symbol=BTCUSDT&interval=7m", -1120),
        ("/api/v3/aggTrades?symbol=BTCUSDT&fromId=1&startTime=1", -1128),
        ("/api/v3/ticker/24hr?symbol=BTCUSDT&type=HUGE", -1139),
    ],
)
def test_bad_requests_are_refused_with_binances_codes(
    over: LocalExchange, path: str, code: int
) -> None:
    refused = get(over.rest_url + path)
    assert (refused.status, refused.json()["code"]) == (400, code)


def test_symbols_in_any_script() -> None:
    symbol = "币安人生USDT"
    trades = make_trades(3, symbol)
    with LocalExchange(trades) as exchange:
        events = read(exchange, "/ws/%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9Fusdt@trade")
        assert [event["s"] for event in events] == [symbol] * 3
        path = "/api/v3/aggTrades?symbol=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT"
        assert len(answer(exchange, path)) == 3


class TestVoids:
    @pytest.mark.parametrize("reason", ["NA", "INSURANCE_FUND", "ADL"])
    def test_an_id_that_rest_never_has(self, exchange: LocalExchange, reason: str) -> None:
        exchange.fault("void", symbol=USD_M, first=110, last=112, reason=reason)
        events = read(exchange, "/public/ws/btcusdt@trade")
        assert [event["t"] for event in events] == list(range(100, 400))
        void = {event["t"]: event for event in events if event["X"] != "MARKET"}
        assert {event["X"] for event in void.values()} == {reason}
        assert list(void) == [110, 111, 112] == list(exchange.voids(USD_M))
        assert (void[110]["p"], void[110]["q"]) == (
            ("0", "0") if reason == "NA" else ("61837.1", "0.02")
        )
        expected = [id_ for id_ in range(100, 400) if id_ not in void]
        ids = [each["id"] for each in answer(exchange, "/fapi/v1/trades?symbol=BTCUSDT&limit=999")]
        assert ids == expected == [trade.id for trade in exchange.played(USD_M)]
        rows = answer(exchange, "/fapi/v1/aggTrades?symbol=BTCUSDT&limit=999")
        assert [row["f"] for row in rows] == expected
        (kline,) = answer(exchange, "/fapi/v1/klines?symbol=BTCUSDT&interval=1m")
        assert kline[8] == len(expected)

    def test_mclouds_reader_decodes_the_event_as_a_void(self, exchange: LocalExchange) -> None:
        exchange.fault("void", symbol=USD_M, every=100)
        events = read(exchange, "/public/ws/btcusdt@trade")
        trades = [parse_message(json.dumps(event)) for event in events]
        assert [trade.id for trade in trades if trade and trade.is_void] == [100, 200, 300]
        assert None not in trades

    def test_every_so_many_ids_and_a_count(self, exchange: LocalExchange) -> None:
        exchange.fault("void", every=50, count=5)
        read(exchange, "/public/ws/btcusdt@trade")
        assert list(exchange.voids(USD_M)) == [100, 150, 200]
        assert list(exchange.voids(COIN_M)) == [100, 150]
        assert exchange.voids(SPOT) == {}

    def test_a_void_of_the_feed_is_announced_as_one(self) -> None:
        first, second = make_trades(2, USD_M)
        with LocalExchange([first, Trade.void(USD_M, second.id, second.time)]) as exchange:
            events = read(exchange, "/public/ws/btcusdt@trade")
            assert [(event["t"], event["X"], event["p"]) for event in events] == [
                (100, "MARKET", "61837"),
                (101, "NA", "0"),
            ]
            assert exchange.played(USD_M) == [first]

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({}, "needs count, or every, or first and last"),
            ({"first": 1}, "needs count, or every, or first and last"),
            ({"count": 1, "reason": "LATE"}, "choose from NA, INSURANCE_FUND, ADL"),
            ({"count": 1, "symbol": SPOT}, "is a spot symbol"),
            ({"every": 0}, "must be above zero"),
        ],
    )
    def test_an_incomplete_void_fault_is_refused(self, fields: dict[str, Any], words: str) -> None:
        with pytest.raises(UsageError, match=words):
            Fault("void", **fields)


class TestTls:
    def test_clients_that_trust_the_certificate_are_served(self, tmp_path: Path) -> None:
        certificate = tmp_path / "new" / "exchange.pem"
        with LocalExchange(make_trades(1), certificate=certificate) as exchange:
            assert exchange.ws_url.startswith("wss://")
            trust = ssl.create_default_context(cafile=str(certificate))
            trust.verify_flags |= ssl.VERIFY_X509_STRICT  # as newer Pythons do
            url = exchange.ws_url.replace("127.0.0.1", "localhost") + "/ws/btcusdt@trade"
            with connect_tls(url, ssl=trust, compression=None) as client:
                assert receive(client)["t"] == 100
            with urllib.request.urlopen(f"{exchange.rest_url}/api/v3/ping", context=trust) as said:
                assert json.load(said) == {}
            with pytest.raises(OSError, match="certificate verify failed"):
                urllib.request.urlopen(f"{exchange.rest_url}/api/v3/ping")

    def test_the_key_is_not_kept(self, tmp_path: Path) -> None:
        certificate = tmp_path / "new" / "exchange.pem"
        with LocalExchange(TRADES, certificate=certificate):
            assert [path.name for path in certificate.parent.iterdir()] == ["exchange.pem"]
            assert "PRIVATE" not in certificate.read_text()
            assert stat.S_IMODE(certificate.parent.stat().st_mode) == 0o700

    def test_a_certificate_that_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "exchange.pem").mkdir()
        with pytest.raises(McloudError, match=r"exchange\.pem cannot be written: Is a directory"):
            LocalExchange(TRADES, certificate=tmp_path / "exchange.pem")


def test_futures_have_a_budget_of_their_own() -> None:
    limits = Limits(weight=100, futures_weight=10)
    with LocalExchange(TRADES, wait_for=0, limits=limits) as exchange:
        url = exchange.rest_url
        paths = ["/fapi/v1/trades?symbol=BTCUSDT"] * 3 + ["/dapi/v1/time", "/api/v3/time"]
        assert [get(url + path).status for path in paths] == [200, 200, 429, 200, 200]
