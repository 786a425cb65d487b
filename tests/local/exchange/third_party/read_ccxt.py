"""ccxt.pro reads from the local exchange. Arguments: ws url, REST url, certificate, market, and the
id of the last trade.

Prints what it read as JSON; see ``test_third_party.Reading``.
"""

import asyncio
import json
import sys

import ccxt.pro

SYMBOLS = {"spot": "BTC/USDT", "um": "BTC/USDT:USDT", "cm": "BTC/USD:BTC"}


async def read(ws_url: str, rest_url: str, certificate: str, market: str, last_id: int) -> dict:
    client = ccxt.pro.binance()
    client.cafile = certificate  # it trusts certifi's list alone otherwise
    api = client.urls["api"]
    api["public"] = f"{rest_url}/api/v3"
    for futures in ("fapi", "dapi"):
        api[f"{futures}Public"] = f"{rest_url}/{futures}/v1"
    api["fapiPublicV2"] = f"{rest_url}/fapi/v2"
    api["ws"].update({"spot": f"{ws_url}/ws", "linear": f"{ws_url}/ws", "inverse": f"{ws_url}/ws"})
    symbol = SYMBOLS[market]
    try:
        trades: list[dict] = []
        while not trades or int(trades[-1]["id"]) < last_id:
            trades += await client.watch_trades(symbol)
        ticker = await client.fetch_ticker(symbol)
        book = await client.fetch_order_book(symbol)
        return {
            "trades": [
                [each["info"][name] for name in ("t", "p", "q", "T", "m")] for each in trades
            ],
            "klines in coins" if market == "cm" else "klines": await client.fetch_ohlcv(
                symbol, "1m"
            ),
            "last": ticker["last"],
            "bids": [level[:2] for level in book["bids"]],
            "asks": [level[:2] for level in book["asks"]],
        }
    finally:
        await client.close()


*urls, market, last_id = sys.argv[1:]
print(json.dumps(asyncio.run(read(*urls, market, int(last_id)))))
