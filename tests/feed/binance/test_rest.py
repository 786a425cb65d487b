"""REST with a real server on loopback, and a clock that advances only when something sleeps."""

import json
import threading
from collections.abc import Callable, Collection, Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from mcloud import http
from mcloud.errors import ConfigError, Refused, Throttled, Unavailable, UsageError
from mcloud.feed.binance.budget import WeightBudget
from mcloud.feed.binance.endpoints import endpoints
from mcloud.feed.binance.listings import WantedListing
from mcloud.feed.binance.rest import LONGEST_BAN, PATIENCE, BinanceRest
from mcloud.market.trade import MAX_TIME, Trade

from .clock import Clock

Answer = tuple[int, dict[str, str], bytes]


class Api:
    """Gives its answers in turn, and then trades by id. It records the requests and their times."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.url = ""
        self.answers: list[Answer] = []
        self.asked: list[tuple[float, str, dict[str, str]]] = []
        self.headers: dict[str, str] = {}

    def will_answer(self, status: int, body: object = b"", **headers: object) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): str(value) for name, value in headers.items()}
        self.answers.append((status, named, content))

    def answer(self, target: str) -> Answer:
        url = urlsplit(target)
        parameters = {name: values[0] for name, values in parse_qs(url.query).items()}
        self.asked.append((self.clock.now, url.path, parameters))
        if self.answers:
            return self.answers.pop(0)
        limit = int(parameters["limit"])
        first = int(parameters.get("fromId", 10_001 - limit))
        rows = [row(id_) for id_ in range(first, min(first + limit, 10_001))]
        return 200, {}, json.dumps(rows).encode()

    def rest(self, name: str = "binance", **options: Any) -> BinanceRest:
        chosen = endpoints(name)
        return BinanceRest(
            chosen,
            clock=self.clock,
            wall=lambda: 1_620_286_000.0,
            sleep=self.clock.sleep,
            client=_Redirected(self.url),
            **options,
        )


class _Redirected(http.HttpClient):
    """A client whose requests to an exchange go to the server on loopback."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def ask(self, method: str, url: str, limit: http.HttpLimit, **options: Any) -> http.HttpAnswer:
        return super().ask(method, self._url + urlsplit(url).path, limit, **options)


def row(id_: int) -> dict[str, object]:
    return {
        "id": id_,
        "price": "4.00000100",
        "qty": "12.00000000",
        "quoteQty": "48.000012",
        "time": 1499865549590,
        "isBuyerMaker": True,
        "isBestMatch": True,
    }


@pytest.fixture
def api() -> Iterator[Api]:
    api = Api()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            api.headers = dict(self.headers)
            status, headers, body = api.answer(self.path)
            self.send_response_only(status)  # without a date
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    api.url = f"http://127.0.0.1:{server.server_port}"
    yield api
    server.shutdown()
    thread.join()
    server.server_close()


def test_trades_are_fetched_by_id(api: Api) -> None:
    trades = api.rest().trades_from("BTCUSDT", 501, 3)
    price, quantity = Decimal("4.000001"), Decimal(12)
    assert trades == [
        Trade("BTCUSDT", id_, price, quantity, 1499865549590, True) for id_ in (501, 502, 503)
    ]
    assert api.asked == [
        (500.0, "/api/v3/historicalTrades", {"symbol": "BTCUSDT", "fromId": "501", "limit": "3"})
    ]


def test_no_request_exceeds_the_size_of_a_page(api: Api) -> None:
    assert len(api.rest().trades_from("BTCUSDT", 1, 5000)) == 1000
    futures = api.rest("binance-futures", api_key="k")
    assert len(futures.trades_from("BTCUSDT.um", 1, 5000)) == 500
    assert api.asked[1][2]["symbol"] == "BTCUSDT"
    assert api.asked[1][1] == "/fapi/v1/historicalTrades"


def test_without_history_only_the_newest_trades_are_searched(api: Api) -> None:
    rest = api.rest("binance-data")
    assert [trade.id for trade in rest.trades_from("BTCUSDT", 9998, 2)] == [9998, 9999]
    assert [trade.id for trade in rest.trades_from("BTCUSDT", 5, 2)] == [9001, 9002]
    assert {path for _, path, _ in api.asked} == {"/api/v3/trades"}


