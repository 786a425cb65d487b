"""The exchange's REST API: it turns a request into an answer, without I/O.

Spot: https://developers.binance.com/docs/binance-spot-api-docs/rest-api Futures:
https://developers.binance.com/docs/derivatives
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any
from urllib.parse import parse_qsl

from mcloud.local.exchange.aggregates import Aggregate
from mcloud.local.exchange.bars import INTERVALS
from mcloud.local.exchange.faults import Faults, hides
from mcloud.local.exchange.ledger import TradeLedger
from mcloud.local.exchange.limits import AddressBudget, Limits, Verdict
from mcloud.local.exchange.markets import Market
from mcloud.local.exchange.wording import (
    describe_day,
    rest_aggregate,
    rest_book_ticker,
    rest_depth,
    rest_kline,
    rest_price,
    rest_trade,
    symbol_info,
)
from mcloud.market.trade import MAX_ID, Trade

PAGE, LONGEST_PAGE = 500, 1_000  # default and maximum number of trades, aggregates or klines
LONGEST_FUTURES_KLINES = 1_500
SPOT_DEPTHS = (100, 5_000)  # default and maximum number of levels
FUTURES_DEPTHS = (5, 10, 20, 50, 100, 500, 1_000)  # allowed numbers of levels
_MINI = (
    *("symbol", "openPrice", "highPrice", "lowPrice", "lastPrice", "volume", "quoteVolume"),
    *("openTime", "closeTime", "firstId", "lastId", "count"),
)


@dataclass(frozen=True)
class Request:
    path: str
    """Path of the request, with its query."""
    address: str
    """Address of the client. The limits apply to each address."""
    microseconds: bool = False
    """Whether the header ``X-MBX-TIME-UNIT: MICROSECOND`` is present; spot only."""
    has_key: bool = False
    """Whether the header ``X-MBX-APIKEY`` is present. Any key is accepted."""


@dataclass(frozen=True)
class RestAnswer:
    status: int
    content: Any
    """Content, sent as JSON."""
    headers: dict[str, str] = field(default_factory=dict)


class Rest:
    """Answers requests from the trades made so far.

    Args:
        symbols: returns the symbols that the exchange currently lists, with their status.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        ledger: TradeLedger,
        faults: Faults,
        limits: Limits,
        *,
        symbols: Callable[[], Mapping[str, str]],
        clock: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._faults = faults
        self._limits = limits
        self._symbols = symbols
        self._clock = clock
        self._budgets: dict[tuple[Market, str], AddressBudget] = {}

    def answer(self, request: Request, now: float) -> RestAnswer:
        """Answer one request; ``now`` is the time of the faults' clock."""
        path, _, query = request.path.partition("?")
        endpoint = ENDPOINTS.get(path)
        if endpoint is None:
            return _no_such(path)
        market = endpoint.market
        limit = self._limit(market)
        if failure := self.failure(now, limit):
            return failure
        budget = self._budgets.setdefault(
            (market, request.address), AddressBudget(self._limits, limit)
        )
        verdict = budget.spend(endpoint.weigh(dict(parse_qsl(query))), self._clock())
        if verdict.status != 200:
            return self._refuse(verdict, limit)
        if endpoint.wants_key and not request.has_key:
            error = {"code": -2014, "msg": "API-key format invalid."}
            return RestAnswer(401, error, _used(verdict))
        microseconds = request.microseconds and market is Market.SPOT
        try:
            parameters = _parse(query, endpoint.parameters)
            content = endpoint.answer(self, _Asked(market, parameters, microseconds, now))
            return RestAnswer(200, content, _used(verdict))
        except _BadRequest as bad:
            return RestAnswer(400, {"code": bad.code, "msg": str(bad)}, _used(verdict))

    def ping(self, asked: "_Asked") -> Any:
        return {}

    def time(self, asked: "_Asked") -> Any:
        return {"serverTime": int(self._clock() * (1_000_000 if asked.microseconds else 1000))}

    def exchange_info(self, asked: "_Asked") -> Any:
        statuses = self._symbols()
        limit = {"interval": "MINUTE", "intervalNum": 1, "limit": self._limit(asked.market)}
        return {
            "timezone": "UTC",
            **self.time(asked),
            "rateLimits": [{"rateLimitType": "REQUEST_WEIGHT", **limit}],
            "exchangeFilters": [],
            "symbols": [symbol_info(symbol, statuses[symbol]) for symbol in self._wanted(asked)],
        }

    def trades(self, asked: "_Asked") -> Any:
        symbol = self._listed(asked)
        limit, first_id = asked.limit(PAGE, LONGEST_PAGE), asked.number("fromId")
        gaps = self._faults.active("rest_gap", asked.now, symbol)
        tape = self._ledger.tape
        page: list[Trade]
        if gaps:  # hidden trades do not count towards the page, and may be many pages long
            since = tape.since(symbol, first_id or 0)
            visible = [trade for trade in since if not hides(gaps, trade.id, trade.id)]
            page = visible[-limit:] if first_id is None else visible[:limit]
        elif first_id is None:
            page = tape.newest(symbol, limit)
        else:
            page = tape.since(symbol, first_id, limit)
        return [rest_trade(each, microseconds=asked.microseconds) for each in page]

    def aggregates(self, asked: "_Asked") -> Any:
        symbol = self._listed(asked)
        limit, first_id = asked.limit(PAGE, LONGEST_PAGE), asked.number("fromId")
        start, end = asked.number("startTime"), asked.number("endTime")
        known = self._ledger.aggregates
        page: list[Aggregate]
        if first_id is not None:
            if start is not None or end is not None:
                raise _BadRequest(-1128, "Combination of optional parameters invalid.")
            page = known.since(symbol, first_id, limit)
        elif start is None and end is None:
            page = known.newest(symbol, limit)
        else:
            page = known.between(symbol, start, end, limit)
        gaps = self._faults.active("rest_gap", asked.now, symbol)
        return [
            rest_aggregate(each, microseconds=asked.microseconds)
            for each in page
            if not hides(gaps, each.first, each.last)
        ]

    def klines(self, asked: "_Asked") -> Any:
        symbol = self._listed(asked)
        name = asked.parameters.get("interval")
        if not name:
            raise _mandatory("interval")
        interval = INTERVALS.get(name)
        is_spot = asked.market is Market.SPOT
        if interval is None or (name == "1s" and not is_spot):
            raise _BadRequest(-1120, "Invalid interval.")
        limit = asked.limit(PAGE, LONGEST_PAGE if is_spot else LONGEST_FUTURES_KLINES)
        first, last = asked.number("startTime"), asked.number("endTime")
        return [
            rest_kline(symbol, interval, start, bar, microseconds=asked.microseconds)
            for start, bar in self._ledger.klines(symbol, interval, first, last, limit)
        ]

    def depth(self, asked: "_Asked") -> Any:
        symbol = self._listed(asked)
        if asked.market is Market.SPOT:
            limit = asked.limit(*SPOT_DEPTHS)
        else:
            limit = asked.limit(500, MAX_ID)
            if limit not in FUTURES_DEPTHS:
                raise _BadRequest(-4021, f"{limit} is not a valid depth limit.")
        return rest_depth(symbol, self._ledger.book(symbol), limit)

    def day(self, asked: "_Asked") -> Any:
        kind = asked.parameters.get("type", "FULL")
        if kind not in ("FULL", "MINI"):
            raise _BadRequest(-1139, "Invalid ticker type.")

        def describe(symbol: str) -> dict[str, Any]:
            day = self._ledger.day(symbol)
            said = describe_day(day, microseconds=asked.microseconds)
            return {name: said[name] for name in _MINI} if kind == "MINI" else said

        return self._each(asked, describe)

    def price(self, asked: "_Asked") -> Any:
        return self._each(asked, lambda symbol: rest_price(symbol, self._ledger.newest(symbol)))

    def book_ticker(self, asked: "_Asked") -> Any:
        return self._each(asked, lambda symbol: rest_book_ticker(symbol, self._ledger.book(symbol)))

    def _each(self, asked: "_Asked", describe: Callable[[str], Any]) -> Any:
        """Return a list, or one element for a single symbol. COIN-M always returns a list."""
        said = [describe(symbol) for symbol in self._wanted(asked)]
        single = "symbol" in asked.parameters and asked.market is not Market.COIN_M
        return said[0] if single else said

    def _limit(self, market: Market) -> int:
        limits = self._limits
        return limits.weight if market is Market.SPOT else limits.futures_weight

    def _all(self, market: Market) -> list[str]:
        return [symbol for symbol in self._symbols() if Market.of(symbol) is market]

    def _wanted(self, asked: "_Asked") -> list[str]:
        if "symbol" in asked.parameters:
            return [self._listed(asked)]
        if "symbols" in asked.parameters:
            names = _symbol_list(asked.parameters["symbols"])
            return [self._check(name, asked.market) for name in names]
        return self._all(asked.market)

    def _listed(self, asked: "_Asked") -> str:
        symbol = asked.parameters.get("symbol")
        if not symbol:
            raise _mandatory("symbol")
        return self._check(symbol, asked.market)

    def _check(self, name: object, market: Market) -> str:
        if not isinstance(name, str) or not re.fullmatch(_SYMBOL, name):
            raise _illegal("symbol", _LEGAL_SYMBOL)
        symbol = market.symbol(name)
        if symbol not in self._symbols():
            raise _BadRequest(-1121, "Invalid symbol.")
        return symbol

    def failure(self, now: float, limit: int = 0) -> RestAnswer | None:
        """Return the answer that a fault causes, or None.

        Args:
            limit: the request weight that is allowed per minute.
        """
        if fault := self._faults.take("rest_error", now):
            message = "An unknown error occurred while processing the request."
            return RestAnswer(fault.status or 500, {"code": -1000, "msg": message})
        for kind, status in (("rest_418", 418), ("rest_429", 429)):
            if fault := self._faults.take(kind, now):
                pause = self._limits.weight_period if fault.seconds is None else fault.seconds
                return self._refuse(Verdict(limit + 1, status, pause), limit)
        return None

    def _refuse(self, verdict: Verdict, limit: int) -> RestAnswer:
        advice = "Please use WebSocket Streams for live updates to avoid"
        if verdict.status == 418:
            until = int((self._clock() + verdict.retry_after) * 1000)
            message = f"Way too much request weight used; IP banned until {until}. {advice} bans."
        else:
            allowed = f"current limit is {limit} request weight per 1 MINUTE"
            message = f"Too much request weight used; {allowed}. {advice} polling the API."
        headers = {**_used(verdict), "Retry-After": str(ceil(verdict.retry_after))}
        return RestAnswer(verdict.status, {"code": -1003, "msg": message}, headers)


