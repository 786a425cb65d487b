"""The addresses of the exchanges, and the differences between them."""

from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from mcloud.config import unknown
from mcloud.errors import UsageError
from mcloud.market.trade import COIN_M, SPOT, USD_M, check_symbol, in_market, split_market

DEFAULT = "binance"

API_KEY = "MCLOUD_BINANCE_API_KEY"
"""Variable with the API key. The key is sent, and never shown, logged or stored."""


@dataclass(frozen=True)
class Endpoints:
    """Addresses, REST weights and limits of an exchange.

    Spot: https://developers.binance.com/docs/binance-spot-api-docs
    """

    name: str
    ws_url: str
    """URL before ``/stream?streams=…``."""
    rest_url: str
    api: str = "/api/v3"
    market: str = SPOT
    """Market of all of its symbols; see ``mcloud.market.trade``."""
    has_history: bool = True
    """Whether it has ``historicalTrades``, which repair by id needs. Without it only the newest
    ``recent_page`` trades of a symbol can be fetched: the last half minute at 30 trades/s."""
    needs_key: bool = False
    """Whether ``historicalTrades`` needs an API key."""
    page: int = 1000
    """Maximum number of trades in an answer of ``historicalTrades``."""
    recent_page: int = 1000
    """Maximum number of trades in an answer of ``trades``."""
    history_weight: int = 25
    aggregates_weight: int = 4
    recent_weight: int = 25
    info_weight: int = 20
    weight_limit: int = 6000
    """Weight per minute and IP address, until ``exchangeInfo`` gives the current limit."""
    ping_interval: float = 20.0
    """Seconds between two pings of the server."""
    venue: str = DEFAULT
    """The exchange on which the trades are made. Venues use one symbol for different trades."""

    @property
    def history_path(self) -> str:
        return f"{self.api}/historicalTrades"

    @property
    def recent_path(self) -> str:
        return f"{self.api}/trades"

    @property
    def aggregates_path(self) -> str:
        return f"{self.api}/aggTrades"

    @property
    def info_path(self) -> str:
        return f"{self.api}/exchangeInfo"

    def symbol(self, text: str) -> str:
        """Return the symbol for ``BTCUSDT`` or ``BTCUSDT.um`` at this exchange.

        Raises:
            BadTrade: it is not a valid symbol.
            UsageError: it belongs to another market.
        """
        name, market = split_market(check_symbol(text))
        symbol = in_market(name, self.market)
        if "." in text and market != self.market:
            others = [each.name for each in KNOWN.values() if each.market == market]
            raise UsageError(
                f"{text} is not traded at {self.name}",
                remedy=f"use --source {others[0]}, or symbols without .{market}",
            )
        return symbol


_SPOT = Endpoints(DEFAULT, "wss://stream.binance.com:9443", "https://api.binance.com")

# Weights of binance.com, which are at least as high as the true ones. The limit was 1,200, and an
# increase to 6,000 has been announced. https://docs.binance.us
_US = replace(
    _SPOT,
    name="binance-us",
    ws_url="wss://stream.binance.us:9443",
    rest_url="https://api.binance.us",
    venue="binance-us",
    weight_limit=1200,
    ping_interval=180.0,
)

# It needs no key and can be reached where the others cannot. It has trades and aggTrades but
# no historicalTrades. `--rest-url https://api.binance.com` enables repair by id.
# https://developers.binance.com/docs/binance-spot-api-docs/faqs/market_data_only
_DATA = replace(
    _SPOT,
    name="binance-data",
    ws_url="wss://data-stream.binance.vision",
    rest_url="https://data-api.binance.vision",
    has_history=False,
)

# USDⓈ-M futures. Since 2026-04-23 the streams are divided among /public, /market and /private. A
# stream on the wrong route is accepted but delivers nothing. The undocumented `@trade` is on
# /public. historicalTrades needs an API key (X-MBX-APIKEY) and returns 500 trades per page, none
# older than some months. It omits the ids that the stream marks as no market trades.
# https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams
_FUTURES = Endpoints(
    "binance-futures",
    "wss://fstream.binance.com/public",
    "https://fapi.binance.com",
    api="/fapi/v1",
    market=USD_M,
    needs_key=True,
    page=500,
    history_weight=20,
    aggregates_weight=20,
    recent_weight=5,
    info_weight=1,
    weight_limit=2400,
    ping_interval=180.0,
)

# COIN-M futures have the same properties.
# https://developers.binance.com/docs/derivatives/coin-margined-futures
_COIN_FUTURES = replace(
    _FUTURES,
    name="binance-coin-futures",
    ws_url="wss://dstream.binance.com/public",
    rest_url="https://dapi.binance.com",
    api="/dapi/v1",
    market=COIN_M,
)

KNOWN = {each.name: each for each in (_SPOT, _US, _DATA, _FUTURES, _COIN_FUTURES)}


def endpoints(name: str = DEFAULT, *, ws_url: str = "", rest_url: str = "") -> Endpoints:
    """Return the exchange of that name, with its addresses replaced by given ones.

    Raises:
        UsageError: there is no such exchange, or an address is invalid.
    """
    if name not in KNOWN:
        raise unknown(
            *("exchange", name, KNOWN),
            remedy="for another server with Binance's protocol use --ws-url and --rest-url",
        )
    chosen = KNOWN[name]
    if ws_url:
        chosen = replace(chosen, ws_url=_checked("--ws-url", ws_url, ("ws", "wss")))
    if rest_url:
        # The first answer of the server shows whether it has historicalTrades.
        url = _checked("--rest-url", rest_url, ("http", "https"))
        chosen = replace(chosen, rest_url=url, has_history=True)
    return chosen


def _checked(option: str, url: str, schemes: tuple[str, ...]) -> str:
    try:
        parts = urlsplit(url)
        sound = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is not a number
        sound = False
    if not sound or parts.query or parts.fragment:
        raise UsageError(
            f"invalid {option} {url!r:.100}",
            remedy=f"use {schemes[-1]}://HOST[:PORT], without a path",
        )
    url = url.rstrip("/")
    for path in ("/stream", "/ws"):
        url = url.removesuffix(path)
    return url