def test_the_newest_id_is_fetched(api: Api) -> None:
    assert api.rest().latest_id("BTCUSDT") == 10_000
    api.will_answer(200, [])
    assert api.rest().latest_id("NEWUSDT") is None


def test_a_row_that_is_no_trade_stays_missing(api: Api) -> None:
    api.will_answer(200, [row(1), row(2) | {"price": "NaN"}, {}, None, row(3)])
    assert [trade.id for trade in api.rest().trades_from("BTCUSDT", 1, 5)] == [1, 3]


def test_microseconds_become_milliseconds(api: Api) -> None:
    api.will_answer(200, [row(1) | {"time": 1735689600010866}])
    assert api.rest().trades_from("BTCUSDT", 1, 1)[0].time == 1735689600010


INFO = {
    "rateLimits": [
        {"rateLimitType": kind, "interval": "MINUTE", "intervalNum": 1, "limit": limit}
        for kind, limit in (("ORDERS", 9), ("REQUEST_WEIGHT", 50))
    ],
    "symbols": [
        {"symbol": symbol, "status": status, "quoteAsset": quote, "isSpotTradingAllowed": spot}
        for symbol, status, quote, spot in (
            ("ETHUSDT", "TRADING", "USDT", True),
            ("BTCUSDT", "TRADING", "USDT", True),
            ("LUNAUSDT", "BREAK", "USDT", True),
            ("MARGINUSDT", "TRADING", "USDT", False),
            ("BTCEUR", "TRADING", "EUR", True),
        )
    ],
}


def test_all_symbols_of_a_quote_asset(api: Api) -> None:
    api.will_answer(200, INFO)
    rest = api.rest()
    listing = rest.listing()
    assert WantedListing(quote_asset="USDT").statuses(listing) == {
        "BTCUSDT": "TRADING",
        "ETHUSDT": "TRADING",
        "LUNAUSDT": "BREAK",
        "MARGINUSDT": "no spot trading",
    }
    rest.check_quote_asset("USDT", listing)
    with pytest.raises(UsageError, match="did you mean 'USDT'"):
        rest.check_quote_asset("USTD", listing)


def test_symbols_are_checked(api: Api) -> None:
    api.will_answer(200, INFO)
    rest = api.rest()
    listing = rest.listing()
    assert rest.check(["BTCUSDT"], listing) == ()
    assert rest.check(["LUNAUSDT"], listing) == ("LUNAUSDT is not trading now (BREAK)",)
    with pytest.raises(UsageError, match="no symbol BTCUSTD; did you mean 'BTCUSDT'"):
        rest.check(["ETHUSDT", "BTCUSTD"], listing)


def test_the_list_of_symbols_waits_for_nothing_in_the_background(api: Api) -> None:
    """It has its real weight, and does not use the share of other requests."""
    budget = WeightBudget(100, clock=api.clock)
    rest = api.rest(budget=budget)
    api.will_answer(200, INFO | {"rateLimits": []})
    assert rest.listing(background=True)
    begun = api.clock()
    with pytest.raises(Throttled):
        rest.listing(background=True)
    assert api.clock() == begun
    assert len(api.asked) == 1
    assert budget.ask(70) == 0, "the list weighs more than 20"
    assert budget.ask(1) > 0


def test_the_limit_is_learned_from_the_exchange(api: Api) -> None:
    budget = WeightBudget(6000, clock=api.clock)
    rest = api.rest(budget=budget)
    api.will_answer(200, INFO)
    rest.listing()
    rest.latest_id("BTCUSDT")
    assert budget.ask(1) > 0


def test_the_budget_is_waited_for(api: Api) -> None:
    rest = api.rest(budget=WeightBudget(100, clock=api.clock))
    for _ in range(7):
        rest.trades_from("BTCUSDT", 1, 1)
    times = [when for when, _, _ in api.asked]
    assert times == [500, 500, 500, 570, 570, 570, 640]


def test_the_usage_of_other_programs_is_learned(api: Api) -> None:
    rest = api.rest()
    api.will_answer(200, [], X_MBX_USED_WEIGHT_1M=5399)
    rest.latest_id("BTCUSDT")
    rest.latest_id("BTCUSDT")
    assert [when for when, _, _ in api.asked] == [500, 560]


