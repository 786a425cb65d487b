from decimal import Decimal
from typing import Any

import pytest
from patience import PATIENCE

from mcloud.local.exchange.faults import Fault, Faults
from mcloud.local.exchange.ledger import TradeLedger
from mcloud.local.exchange.limits import Limits
from mcloud.local.exchange.rest import Request, Rest, RestAnswer
from mcloud.local.exchange.thread import LocalExchange
from mcloud.local.exchange.wording import decimal, symbol_info

from .clients import get, make_trades

NOW = 1_723_161_300.5  # 0.5 s into a minute: 1_723_161_300 is one of 60 s
CLIENT = "127.0.0.1"


class Exchange:
    """Only the REST interface, with 2,500 trades of BTCUSDT and none of ETHUSDT."""

    def __init__(self, **limits: Any) -> None:
        self.faults = Faults()
        self.ledger = TradeLedger()
        for trade in make_trades(2_500):
            self.ledger.add(trade)
        self.rest = Rest(
            self.ledger,
            self.faults,
            Limits(**limits),
            symbols=lambda: dict.fromkeys(("BTCUSDT", "ETHUSDT"), "TRADING"),
            clock=lambda: NOW,
        )

    def get(self, path: str, *, address: str = CLIENT, microseconds: bool = False) -> RestAnswer:
        return self.rest.answer(Request(f"/api/v3/{path}", address, microseconds), now=0.0)

    def ids(self, path: str) -> list[int]:
        answer = self.get(path)
        assert answer.status == 200, answer
        return [trade["id"] for trade in answer.content]


def test_ping_and_time() -> None:
    exchange = Exchange()
    assert exchange.get("ping").content == {}
    assert exchange.get("time").content == {"serverTime": 1_723_161_300_500}
    in_microseconds = exchange.get("time", microseconds=True)
    assert in_microseconds.content == {"serverTime": 1_723_161_300_500_000}


def test_exchange_info_lists_the_symbols_and_the_limit() -> None:
    content = Exchange().get("exchangeInfo").content
    assert [each["symbol"] for each in content["symbols"]] == ["BTCUSDT", "ETHUSDT"]
    first = content["symbols"][0]
    assert (first["status"], first["isSpotTradingAllowed"]) == ("TRADING", True)
    assert (first["baseAsset"], first["quoteAsset"]) == ("BTC", "USDT")
    assert content["rateLimits"] == [
        {
            "rateLimitType": "REQUEST_WEIGHT",
            "interval": "MINUTE",
            "intervalNum": 1,
            "limit": 6000,
        }
    ]


@pytest.mark.parametrize("query", ["symbol=ETHUSDT", "symbols=%5B%22ETHUSDT%22%5D"])
def test_exchange_info_of_a_symbol(query: str) -> None:
    content = Exchange().get(f"exchangeInfo?{query}").content
    assert [each["symbol"] for each in content["symbols"]] == ["ETHUSDT"]


@pytest.mark.parametrize(
    ("symbol", "assets"),
    [("ETHBTC", ("ETH", "BTC")), ("BNBFDUSD", ("BNB", "FDUSD")), ("XYZABC", ("XYZ", "ABC"))],
)
def test_assets_are_derived_from_the_name(symbol: str, assets: tuple[str, str]) -> None:
    info = symbol_info(symbol, "TRADING")
    assert (info["baseAsset"], info["quoteAsset"]) == assets


def test_a_trade_has_the_format_of_binance() -> None:
    assert Exchange().get("historicalTrades?symbol=BTCUSDT&fromId=101&limit=1").content == [
        {
            "id": 101,
            "price": "61837.01000000",
            "qty": "0.02000000",
            "quoteQty": "1236.74020000",
            "time": 1_723_161_255_010,
            "isBuyerMaker": False,
            "isBestMatch": True,
        }
    ]


def test_times_may_be_microseconds() -> None:
    answer = Exchange().get("trades?symbol=BTCUSDT&limit=1", microseconds=True)
    assert answer.content[0]["time"] == 1_723_161_279_990_000


@pytest.mark.parametrize(
    ("number", "text"),
    [("61837.63", "61837.63000000"), ("1", "1.00000000"), ("0.0000000012", "0.0000000012")],
)
def test_numbers_have_eight_decimals_and_are_never_rounded(number: str, text: str) -> None:
    assert decimal(Decimal(number)) == text


@pytest.mark.parametrize(
    ("query", "first", "last"),
    [
        ("historicalTrades?symbol=BTCUSDT&fromId=100", 100, 599),
        ("historicalTrades?symbol=BTCUSDT&fromId=1050&limit=1000", 1050, 2049),
        ("historicalTrades?symbol=BTCUSDT&fromId=0&limit=5000", 100, 1099),
        ("historicalTrades?symbol=BTCUSDT&fromId=2595&limit=10", 2595, 2599),
        ("historicalTrades?symbol=BTCUSDT&limit=10", 2590, 2599),
        ("trades?symbol=BTCUSDT", 2100, 2599),
        ("trades?symbol=BTCUSDT&limit=1000", 1600, 2599),
    ],
)
def test_a_query_returns_its_page_of_trades(query: str, first: int, last: int) -> None:
    assert Exchange().ids(query) == list(range(first, last + 1))


