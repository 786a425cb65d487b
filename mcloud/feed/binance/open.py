"""Open an exchange, with the symbols that belong to this producer."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter

from mcloud.config import ExchangeConfig
from mcloud.errors import Unavailable, UsageError
from mcloud.feed.binance.endpoints import DEFAULT, Endpoints, endpoints
from mcloud.feed.binance.listings import Roster, WantedListing
from mcloud.feed.binance.rest import BinanceRest
from mcloud.feed.binance.source import LIST_EVERY, BinanceSource
from mcloud.feed.feed import VOID_AFTER, VOID_MARGIN, parse_symbols
from mcloud.feed.open import SYMBOL, FeedChoice, parse_names
from mcloud.market.shard import WHOLE, Shard
from mcloud.market.trade import COIN_M, BadTrade, Trade, trades_of

COIN_SYMBOL = "BTCUSD_PERP"


@dataclass(frozen=True)
class Live:
    """An exchange that is ready to be read."""

    endpoints: Endpoints
    feed: BinanceSource
    rest: BinanceRest
    warnings: tuple[str, ...]


def open_live(choice: FeedChoice, stop: threading.Event) -> Live:
    """Open the exchange of a choice. ``stop`` ends its waits.

    Raises:
        UsageError: the exchange, a symbol or the shard is unknown, or the API key is invalid.
        Unavailable: the exchange does not answer.
        Refused: the exchange refuses the requests.
    """
    try:
        shard = Shard.parse(choice.shard) if choice.shard else WHOLE
    except ValueError as error:
        raise UsageError(str(error)) from None
    where = endpoints(choice.exchange or DEFAULT, ws_url=choice.ws_url, rest_url=choice.rest_url)

    def pause(seconds: float) -> None:
        if stop.wait(seconds):
            raise Unavailable("the producer is stopping")

    rest = BinanceRest(where, sleep=pause, api_key=choice.api_key)
    wanted = choice.symbols or (COIN_SYMBOL if where.market == COIN_M else SYMBOL)
    for symbol in parse_names(wanted):
        if symbol != trades_of(symbol):
            raise UsageError(
                f"{symbol} is the aggregate trades of a recording, which are not read live",
                remedy=f"use {trades_of(symbol)}",
            )
    resting: tuple[str, ...] = ()
    listing = rest.listing()
    if wanted.startswith("all:"):
        follow = WantedListing(quote_asset=wanted.removeprefix("all:"), shard=shard)
        rest.check_quote_asset(follow.quote_asset, listing)
    else:
        follow = WantedListing(names=_symbols(where, parse_names(wanted)), shard=shard)
        resting = rest.check(follow.names, listing)
    roster = Roster(follow, listing)
    if not roster.symbols:
        raise UsageError("this shard has no symbols; there are more shards than symbols")
    feed = BinanceSource(
        where, roster.symbols, rest=rest, roster=roster, list_every=choice.list_every or LIST_EVERY
    )
    return Live(where, feed, rest, resting + feed.warnings)


@dataclass(frozen=True)
class ExchangeHistory:
    """The past trades of an exchange, for repairs."""

    name: str
    """Name and address of the exchange."""
    pace: float
    """Seconds between two requests that its limits allow."""
    fetch: Callable[[str, int, int], list[Trade]]
    """Returns the trades and voids of a symbol from an id on: symbol, first id, number of ids."""


def open_history(exchange: ExchangeConfig, api_key: str) -> ExchangeHistory:
    """Open the history of the configured exchange.

    Raises:
        UsageError: the exchange is unknown.
    """
    where = endpoints(exchange.name or DEFAULT, ws_url=exchange.ws_url, rest_url=exchange.rest_url)
    rest = BinanceRest(where, api_key=api_key)

    def fetch(symbol: str, first_id: int, limit: int) -> list[Trade]:
        last_id = first_id + limit - 1
        answer = rest.search(symbol, first_id, last_id, VOID_MARGIN)
        voids = answer.voids(symbol, first_id, last_id, int(time.time() * 1000) - VOID_AFTER)
        trades = [each for each in answer.trades if first_id <= each.id <= last_id]
        return sorted((*trades, *voids), key=attrgetter("id"))

    pace = where.history_weight / where.weight_limit * 60
    return ExchangeHistory(f"{where.name} ({where.rest_url})", pace, fetch)


def _symbols(where: Endpoints, names: list[str]) -> tuple[str, ...]:
    """Return the given symbols, with the market of the exchange."""
    try:
        return parse_symbols([where.symbol(name) for name in names])
    except BadTrade as error:
        raise UsageError(str(error), remedy="use symbols such as BTCUSDT") from None