@pytest.mark.parametrize("status", [429, 418])
def test_retry_after_is_obeyed(api: Api, status: int) -> None:
    api.will_answer(status, {"code": -1003, "msg": "Too many requests."}, Retry_After=17)
    assert len(api.rest().trades_from("BTCUSDT", 1, 10)) == 10
    assert [when for when, _, _ in api.asked] == [500, 517]


def test_a_429_without_a_time_waits_a_minute(api: Api) -> None:
    api.will_answer(429)
    assert api.rest().latest_id("BTCUSDT") == 10_000
    assert [when for when, _, _ in api.asked] == [500, 560]


@pytest.mark.parametrize(
    ("body", "headers", "seconds"),
    [
        ({"code": -1003, "msg": "banned"}, {"Retry-After": 259_200}, 259_200),
        ({"code": -1003, "msg": "IP banned until 1620286253180. Stop."}, {}, 253.18),
        (  # by the exchange's clock; ours is 80 s behind
            {"code": -1003, "msg": "IP banned until 1620286253180. Stop."},
            {"Date": "Thu, 06 May 2021 07:28:00 GMT"},
            173.18,
        ),
        (b"teapot", {}, 120),
    ],
)
def test_a_ban_is_reported_and_obeyed(
    api: Api, body: object, headers: dict[str, object], seconds: float
) -> None:
    rest = api.rest()
    api.will_answer(418, body, **headers)
    with pytest.raises(Throttled) as raised:
        rest.latest_id("BTCUSDT")
    assert raised.value.retry_after == pytest.approx(seconds)
    with pytest.raises(Throttled):
        rest.trades_from("BTCUSDT", 1, 1)
    assert len(api.asked) == 1
    api.clock.now += seconds
    assert rest.latest_id("BTCUSDT") == 10_000


def test_endless_429s_end_in_an_error(api: Api) -> None:
    for _ in range(100):
        api.will_answer(429, Retry_After=10)
    with pytest.raises(Throttled):
        api.rest().latest_id("BTCUSDT")
    assert api.clock.now <= 500 + PATIENCE


@pytest.mark.parametrize(
    "prepare",
    [
        lambda api: api.will_answer(503, b"<html>busy</html>"),
        lambda api: api.will_answer(500, {"code": -1000, "msg": "unknown"}),
        lambda api: api.will_answer(200, b"<html>"),
        lambda api: api.will_answer(200, {"not": "a list"}),
        lambda api: setattr(api, "url", "http://127.0.0.1:1"),
    ],
)
def test_transient_answers_raise_unavailable(api: Api, prepare: Callable[[Api], None]) -> None:
    prepare(api)
    with pytest.raises(Unavailable) as raised:
        api.rest().latest_id("BTCUSDT")
    assert not isinstance(raised.value, Throttled)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("\xb2", 60),
        ("-4", 60),
        ("soon", 60),
        ("0", 1),
        ("9" * 18, LONGEST_BAN),
        ("Fri, 01 Jan 2100 00:00:00 GMT", LONGEST_BAN),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 1),
    ],
)
def test_a_requested_wait_is_limited(api: Api, said: str, seconds: float) -> None:
    api.will_answer(429, {"code": -1003, "msg": "Too many requests."}, Retry_After=said)
    rest = api.rest()
    if seconds > PATIENCE:
        with pytest.raises(Throttled) as raised:
            rest.latest_id("BTCUSDT")
        assert raised.value.retry_after == pytest.approx(seconds)
    else:
        rest.latest_id("BTCUSDT")
        assert api.asked[1][0] - api.asked[0][0] == pytest.approx(seconds)


def test_an_error_names_the_server_and_no_python_object(api: Api) -> None:
    api.url = "http://127.0.0.1:1"
    with pytest.raises(Unavailable) as raised:
        api.rest().latest_id("BTCUSDT")
    assert " does not answer: [Errno 111] Connection refused; " in str(raised.value)