def test_future_trades_are_not_served() -> None:
    exchange = Exchange()
    assert exchange.ids("historicalTrades?symbol=BTCUSDT&fromId=2600") == []
    assert exchange.ids("historicalTrades?symbol=ETHUSDT&fromId=0") == []


@pytest.mark.parametrize(
    ("query", "code", "words"),
    [
        ("trades", -1102, "Mandatory parameter 'symbol'"),
        ("trades?symbol=", -1102, "Mandatory parameter 'symbol'"),
        ("trades?symbol=btcusdt", -1100, "Illegal characters found in parameter 'symbol'"),
        ("trades?symbol=NOPE", -1121, "Invalid symbol."),
        ("trades?symbol=BTCUSDT&limit=ten", -1100, "parameter 'limit'"),
        ("trades?symbol=BTCUSDT&limit=0", -1130, "parameter 'limit'"),
        ("trades?symbol=BTCUSDT&fromId=1", -1104, "read '1' parameter(s) but was sent '2'"),
        ("trades?symbol=BTCUSDT&symbol=ETHUSDT", -1101, "Duplicate values"),
        ("historicalTrades?symbol=BTCUSDT&fromId=-1", -1100, "parameter 'fromId'"),
        ("exchangeInfo?symbol=NOPE", -1121, "Invalid symbol."),
        ("exchangeInfo?symbols=BTCUSDT", -1100, "parameter 'symbols'"),
        ("exchangeInfo?symbols=%5B1%5D", -1100, "parameter 'symbol'"),
    ],
)
def test_bad_requests_are_refused_with_binances_codes(query: str, code: int, words: str) -> None:
    answer = Exchange().get(query)
    assert (answer.status, answer.content["code"]) == (400, code)
    assert words in answer.content["msg"]


def test_an_unknown_path_is_not_found() -> None:
    exchange = Exchange()
    answer = exchange.rest.answer(Request("/nowhere", CLIENT), now=0.0)
    assert answer.status == 404


@pytest.mark.parametrize(
    ("path", "weight"),
    [
        ("ping", 1),
        ("time", 1),
        ("exchangeInfo", 20),
        ("trades?symbol=BTCUSDT", 25),
        ("historicalTrades?symbol=BTCUSDT&fromId=0", 25),
        ("trades?symbol=NOPE", 25),
    ],
)
def test_each_call_has_the_weight_of_binance(path: str, weight: int) -> None:
    assert Exchange().get(path).headers["X-MBX-USED-WEIGHT-1M"] == str(weight)


def test_the_weight_of_an_address_is_limited_then_it_is_banned() -> None:
    exchange = Exchange(weight=50, refusals=1)
    answers = [exchange.get("trades?symbol=BTCUSDT") for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 429, 418]
    refused, banned = answers[2:]
    assert refused.headers["Retry-After"] == "60"  # 59.5 s until the minute is over
    assert banned.headers["Retry-After"] == "120"
    assert {each.content["code"] for each in (refused, banned)} == {-1003}
    assert "IP banned until 1723161420500" in banned.content["msg"]
    assert exchange.get("ping").status == 418
    assert exchange.get("ping", address="127.0.0.2").status == 200


@pytest.mark.parametrize(
    ("fault", "status", "retry_after"),
    [
        (Fault("rest_429", count=1, seconds=7), 429, "7"),
        (Fault("rest_418", count=1), 418, "60"),
        (Fault("rest_error", count=1), 500, None),
        (Fault("rest_error", count=1, status=503), 503, None),
    ],
)
def test_requested_failures_are_returned(
    fault: Fault, status: int, retry_after: str | None
) -> None:
    exchange = Exchange()
    exchange.faults.begin(fault, now=0.0)
    answer = exchange.get("ping")
    assert (answer.status, answer.headers.get("Retry-After")) == (status, retry_after)
    assert exchange.get("ping").status == 200


def test_gaps_are_left_out_and_the_page_is_filled_behind_them() -> None:
    exchange = Exchange()
    exchange.faults.begin(Fault("rest_gap", symbol="BTCUSDT", first=102, last=2000), now=0.0)
    query = "historicalTrades?symbol=BTCUSDT&limit=4"
    assert exchange.ids(f"{query}&fromId=100") == [100, 101, 2001, 2002]
    assert exchange.ids("trades?symbol=BTCUSDT&limit=600") == [101, *range(2001, 2600)]
    exchange.faults.lift()
    assert exchange.ids(f"{query}&fromId=100") == [100, 101, 102, 103]


def test_the_api_is_served_over_http() -> None:
    with LocalExchange(make_trades(3), wait_for=0) as exchange:
        assert exchange.wait_finished(PATIENCE)
        url = f"{exchange.rest_url}/api/v3"
        answer = get(f"{url}/historicalTrades?symbol=BTCUSDT&fromId=101")
        assert [trade["id"] for trade in answer.json()] == [101, 102]
        assert answer.headers["X-MBX-USED-WEIGHT-1M"] == "25"
        micro = get(f"{url}/trades?symbol=BTCUSDT&limit=1", **{"X-MBX-TIME-UNIT": "MICROSECOND"})
        assert micro.json()[0]["time"] == make_trades(3)[-1].time * 1000
        bad = get(f"{url}/trades?symbol=NOPE")
        assert (bad.status, bad.json()) == (400, {"code": -1121, "msg": "Invalid symbol."})
