"""Binance's REST: which symbols there are, and trades by id. Never above the weight budget."""

import ipaddress
import json
import re
import time
import urllib.request
from collections.abc import Callable, Collection, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, cast
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from mcloud.config import did_you_mean
from mcloud.errors import ConfigError, Refused, Unavailable, UsageError
from mcloud.feed.binance.budget import IN_FLIGHT, MINUTE, Budget
from mcloud.feed.binance.endpoints import API_KEY, Endpoints
from mcloud.feed.json_lines import to_milliseconds
from mcloud.market.trade import BadTrade, Trade

# Both parts together stay below what the budget allows a request to be under way.
TIMEOUT = urllib3.Timeout(connect=3.0, read=IN_FLIGHT - 3.0)

# A full minute's window always passes within it; a ban does not, and is the caller's to hear of.
PATIENCE = MINUTE + IN_FLIGHT + 5.0  # seconds

SHORTEST_BAN = 120.0  # seconds, as documented

BACKGROUND = 0.25  # of the budget, for what can wait: repair finds the rest of it free

_INVALID_SYMBOL = -1121
_BANNED_UNTIL = re.compile(r"banned until (\d{13})")


class Throttled(Unavailable):
    """The exchange takes no request before ``retry_after`` seconds have passed."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message, remedy=f"try again in {retry_after:.0f} s")
        self.retry_after = retry_after


class BinanceRest:
    """For any number of threads. Calls wait for the budget, for up to PATIENCE seconds.

    Every call raises:
        Unavailable: no answer, a timeout, a 5xx or nonsense; the caller backs off and tries again.
        Throttled: the exchange (or the budget) allows nothing for longer than PATIENCE.
        Refused: an unknown symbol, a missing API key, a place that is not served.

    Args:
        clock: seconds, such as ``time.monotonic``.
        wall: seconds since 1970; a ban is told as a time of day.
        sleep: waits for the seconds given; may raise to end the wait.
        api_key: for the exchanges whose ``historicalTrades`` wants one; nothing is signed.

    Raises (when made):
        ConfigError: the key cannot be one, or would go over the network for all to read.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        *,
        budget: Budget | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], object] = time.sleep,
        http: urllib3.PoolManager | None = None,
        api_key: str = "",
    ) -> None:
        self.endpoints = endpoints
        self._budget = budget or Budget(endpoints.weight_limit, clock=clock)
        self._clock = clock
        self._wall = wall
        self._sleep = sleep
        self._http = http or open_http(endpoints.rest_url)
        self._headers = _key_header(api_key, endpoints.rest_url) if api_key else {}

    def symbols(self, quote_asset: str) -> list[str]:
        """The symbols that trade against ``quote_asset``, such as USDT, in alphabetical order.

        Raises:
            UsageError: there are none.
        """
        listed = self._listed()
        found = sorted(
            name
            for name, each in listed.items()
            if each.get("quoteAsset") == quote_asset and _is_trading(each)
        )
        if not found:
            quotes = sorted({str(each.get("quoteAsset")) for each in listed.values()})
            raise UsageError(
                f"nothing trades against {quote_asset!r} on {self.endpoints.name}"
                + did_you_mean(quote_asset, quotes)
            )
        return found

    def check(self, symbols: Collection[str]) -> tuple[str, ...]:
        """Make sure that the exchange knows the symbols; returns a sentence for each that rests.

        Raises:
            UsageError: it does not know one.
        """
        listed = self._listed()
        unknown = [symbol for symbol in symbols if symbol not in listed]
        if unknown:
            hint = did_you_mean(unknown[0], listed)
            raise UsageError(f"{self.endpoints.name} has no symbol {', '.join(unknown)}{hint}")
        return tuple(
            f"{symbol} is not trading now ({listed[symbol].get('status')})"
            for symbol in symbols
            if not _is_trading(listed[symbol])
        )

    def trades_from(self, symbol: str, first_id: int, limit: int) -> list[Trade]:
        """The trades with ids from ``first_id`` on, ascending: ``limit``, or a page, at most.

        What is not among them is not to be had: the list may begin later, have holes or be empty.
        Without ``historicalTrades`` only the newest trades are looked through.
        """
        page = min(limit, self.endpoints.page)
        if self.endpoints.has_history:
            path, weight = self.endpoints.history_path, self.endpoints.history_weight
            parameters = {"symbol": symbol, "fromId": first_id, "limit": page}
        else:
            path, weight = self.endpoints.recent_path, self.endpoints.recent_weight
            parameters = {"symbol": symbol, "limit": self.endpoints.page}
        trades = self._trades(path, parameters, weight)
        return [trade for trade in trades if trade.id >= first_id][:page]

    def latest_id(self, symbol: str, *, background: bool = False) -> int | None:
        """The id of the newest trade; None where there never was one.

        In the ``background`` it waits for nothing: Throttled where others have the budget.
        """
        path, weight = self.endpoints.recent_path, self.endpoints.recent_weight
        trades = self._trades(path, {"symbol": symbol, "limit": 1}, weight, background)
        return trades[-1].id if trades else None

    def _trades(
        self, path: str, parameters: Mapping[str, object], weight: int, background: bool = False
    ) -> list[Trade]:
        rows = self._get(path, parameters, weight, background)
        if not isinstance(rows, list):
            raise self._nonsense(path)
        trades = (_parse(str(parameters["symbol"]), row) for row in rows)
        return sorted((trade for trade in trades if trade), key=lambda trade: trade.id)

    def _listed(self) -> dict[str, dict[str, Any]]:
        path = self.endpoints.info_path
        info = self._get(path, {}, self.endpoints.info_weight)
        try:
            for limit in info.get("rateLimits", ()):
                # Only a limit by the minute is in the budget's own measure.
                kind = limit["rateLimitType"], limit["interval"], limit["intervalNum"]
                if kind == ("REQUEST_WEIGHT", "MINUTE", 1):
                    self._budget.learn_limit(int(limit["limit"]))
            return {each["symbol"]: each for each in info["symbols"]}
        except (AttributeError, KeyError, TypeError, ValueError):
            raise self._nonsense(path) from None

    def _get(
        self, path: str, parameters: Mapping[str, object], weight: int, background: bool = False
    ) -> Any:
        deadline = self._clock() + (0 if background else PATIENCE)
        share = BACKGROUND if background else 1.0
        while True:
            self._wait_for_budget(weight, share, deadline)
            response = self._request(path, parameters)
            used = response.headers.get("X-MBX-USED-WEIGHT-1M", "")
            if used.isdigit():
                self._budget.learn_used(int(used))
            if response.status == 200:
                try:
                    return json.loads(response.data)
                except (ValueError, RecursionError):
                    raise self._nonsense(path) from None
            if response.status not in (418, 429):
                raise self._error(path, parameters, response)
            self._budget.block(self._pause(response))

    def _wait_for_budget(self, weight: int, share: float, deadline: float) -> None:
        while wait := self._budget.ask(weight, share):
            if self._clock() + wait > deadline:
                raise Throttled(f"{self.endpoints.name} takes no request now", wait)
            self._sleep(wait)

    def _request(self, path: str, parameters: Mapping[str, object]) -> urllib3.BaseHTTPResponse:
        url = self.endpoints.rest_url
        try:
            return self._http.request(
                "GET",
                url + path,
                fields={name: str(value) for name, value in parameters.items()},
                headers=self._headers,
                timeout=TIMEOUT,
                retries=False,
            )
        except HTTPError as error:
            # urllib3 puts the connection object in front of the reason.
            reason = str(error).rpartition("): ")[2]
            raise Unavailable(
                f"{url} does not answer: {reason}", remedy="`mcloud doctor` looks at the network"
            ) from None

    def _pause(self, response: urllib3.BaseHTTPResponse) -> float:
        """Seconds that a 429 or 418 asks for."""
        shortest = SHORTEST_BAN if response.status == 418 else MINUTE
        told = response.headers.get("Retry-After", "")
        if told.isdigit():
            return max(1.0, float(told))
        until = _BANNED_UNTIL.search(response.data.decode(errors="replace"))
        if not until:
            return shortest
        # By the exchange's own clock: with ours an hour behind, a ban would be an hour longer.
        date = _date(response.headers.get("Date", ""))
        return max(1.0, int(until[1]) / 1000 - (self._wall() if date is None else date))

    def _error(
        self, path: str, parameters: Mapping[str, object], response: urllib3.BaseHTTPResponse
    ) -> Unavailable | Refused:
        status, name = response.status, self.endpoints.name
        code, words = _error_body(response.data)
        said = f"{name} answered {status} to {path}" + (f": {words}" if words else "")
        if status >= 500:
            return Unavailable(said)
        if code == _INVALID_SYMBOL:
            return Refused(
                f"{name} has no symbol {parameters.get('symbol')}", remedy="check --symbols"
            )
        if status == 451:
            return Refused(said, remedy="it does not serve this place: choose another --exchange")
        if status in (401, 403):
            remedy = f"put an API key into {API_KEY}, or choose another --rest-url"
            return Refused(said, remedy=remedy)
        return Refused(said, remedy="check --exchange and --rest-url")

    def _nonsense(self, path: str) -> Unavailable:
        return Unavailable(f"{self.endpoints.name} answered {path} with something else than asked")