def test_nonsense_in_place_of_the_symbols(api: Api) -> None:
    for body in ([], {"symbols": [1]}, {"symbols": [], "rateLimits": [{}]}):
        api.will_answer(200, body)
        with pytest.raises(Unavailable):
            api.rest().listing()


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (400, {"code": -1121, "msg": "Invalid symbol."}, "no symbol BTCUSDT; check --symbols"),
        (401, {"code": -2014, "msg": "API-key format invalid."}, "API key"),
        (403, b"<html>WAF</html>", "API key"),
        (451, {"code": 0, "msg": "restricted location"}, "use another --exchange"),
        (404, b"", "check --exchange and --rest-url"),
    ],
)
def test_permanent_refusals_raise_refused(api: Api, status: int, body: object, words: str) -> None:
    api.will_answer(status, body)
    with pytest.raises(Refused, match=words):
        api.rest().trades_from("BTCUSDT", 1, 1)


def test_the_key_is_sent_if_it_is_configured(api: Api) -> None:
    api.rest().latest_id("BTCUSDT")
    assert "X-MBX-APIKEY" not in api.headers
    api.rest(api_key="k3y").latest_id("BTCUSDT")
    assert api.headers["X-MBX-APIKEY"] == "k3y"


def test_an_invalid_proxy_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "socks5://me:secret@proxy.example:1080")
    with pytest.raises(ConfigError, match="https_proxy is not the URL of a proxy") as caught:
        BinanceRest(endpoints("binance")).latest_id("BTCUSDT")
    assert "secret" not in str(caught.value)


def test_background_requests_do_not_delay_others(api: Api) -> None:
    """It has a share of the budget, and all of the rest is available for repair."""
    budget = WeightBudget(1_000, clock=api.clock, margin=0)
    rest = api.rest(budget=budget)
    for _ in range(10):
        assert rest.latest_id("BTCUSDT", background=True) == 10_000
    begun = api.clock.now
    with pytest.raises(Throttled, match="accepts no requests now"):
        rest.latest_id("BTCUSDT", background=True)
    for _ in range(30):
        rest.trades_from("BTCUSDT", 1, 1)
    assert api.clock.now == begun
    assert len(api.asked) == 40
    api.will_answer(429, Retry_After=1)
    api.clock.now += 100
    begun = api.clock.now
    with pytest.raises(Throttled):
        rest.latest_id("BTCUSDT", background=True)
    assert api.clock.now == begun


KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"


@pytest.mark.parametrize(
    "url",
    ["https://example.com", "http://127.0.0.1:9", "http://[::1]:9", "http://localhost:9"],
)
def test_the_key_is_sent_only_over_encrypted_connections(url: str) -> None:
    BinanceRest(endpoints(rest_url=url), api_key=KEY)