@dataclass(frozen=True)
class _Asked:
    market: Market
    parameters: Mapping[str, str]
    microseconds: bool
    now: float

    def number(self, name: str) -> int | None:
        text = self.parameters.get(name)
        if text is None:
            return None
        if not re.fullmatch(_WHOLE, text):
            raise _illegal(name, _WHOLE)
        return min(int(text), MAX_ID)

    def limit(self, usual: int, highest: int) -> int:
        limit = self.number("limit")
        if limit == 0:
            raise _BadRequest(-1130, "Data sent for parameter 'limit' is not valid.")
        return min(limit or usual, highest)


_Weight = int | Callable[[Mapping[str, str]], int]


@dataclass(frozen=True)
class _Endpoint:
    weight: _Weight
    answer: Callable[[Rest, _Asked], Any]
    parameters: tuple[str, ...] = ()
    wants_key: bool = False
    market: Market = Market.SPOT

    def weigh(self, parameters: Mapping[str, str]) -> int:
        return self.weight if isinstance(self.weight, int) else self.weight(parameters)


def _by_limit(usual: int, *steps: tuple[int, int]) -> _Weight:
    """Return the weight of the first step whose limit is not exceeded, or that of the last step."""

    def weigh(parameters: Mapping[str, str]) -> int:
        text = parameters.get("limit", "")
        limit = int(text) if re.fullmatch(_WHOLE, text) else usual
        return next((weight for most, weight in steps if limit <= most), steps[-1][1])

    return weigh