def _date(header: str) -> float | None:
    """Return the time of an answer, in seconds since 1970; None where it tells none."""
    try:
        return parsedate_to_datetime(header).timestamp()
    except (ValueError, TypeError):
        return None


def open_http(url: str) -> urllib3.PoolManager:
    """A connection pool, through the proxy that the environment names for ``url``, if any.

    Raises:
        ConfigError: that is none.
    """
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    # Typed as returning what the platform's function returns.
    if (
        proxy is None
        or _is_loopback(parts.hostname)
        or cast(bool, urllib.request.proxy_bypass(parts.netloc))
    ):
        return urllib3.PoolManager(maxsize=4)
    try:
        return urllib3.ProxyManager(proxy, maxsize=4)
    except (HTTPError, ValueError) as error:
        raise ConfigError(
            f"no proxy for {url}: {error}",
            remedy=f"correct {parts.scheme}_proxy: http://HOST:PORT, or unset it",
        ) from error


def _key_header(api_key: str, url: str) -> dict[str, str]:
    if not re.fullmatch("[!-~]{1,256}", api_key):
        # What was pasted in its place is not shown either.
        raise ConfigError(f"{API_KEY} is not an API key: it holds spaces, or what is not ASCII")
    parts = urlsplit(url)
    if parts.scheme != "https" and not _is_loopback(parts.hostname):
        raise ConfigError(
            f"{API_KEY} would be sent to {url} unencrypted", remedy="use https://, or unset it"
        )
    return {"X-MBX-APIKEY": api_key}


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:  # a name
        return False


def _is_trading(listed: Mapping[str, Any]) -> bool:
    # Futures say nothing of spot.
    return listed.get("status") == "TRADING" and listed.get("isSpotTradingAllowed", True) is True


def _parse(symbol: str, row: Any) -> Trade | None:
    """A trade, or None for a row that is none: its id stays missing, and is reported as such."""
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


def _error_body(body: bytes) -> tuple[int | None, str]:
    """Code and message of ``{"code":-1121,"msg":"Invalid symbol."}``."""
    try:
        error = json.loads(body)
        return error["code"], str(error["msg"])[:200]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None, body[:100].decode(errors="replace").strip()