@pytest.mark.parametrize(
    ("url", "key", "words"),
    [
        ("http://example.com", KEY, "would be sent to http://example.com unencrypted"),
        ("http://10.0.0.1:80", KEY, "would be sent to http://10.0.0.1:80 unencrypted"),
        ("http://localhost.example.com", KEY, "unencrypted"),
        ("http://127.0.0.1.example.com", KEY, "unencrypted"),
        ("https://example.com", f"{KEY}\r\nHost: x", "is not an API key"),
        ("https://example.com", f"{KEY} ", "is not an API key"),
        ("https://example.com", "schlüssel", "is not an API key"),
    ],
)
def test_an_invalid_or_unprotected_key_is_refused_and_not_shown(
    url: str, key: str, words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        BinanceRest(endpoints(rest_url=url), api_key=key)
    assert words in str(caught.value)
    assert str(caught.value).startswith("MCLOUD_BINANCE_API_KEY ")
    assert key.strip() not in str(caught.value)


def test_a_key_is_not_sent_to_the_target_of_a_redirect(api: Api) -> None:
    api.will_answer(302, Location=f"{api.url}/elsewhere")
    with pytest.raises(Refused):
        api.rest(api_key=KEY).latest_id("BTCUSDT")
    assert len(api.asked) == 1


def aggregates(api: Api, *, per: int, voids: Collection[int], newest: int) -> None:
    """Make the exchange aggregate ``per`` ids each, without void ids."""
    used = [id_ for id_ in range(1, newest + 1) if id_ not in voids]
    rows: list[dict[str, object]] = []
    for id_ in used:
        if rows and rows[-1]["l"] == id_ - 1 and (id_ - 1) % per:
            rows[-1]["l"] = id_
        else:
            rows.append({"a": len(rows) + 1, "f": id_, "l": id_, "T": 1_700_000_000_000 + id_})
    plain = api.answer

    def answer(target: str) -> Answer:
        url = urlsplit(target)
        parameters = {name: values[0] for name, values in parse_qs(url.query).items()}
        limit = int(parameters.get("limit", 0))
        if url.path.endswith("/trades"):
            api.asked.append((api.clock.now, url.path, parameters))
            return 200, {}, json.dumps([row(id_) for id_ in used[-limit:]]).encode()
        if not url.path.endswith("/aggTrades"):
            return plain(target)
        api.asked.append((api.clock.now, url.path, parameters))
        begin = int(parameters.get("fromId", len(rows) - limit + 1))
        return 200, {}, json.dumps([r for r in rows if r["a"] >= begin][:limit]).encode()

    api.answer = answer  # type: ignore[method-assign]


@pytest.mark.parametrize("first", [5_003, 77_777, 200_000, 399_000])
def test_without_a_key_aggregates_show_which_ids_are_void(api: Api, first: int) -> None:
    voids = {5_003, 77_777, 200_000, 200_001, 399_000}
    aggregates(api, per=4, voids=voids, newest=400_000)
    rest = api.rest("binance-futures")
    answer = rest.search("BTCUSDT.um", first, first + 2, 10)
    found = answer.voids("BTCUSDT.um", first, first + 2, 2**50)
    assert {each.id for each in found} == voids & set(range(first, first + 3))
    assert all(each.is_void and each.symbol == "BTCUSDT.um" for each in found)
    # The others are trades, and those that are not among the newest cannot be fetched.
    assert answer.used(first, first + 2) == 3 - len(found)
    wanted = {each.id for each in answer.trades} & set(range(first, first + 3))
    assert wanted == ({399_001, 399_002} if first == 399_000 else set())
    assert len(api.asked) <= 6
    assert {path for _, path, _ in api.asked} <= {"/fapi/v1/trades", "/fapi/v1/aggTrades"}
    assert all(parameters["symbol"] == "BTCUSDT" for _, _, parameters in api.asked)


def test_with_a_key_an_answer_reaches_around_the_range(api: Api) -> None:
    answer = api.rest("binance-futures", api_key="k").search("BTCUSDT.um", 500, 501, 10)
    assert [each.id for each in answer.trades] == list(range(490, 512))


@pytest.mark.parametrize(
    ("exchange", "symbol"),
    [
        ("binance", "BTCUSDT.um"),
        ("binance-futures", "BTCUSDT"),
        ("binance-futures", "BTCUSD_PERP.cm"),
        ("binance-coin-futures", "BTCUSDT.um"),
    ],
)
def test_a_symbol_of_another_market_is_not_requested(api: Api, exchange: str, symbol: str) -> None:
    rest = api.rest(exchange, api_key="k")
    for ask in (
        lambda: rest.trades_from(symbol, 1, 5),
        lambda: rest.search(symbol, 1, 5, 0),
        lambda: rest.latest_id(symbol),
    ):
        with pytest.raises(Refused, match=f"{symbol} is not traded at {exchange}"):
            ask()
    assert api.asked == []


def test_the_symbols_of_futures_carry_their_market(api: Api) -> None:
    listed = [
        {"symbol": "BTCUSD_PERP", "quoteAsset": "USD", "contractStatus": "TRADING"},
        {"symbol": "BTCUSD_250926", "quoteAsset": "USD", "contractStatus": "PENDING_TRADING"},
    ]
    rest = api.rest("binance-coin-futures")
    api.will_answer(200, {"symbols": listed})
    listing = rest.listing()
    assert list(listing) == ["BTCUSD_PERP.cm", "BTCUSD_250926.cm"]
    assert rest.check(list(listing), listing) == (
        "BTCUSD_250926.cm is not trading now (PENDING_TRADING)",
    )
    assert {path for _, path, _ in api.asked} == {"/dapi/v1/exchangeInfo"}


def test_the_id_of_a_row_that_cannot_be_read_is_not_void(api: Api) -> None:
    """The exchange has the trade, so its id stays missing, and this is reported."""
    strange = row(3) | {"price": "1.1234567890123456"}
    api.will_answer(200, [row(1), strange, row(5)])
    answer = api.rest().search("BTCUSDT", 2, 4, 1)
    assert [trade.id for trade in answer.trades] == [1, 5]
    voids = answer.voids("BTCUSDT", 2, 4, MAX_TIME)
    assert [void.id for void in voids] == [2, 4]
