"""The REST API of Binance: its symbols, and trades by id, within the weight budget."""

import re
import time
from collections.abc import Callable, Collection, Mapping
from email.utils import parsedate_to_datetime
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

from mcloud import http
from mcloud.config import did_you_mean
from mcloud.errors import ConfigError, Refused, Throttled, Unavailable, UsageError
from mcloud.feed.binance.budget import IN_FLIGHT, MINUTE, WeightBudget
from mcloud.feed.binance.endpoints import API_KEY, Endpoints
from mcloud.feed.binance.listings import TRADING, ListedSymbol, Listing
from mcloud.feed.feed import HistoryAnswer, IdSpan
from mcloud.feed.json_lines import to_milliseconds
from mcloud.market.trade import (
    MAX_ID,
    MAX_TIME,
    BadTrade,
    Trade,
    check_int,
    id_count,
    in_market,
    split_market,
)

# A full window of a minute always ends within it. A ban does not, and is raised to the caller.
PATIENCE = MINUTE + IN_FLIGHT + 5.0  # seconds

# Seconds, as documented: bans last from 2 minutes to 3 days.
SHORTEST_BAN, LONGEST_BAN = 120.0, 259_200.0

# share of the budget for requests that can wait, so that the rest is left for repairs
BACKGROUND = 0.25

AGGREGATES_PAGE = 1000  # maximum number of aggregate trades in an answer
GUESSES = 8  # requests for aggregates that the search for an id may use

_INVALID_SYMBOL = -1121
_COUNT = re.compile("[0-9]{1,9}")
_BANNED_UNTIL = re.compile(r"banned until (\d{13})")