def _by_symbol(one: int, all_: int) -> _Weight:
    return lambda parameters: one if "symbol" in parameters else all_


_PAGED = ("symbol", "limit", "fromId")
_SPAN = ("symbol", "limit", "startTime", "endTime")
_SPOT = {
    "ping": _Endpoint(1, Rest.ping),
    "time": _Endpoint(1, Rest.time),
    "exchangeInfo": _Endpoint(
        20,
        Rest.exchange_info,
        ("symbol", "symbols", "permissions", "showPermissionSets", "symbolStatus"),
    ),
    "trades": _Endpoint(25, Rest.trades, ("symbol", "limit")),
    "historicalTrades": _Endpoint(25, Rest.trades, _PAGED),
    "aggTrades": _Endpoint(4, Rest.aggregates, (*_SPAN, "fromId")),
    "klines": _Endpoint(2, Rest.klines, (*_SPAN, "interval")),
    "depth": _Endpoint(
        _by_limit(100, (100, 5), (500, 25), (1_000, 50), (5_000, 250)),
        Rest.depth,
        ("symbol", "limit"),
    ),
    "ticker/24hr": _Endpoint(_by_symbol(2, 80), Rest.day, ("symbol", "symbols", "type")),
    "ticker/price": _Endpoint(_by_symbol(2, 4), Rest.price, ("symbol", "symbols")),
    "ticker/bookTicker": _Endpoint(_by_symbol(2, 4), Rest.book_ticker, ("symbol", "symbols")),
}
_FUTURES = {
    "ping": _Endpoint(1, Rest.ping),
    "time": _Endpoint(1, Rest.time),
    "exchangeInfo": _Endpoint(1, Rest.exchange_info),
    "trades": _Endpoint(5, Rest.trades, ("symbol", "limit")),
    "historicalTrades": _Endpoint(20, Rest.trades, _PAGED, wants_key=True),
    "aggTrades": _Endpoint(20, Rest.aggregates, (*_SPAN, "fromId")),
    "klines": _Endpoint(
        _by_limit(PAGE, (99, 1), (499, 2), (1_000, 5), (1_500, 10)),
        Rest.klines,
        (*_SPAN, "interval"),
    ),
    "depth": _Endpoint(
        _by_limit(500, (50, 2), (100, 5), (500, 10), (1_000, 20)), Rest.depth, ("symbol", "limit")
    ),
    "ticker/24hr": _Endpoint(_by_symbol(1, 40), Rest.day, ("symbol",)),
    "ticker/price": _Endpoint(_by_symbol(1, 2), Rest.price, ("symbol",)),
    "ticker/bookTicker": _Endpoint(_by_symbol(2, 5), Rest.book_ticker, ("symbol",)),
}
ENDPOINTS = {
    f"{market.api}/{name}": replace(endpoint, market=market)
    for market, endpoints in (
        (Market.SPOT, _SPOT),
        (Market.USD_M, _FUTURES),
        (Market.COIN_M, _FUTURES),
    )
    for name, endpoint in endpoints.items()
}
ENDPOINTS["/fapi/v2/ticker/price"] = ENDPOINTS["/fapi/v1/ticker/price"]
_APIS = re.compile("/(?:api|fapi|dapi|sapi|papi|eapi|futures)/")


