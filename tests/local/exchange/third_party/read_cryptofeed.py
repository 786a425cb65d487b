"""cryptofeed reads from the local exchange. Arguments: as those of ``read_ccxt``.

Its trades are Binance's aggregates.
"""

import asyncio
import json
import sys

from cryptofeed import FeedHandler
from cryptofeed.connection import RestEndpoint, Routes, WebsocketEndpoint
from cryptofeed.defines import CANDLES, TRADES
from cryptofeed.exchanges import Binance, BinanceDelivery, BinanceFutures

ws_url, rest_url, _, market, last_id = sys.argv[1:]
kind, symbol, api, route = {
    "spot": (Binance, "BTC-USDT", "/api/v3", ""),
    "um": (BinanceFutures, "BTC-USDT-PERP", "/fapi/v1", "/market"),
    "cm": (BinanceDelivery, "BTC-USD-PERP", "/dapi/v1", "/market"),
}[market]
kind.websocket_endpoints = [WebsocketEndpoint(f"{ws_url}{route}", options={"compression": None})]
kind.rest_endpoints = [RestEndpoint(rest_url, routes=Routes(f"{api}/exchangeInfo"))]
aggregates: list[list] = []
candles: list[list] = []


async def take_trade(trade: object, _: float) -> None:
    aggregates.append([trade.raw[name] for name in ("a", "p", "q", "f", "l", "T", "m")])
    if trade.raw["l"] == int(last_id):
        asyncio.get_running_loop().call_later(0.5, asyncio.get_running_loop().stop)


async def take_candle(candle: object, _: float) -> None:
    kline = candle.raw["k"]
    candles.append([kline[name] for name in ("t", "o", "h", "l", "c", "v")])


handler = FeedHandler(config={"log": {"disabled": True}})
handler.add_feed(
    kind(
        symbols=[symbol],
        channels=[TRADES, CANDLES],
        callbacks={TRADES: take_trade, CANDLES: take_candle},
        candle_interval="1m",
    )
)
handler.run(install_signal_handlers=False)
print(json.dumps({"aggregates": aggregates, "closed klines": candles}))