class BinanceRest:
    """A client of the REST API. It is thread-safe. Calls wait up to PATIENCE seconds for the
    budget.

    Every call raises:
        Unavailable: no answer, a timeout, a 5xx or an invalid answer. The caller retries later.
        Throttled: the exchange or the budget allows no request within PATIENCE seconds.
        Refused: an unknown symbol, a missing API key, or a location that is not served.

    Args:
        clock: seconds, such as ``time.monotonic``.
        wall: seconds since 1970; the end of a ban is given as a time of day.
        sleep: waits for the given seconds, and may raise to end the wait.
        api_key: key for exchanges whose ``historicalTrades`` needs one. Nothing is signed.

    Raises (when made):
        ConfigError: the key is invalid, or would be sent unencrypted.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        *,
        budget: WeightBudget | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], object] = time.sleep,
        client: http.HttpClient | None = None,
        api_key: str = "",
    ) -> None:
        self.endpoints = endpoints
        self.has_history = endpoints.has_history and bool(api_key or not endpoints.needs_key)
        """Whether trades can be found by id. Otherwise only the newest ones can; see ``search``."""
        self._budget = budget or WeightBudget(endpoints.weight_limit, clock=clock)
        self._clock = clock
        self._wall = wall
        self._sleep = sleep
        self._client = client or http.HttpClient()
        key = _key_header(api_key, endpoints.rest_url) if api_key else {}
        # The list of all symbols is ten times smaller with this.
        self._headers = {"Accept-Encoding": "gzip", **key}

    def check_quote_asset(self, quote_asset: str, listed: Listing) -> None:
        """Check that a symbol is quoted in ``quote_asset``, such as USDT.

        Raises:
            UsageError: there is none.
        """
        if ListedSymbol(quote_asset, TRADING) not in listed.values():
            quotes = sorted({each.quote_asset for each in listed.values()})
            raise UsageError(
                f"no symbol is quoted in {quote_asset!r} on {self.endpoints.name}"
                + did_you_mean(quote_asset, quotes)
            )

    def check(self, symbols: Collection[str], listed: Listing) -> tuple[str, ...]:
        """Check that the exchange has the symbols. Return a message for each that does not trade
        now.

        Raises:
            UsageError: the exchange does not have one of them.
        """
        unknown = [symbol for symbol in symbols if symbol not in listed]
        if unknown:
            hint = did_you_mean(unknown[0], listed)
            raise UsageError(f"{self.endpoints.name} has no symbol {', '.join(unknown)}{hint}")
        return tuple(
            f"{symbol} is not trading now ({listed[symbol].status})"
            for symbol in symbols
            if listed[symbol].status != TRADING
        )

    def trades_from(self, symbol: str, first_id: int, limit: int) -> list[Trade]:
        """Return the trades from ``first_id`` on, ascending, at most ``limit`` or a page.

        Other trades are not available: the list may start later, have holes or be empty. Without
        ``historicalTrades`` only the newest trades are searched.
        """
        page = min(limit, self.endpoints.page)
        if self.has_history:
            return self._history(symbol, first_id, page).trades
        return [trade for trade in self._recent(symbol).trades if trade.id >= first_id][:page]

    def search(
        self, symbol: str, first_id: int, last_id: int, margin: int, *, background: bool = False
    ) -> HistoryAnswer:
        """Return the exchange's data about a range of ids, and up to ``margin`` ids around it.

        Without ``historicalTrades`` the newest trades are searched, and then the aggregate trades,
        which have the first and the last id of each aggregate. They show which ids are used, but
        not the trades.

        In the ``background`` it does not wait, and raises Throttled if others use the budget.
        """
        if self.has_history:
            limit = min(id_count(first_id, last_id) + 2 * margin, self.endpoints.page)
            begin = max(0, first_id - margin)
            return self._history(symbol, begin, limit, background)
        recent = self._recent(symbol, background)
        if recent.spans and recent.spans[0].first < first_id:
            return recent
        return HistoryAnswer(recent.trades, self._aggregates_around(symbol, first_id, background))

    def _history(
        self, symbol: str, first_id: int, limit: int, background: bool = False
    ) -> HistoryAnswer:
        path, weight = self.endpoints.history_path, self.endpoints.history_weight
        answer = self._trades(
            path, symbol, {"fromId": first_id, "limit": limit}, weight, background
        )
        return HistoryAnswer(
            [trade for trade in answer.trades if trade.id >= first_id][:limit],
            [span for span in answer.spans if span.first >= first_id][:limit],
        )

    def _recent(self, symbol: str, background: bool = False) -> HistoryAnswer:
        path, weight = self.endpoints.recent_path, self.endpoints.recent_weight
        return self._trades(path, symbol, {"limit": self.endpoints.recent_page}, weight, background)

    def _aggregates_around(self, symbol: str, trade_id: int, background: bool) -> list[IdSpan]:
        """Return consecutive aggregates around a trade id, or none if they are not found.

        Aggregates have their own ids. The position of a trade id is estimated from other
        aggregates, more exactly with each request.
        """
        low, high = (0, 0), (0, 0)
        first_id, spans = self._aggregates(symbol, None, background)
        for _ in range(GUESSES):
            if not spans or spans[0].first < trade_id <= spans[-1].last:
                return spans
            if spans[-1].last < trade_id:
                low = first_id + len(spans) - 1, spans[-1].last
                if not high[0]:
                    return spans  # the newest aggregates
            else:
                high = first_id, spans[0].first
            if high[0] - low[0] <= 1:
                break
            share = (trade_id - low[1]) / max(1, high[1] - low[1])
            guess = low[0] + int(share * (high[0] - low[0])) - AGGREGATES_PAGE // 2
            first_id, spans = self._aggregates(symbol, max(0, guess), background)
        return []

    def _aggregates(
        self, symbol: str, from_id: int | None, background: bool
    ) -> tuple[int, list[IdSpan]]:
        """Return aggregates from an id on, or the newest, and the id of the first of them."""
        path = self.endpoints.aggregates_path
        parameters: dict[str, object] = {"symbol": self._name(symbol), "limit": AGGREGATES_PAGE}
        if from_id is not None:
            parameters["fromId"] = from_id
        rows = self._get(path, parameters, self.endpoints.aggregates_weight, background)
        try:
            ids = [row["a"] for row in rows]
            spans = [IdSpan(row["f"], row["l"], to_milliseconds(row["T"])) for row in rows]
            begin = ids[0] if ids else 0
            in_order = all(a.first <= a.last < b.first for a, b in pairwise(spans))
            if ids != list(range(begin, begin + len(ids))) or not in_order:
                raise ValueError("they are not consecutive")
        except (KeyError, TypeError, ValueError):
            raise self._nonsense(path) from None
        return begin, spans

    def latest_id(self, symbol: str, *, background: bool = False) -> int | None:
        """Return the id of the newest trade, or None if there is none.

        In the ``background`` it does not wait, and raises Throttled if others use the budget.
        """
        path, weight = self.endpoints.recent_path, self.endpoints.recent_weight
        trades = self._trades(path, symbol, {"limit": 1}, weight, background).trades
        return trades[-1].id if trades else None

    def _trades(
        self,
        path: str,
        symbol: str,
        parameters: Mapping[str, object],
        weight: int,
        background: bool = False,
    ) -> HistoryAnswer:
        named = {"symbol": self._name(symbol), **parameters}
        rows = self._get(path, named, weight, background)
        if not isinstance(rows, list):
            raise self._nonsense(path)
        trades = (_parse(symbol, row) for row in rows)
        return HistoryAnswer(
            sorted((trade for trade in trades if trade), key=lambda trade: trade.id),
            sorted(span for span in map(_span, rows) if span),
        )

    def _name(self, symbol: str) -> str:
        """Return the name of a symbol at the exchange. Another market may use the same name."""
        name, market = split_market(symbol)
        if market != self.endpoints.market:
            raise Refused(
                f"{symbol} is not traded at {self.endpoints.name}",
                remedy="choose another --exchange, or another name in [exchange]",
            )
        return name

    def listing(self, *, background: bool = False) -> dict[str, ListedSymbol]:
        """Return all symbols of the exchange.

        In the ``background`` it does not wait, and raises Throttled if others use the budget.
        """
        path = self.endpoints.info_path
        info = self._get(path, {}, self.endpoints.info_weight, background)
        try:
            for limit in info.get("rateLimits", ()):
                # Only a limit per minute has the unit of the budget.
                kind = limit["rateLimitType"], limit["interval"], limit["intervalNum"]
                if kind == ("REQUEST_WEIGHT", "MINUTE", 1):
                    self._budget.learn_limit(int(limit["limit"]))
            market = self.endpoints.market
            return {
                in_market(each["symbol"], market): ListedSymbol(
                    str(each.get("quoteAsset")), _status(each)
                )
                for each in info["symbols"]
            }
        except (AttributeError, KeyError, TypeError, ValueError):
            raise self._nonsense(path) from None

    def _get(
        self, path: str, parameters: Mapping[str, object], weight: int, background: bool = False
    ) -> Any:
        deadline = self._clock() + (0 if background else PATIENCE)
        share = BACKGROUND if background else 1.0
        while True:
            self._wait_for_budget(weight, share, deadline)
            answer = self._request(path, parameters)
            used = answer.headers.get("X-MBX-USED-WEIGHT-1M", "")
            if _COUNT.fullmatch(used):
                self._budget.learn_used(int(used))
            if answer.status == 200:
                if answer.cut:
                    raise Unavailable(f"{self.endpoints.name} answered {path}: {answer.cut}")
                try:
                    return answer.json()
                except Unavailable:
                    raise self._nonsense(path) from None
            if answer.status not in (418, 429):
                raise self._error(path, parameters, answer)
            self._budget.block(self._pause(answer))

    def _wait_for_budget(self, weight: int, share: float, deadline: float) -> None:
        while wait := self._budget.ask(weight, share):
            if self._clock() + wait > deadline:
                raise Throttled(f"{self.endpoints.name} accepts no requests now", wait)
            self._sleep(wait)

    def _request(self, path: str, parameters: Mapping[str, object]) -> http.HttpAnswer:
        url = self.endpoints.rest_url
        limit = http.EXCHANGE_INFO if path == self.endpoints.info_path else http.EXCHANGE
        try:
            return self._client.ask(
                "GET", url + path, limit, headers=self._headers, query=parameters
            )
        except http.NoAnswer as error:
            raise Unavailable(
                f"{url} does not answer: {error.reason}",
                remedy="run `mcloud doctor` to check the network",
            ) from None

    def _pause(self, answer: http.HttpAnswer) -> float:
        """Return the seconds that a 429 or 418 demands, limited to the documented range."""
        seconds = SHORTEST_BAN if answer.status == 418 else MINUTE
        if answer.retry_after is not None:
            seconds = answer.retry_after
        elif until := _BANNED_UNTIL.search(answer.text):
            # The end is computed with the clock of the exchange: if ours were an hour behind, a ban
            # would last an hour longer.
            date = _date(answer.headers.get("Date", ""))
            seconds = int(until[1]) / 1000 - (self._wall() if date is None else date)
        return min(max(1.0, seconds), LONGEST_BAN)

    def _error(
        self, path: str, parameters: Mapping[str, object], answer: http.HttpAnswer
    ) -> Unavailable | Refused:
        status, name = answer.status, self.endpoints.name
        code, words = _error_body(answer)
        said = f"{name} answered {status} to {path}" + (f": {words}" if words else "")
        if status >= 500:
            return Unavailable(said)
        if code == _INVALID_SYMBOL:
            return Refused(
                f"{name} has no symbol {parameters.get('symbol')}", remedy="check --symbols"
            )
        if status == 451:
            return Refused(said, remedy="it does not serve this location: use another --exchange")
        if status in (401, 403):
            remedy = f"set {API_KEY} to an API key, or choose another --rest-url"
            return Refused(said, remedy=remedy)
        return Refused(said, remedy="check --exchange and --rest-url")

    def _nonsense(self, path: str) -> Unavailable:
        return Unavailable(
            f"{self.endpoints.name} answered {path} with something that was not requested"
        )


def _date(header: str) -> float | None:
    """Return the time of an answer, in seconds since 1970, or None if it has none."""
    try:
        return parsedate_to_datetime(header).timestamp()
    except (ValueError, TypeError):
        return None


def _key_header(api_key: str, url: str) -> dict[str, str]:
    if not re.fullmatch("[!-~]{1,256}", api_key):
        # The message does not include the text, which may be another secret that was pasted by
        # mistake.
        raise ConfigError(
            f"{API_KEY} is not an API key: it has spaces or characters that are not ASCII"
        )
    parts = urlsplit(url)
    if parts.scheme != "https" and not http.is_loopback(parts.hostname):
        raise ConfigError(
            f"{API_KEY} would be sent to {url} unencrypted", remedy="use https://, or unset it"
        )
    return {"X-MBX-APIKEY": api_key}


def _status(symbol: Mapping[str, Any]) -> str:
    # The field has another name for COIN-M futures, and futures do not have that of the spot
    # market.
    status = str(symbol.get("status", symbol.get("contractStatus")))
    if status == TRADING and symbol.get("isSpotTradingAllowed", True) is not True:
        return "no spot trading"
    return status


def _span(row: Any) -> IdSpan | None:
    """Return the id of a row. If the trade cannot be read, its id still counts as used, so that it
    does not become a void.
    """
    try:
        id_, time = check_int("id", row["id"], MAX_ID), to_milliseconds(row["time"])
        return IdSpan(id_, id_, check_int("time", time, MAX_TIME))
    except (BadTrade, KeyError, TypeError):
        return None


def _parse(symbol: str, row: Any) -> Trade | None:
    """Return a trade, or None for an invalid row, whose id stays missing and is reported."""
    try:
        return Trade.from_binance(
            {
                "s": symbol,
                "t": row["id"],
                "p": row["price"],
                "q": row["qty"],
                "T": to_milliseconds(row["time"]),
                "m": row["isBuyerMaker"],
            }
        )
    except (BadTrade, KeyError, TypeError):
        return None


def _error_body(answer: http.HttpAnswer) -> tuple[int | None, str]:
    """Return the code and the message of ``{"code":-1121,"msg":"Invalid symbol."}``."""
    try:
        error = answer.document()
        return error["code"], str(error["msg"])[:200]
    except (Unavailable, KeyError):
        return None, answer.text[:100].strip()