def _no_such(path: str) -> RestAnswer:
    """Return an error that distinguishes Binance's other APIs from unknown paths."""
    if _APIS.match(path):
        message = (
            "This operation is not supported. The local exchange plays trades and cannot derive "
            f"{path:.60} from them."
        )
        return RestAnswer(400, {"code": -1020, "msg": message})
    return RestAnswer(404, {"code": -1000, "msg": f"There is no {path:.60} here."})


_SYMBOL = r"(?:[^\Wa-z]|[-.]){1,50}"
_LEGAL_SYMBOL = r"[\w\-._&&[^a-z]]{1,50}"
"""The pattern of a legal symbol, in the notation of Binance's messages. Names may be in any
script.
"""
_WHOLE = "[0-9]{1,20}"


class _BadRequest(Exception):
    """An error with one of Binance's codes. Codes and messages:
    https://github.com/binance/binance-spot-api-docs, errors.md.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def _illegal(name: str, legal: str) -> _BadRequest:
    return _BadRequest(
        -1100, f"Illegal characters found in parameter '{name}'; legal range is '^{legal}$'."
    )


def _mandatory(name: str) -> _BadRequest:
    return _BadRequest(
        -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
    )


def _used(verdict: Verdict) -> dict[str, str]:
    used = str(verdict.used)
    return {"X-MBX-USED-WEIGHT": used, "X-MBX-USED-WEIGHT-1M": used}


def _parse(query: str, known: Collection[str]) -> dict[str, str]:
    pairs = parse_qsl(query, keep_blank_values=True)
    parameters = dict(pairs)
    if len(parameters) < len(pairs):
        raise _BadRequest(-1101, "Duplicate values for a parameter detected.")
    read = len(parameters.keys() & set(known))
    if read < len(parameters):
        raise _BadRequest(
            -1104,
            f"Not all sent parameters were read; read '{read}' parameter(s) "
            f"but was sent '{len(parameters)}'.",
        )
    return parameters


def _symbol_list(text: str) -> list[Any]:
    try:
        symbols = json.loads(text)
    except (ValueError, RecursionError):
        symbols = None
    if not isinstance(symbols, list):
        raise _illegal("symbols", rf'\["{_LEGAL_SYMBOL}"(,"{_LEGAL_SYMBOL}"){{0,}}\]')
    return symbols
