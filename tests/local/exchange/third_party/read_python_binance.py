"""python-binance reads from the local exchange. Arguments: as those of ``read_ccxt``."""

import asyncio
import json
import sys

from binance import AsyncClient
from binance.enums import FuturesType
from binance.ws.streams import BinanceSocketManager


async def read(ws_url: str, rest_url: str, market: str, last_id: int) -> dict:
    client = AsyncClient()
    client.API_URL = f"{rest_url}/api"
    client.FUTURES_URL = f"{rest_url}/fapi"
    client.FUTURES_COIN_URL = f"{rest_url}/dapi"
    try:
        manager = BinanceSocketManager(client, max_queue_size=100_000)
        manager.STREAM_URL = manager.FSTREAM_URL = manager.DSTREAM_URL = f"{ws_url}/"
        if market == "spot":
            symbol, stream = "BTCUSDT", manager.multiplex_socket(["btcusdt@trade"])
            ask = {
                "klines": client.get_klines,
                "ticker": client.get_ticker,
                "book": client.get_order_book,
                "trades": client.get_historical_trades,
                "aggregates": client.get_aggregate_trades,
            }
        elif market == "um":
            symbol = "BTCUSDT"
            stream = manager._get_futures_socket(
                "btcusdt@trade", FuturesType.USD_M, category="public"
            )
            ask = {
                "klines": client.futures_klines,
                "ticker": client.futures_ticker,
                "book": client.futures_order_book,
                "trades": client.futures_recent_trades,
                "aggregates": client.futures_aggregate_trades,
            }
        else:
            symbol = "BTCUSD_PERP"
            stream = manager._get_futures_socket("btcusd_perp@trade", FuturesType.COIN_M)
            ask = {
                "klines": client.futures_coin_klines,
                "ticker": client.futures_coin_ticker,
                "book": client.futures_coin_order_book,
                "trades": client.futures_coin_recent_trades,
                "aggregates": client.futures_coin_aggregate_trades,
            }
        async with stream as socket:
            events = [(await socket.recv())["data"]]
            while events[-1]["t"] < last_id:
                events.append((await socket.recv())["data"])
        ticker = await ask["ticker"](symbol=symbol)
        book = await ask["book"](symbol=symbol)
        return {
            "trades": [[each[name] for name in ("t", "p", "q", "T", "m")] for each in events],
            "history": [
                [each[name] for name in ("id", "price", "qty", "time", "isBuyerMaker")]
                for each in await ask["trades"](symbol=symbol, limit=1000)
            ],
            "aggregates": [
                [each[name] for name in ("a", "p", "q", "f", "l", "T", "m")]
                for each in await ask["aggregates"](symbol=symbol, limit=1000)
            ],
            "klines": [row[:6] for row in await ask["klines"](symbol=symbol, interval="1m")],
            "last": (ticker[0] if isinstance(ticker, list) else ticker)["lastPrice"],
            "bids": book["bids"],
            "asks": book["asks"],
        }
    finally:
        await client.close_connection()


ws_url, rest_url, _, market, last_id = sys.argv[1:]
print(json.dumps(asyncio.run(read(ws_url, rest_url, market, int(last_id)))))
