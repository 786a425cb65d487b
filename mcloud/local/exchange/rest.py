"""The exchange's REST side: a request in, an answer out. No I/O.

https://developers.binance.com/docs/binance-spot-api-docs/rest-api
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any
from urllib.parse import parse_qsl

from mcloud.local.exchange.faults import Faults, without_gaps
from mcloud.local.exchange.limits import Budget, Limits, Verdict
from mcloud.local.exchange.tape import Tape
from mcloud.local.exchange.wording import rest_trade, symbol_info
from mcloud.market.trade import MAX_ID, Trade

PAGE, LONGEST_PAGE = 500, 1_000  # trades


@dataclass(frozen=True)
class Request:
    path: str
    """With its query."""
    address: str
    """Of the client; the limits are by address."""
    microseconds: bool = False
    """As the header ``X-MBX-TIME-UNIT: MICROSECOND`` asks for."""


@dataclass(frozen=True)
class Answer:
    status: int
    content: Any
    """To be sent as JSON."""
    headers: dict[str, str] = field(default_factory=dict)


class Rest:
    """Answers from what has been traded so far.

    Args:
        symbols: those that the exchange lists, at the time of asking.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        tape: Tape,
        faults: Faults,
        limits: Limits,
        *,
        symbols: Callable[[], Collection[str]],
        clock: Callable[[], float],
    ) -> None:
        self._tape = tape
        self._faults = faults
        self._limits = limits
        self._symbols = symbols
        self._clock = clock
        self._budgets: dict[str, Budget] = {}

    def answer(self, request: Request, now: float) -> Answer:
        """Answer one request; ``now`` is the time of the faults' clock."""
        path, _, query = request.path.partition("?")
        endpoint = _ENDPOINTS.get(path)
        if endpoint is None:
            return Answer(404, {"code": -1000, "msg": f"There is no {path:.60} here."})
        if failure := self._fail(now):
            return failure
        budget = self._budgets.setdefault(request.address, Budget(self._limits))
        verdict = budget.spend(endpoint.weight, self._clock())
        if verdict.status != 200:
            return self._refuse(verdict)
        try:
            parameters = _parse(query, endpoint.parameters)
            content = endpoint.answer(self, _Asked(parameters, request.microseconds, now))
            return Answer(200, content, _used(verdict))
        except _BadRequest as bad:
            return Answer(400, {"code": bad.code, "msg": str(bad)}, _used(verdict))

    def ping(self, asked: "_Asked") -> Any:
        return {}

    def time(self, asked: "_Asked") -> Any:
        return {"serverTime": int(self._clock() * (1_000_000 if asked.microseconds else 1000))}

    def exchange_info(self, asked: "_Asked") -> Any:
        limit = {"interval": "MINUTE", "intervalNum": 1, "limit": self._limits.weight}
        return {
            "timezone": "UTC",
            **self.time(asked),
            "rateLimits": [{"rateLimitType": "REQUEST_WEIGHT", **limit}],
            "exchangeFilters": [],
            "symbols": [symbol_info(symbol) for symbol in self._wanted(asked)],
        }

    def trades(self, asked: "_Asked") -> Any:
        symbol = self._listed(asked.parameters.get("symbol"))
        limit, first_id = asked.number("limit"), asked.number("fromId")
        if limit == 0:
            raise _BadRequest(-1130, "Data sent for parameter 'limit' is not valid.")
        page = self._page(symbol, first_id, min(limit or PAGE, LONGEST_PAGE), asked.now)
        return [rest_trade(trade, microseconds=asked.microseconds) for trade in page]

    def _page(self, symbol: str, first_id: int | None, limit: int, now: float) -> list[Trade]:
        gaps = self._faults.active("rest_gap", now, symbol)
        if gaps:  # what is hidden does not count to the page, and may be many pages long
            visible = without_gaps(self._tape.since(symbol, first_id or 0), gaps)
            return visible[-limit:] if first_id is None else visible[:limit]
        if first_id is None:
            return self._tape.newest(symbol, limit)
        return self._tape.since(symbol, first_id, limit)

    def _wanted(self, asked: "_Asked") -> list[str]:
        if "symbol" in asked.parameters:
            return [self._listed(asked.parameters["symbol"])]
        if "symbols" in asked.parameters:
            return [self._listed(symbol) for symbol in _symbol_list(asked.parameters["symbols"])]
        return list(self._symbols())

    def _listed(self, symbol: object) -> str:
        if not symbol:
            raise _BadRequest(
                -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."
            )
        if not isinstance(symbol, str) or not re.fullmatch(_SYMBOL, symbol):
            raise _illegal("symbol", _SYMBOL)
        if symbol not in self._symbols():
            raise _BadRequest(-1121, "Invalid symbol.")
        return symbol

    def _fail(self, now: float) -> Answer | None:
        if fault := self._faults.take("rest_error", now):
            message = "An unknown error occurred while processing the request."
            return Answer(fault.status or 500, {"code": -1000, "msg": message})
        for kind, status in (("rest_418", 418), ("rest_429", 429)):
            if fault := self._faults.take(kind, now):
                pause = self._limits.weight_period if fault.seconds is None else fault.seconds
                return self._refuse(Verdict(self._limits.weight + 1, status, pause))
        return None

    def _refuse(self, verdict: Verdict) -> Answer:
        advice = "Please use WebSocket Streams for live updates to avoid"
        if verdict.status == 418:
            until = int((self._clock() + verdict.retry_after) * 1000)
            message = f"Way too much request weight used; IP banned until {until}. {advice} bans."
        else:
            limit = f"current limit is {self._limits.weight} request weight per 1 MINUTE"
            message = f"Too much request weight used; {limit}. {advice} polling the API."
        headers = {**_used(verdict), "Retry-After": str(ceil(verdict.retry_after))}
        return Answer(verdict.status, {"code": -1003, "msg": message}, headers)


@dataclass(frozen=True)
class _Asked:
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


@dataclass(frozen=True)
class _Endpoint:
    weight: int
    answer: Callable[[Rest, _Asked], Any]
    parameters: tuple[str, ...] = ()


_ENDPOINTS = {
    "/api/v3/ping": _Endpoint(1, Rest.ping),
    "/api/v3/time": _Endpoint(1, Rest.time),
    "/api/v3/exchangeInfo": _Endpoint(
        20,
        Rest.exchange_info,
        ("symbol", "symbols", "permissions", "showPermissionSets", "symbolStatus"),
    ),
    "/api/v3/trades": _Endpoint(25, Rest.trades, ("symbol", "limit")),
    "/api/v3/historicalTrades": _Endpoint(25, Rest.trades, ("symbol", "limit", "fromId")),
}

_SYMBOL = "[A-Z0-9-_.]{1,20}"
_WHOLE = "[0-9]{1,20}"


class _BadRequest(Exception):
    """Codes and messages: https://github.com/binance/binance-spot-api-docs, errors.md."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def _illegal(name: str, legal: str) -> _BadRequest:
    return _BadRequest(
        -1100, f"Illegal characters found in parameter '{name}'; legal range is '^{legal}$'."
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
        raise _illegal("symbols", r'\["[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}"){0,}\]')
    return symbols
