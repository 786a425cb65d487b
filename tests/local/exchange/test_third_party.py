"""Clients that know nothing of us, against the exchange; each is tested where it is installed."""

import asyncio
import queue
from typing import Any

import pytest

from mcloud.feed.json_lines import parse_message
from mcloud.local.exchange.thread import LocalExchange

from .clients import make_trades

pytestmark = pytest.mark.nightly

TRADES = make_trades(30)
IDS = [trade.id for trade in TRADES]


def test_python_binance() -> None:
    binance = pytest.importorskip("binance.ws.streams", reason="no python-binance")
    from binance import AsyncClient

    async def read(exchange: LocalExchange) -> list[int]:
        client = AsyncClient()
        client.API_URL = f"{exchange.rest_url}/api"
        try:
            manager = binance.BinanceSocketManager(client)
            manager.STREAM_URL = f"{exchange.ws_url}/"
            async with manager.multiplex_socket(["btcusdt@trade"]) as stream:
                ids = [(await stream.recv())["data"]["t"] for _ in IDS]
            history = await client.get_historical_trades(symbol="BTCUSDT", fromId=IDS[0])
            assert [trade["id"] for trade in history] == IDS
            info = await client.get_exchange_info()
            assert [each["symbol"] for each in info["symbols"]] == ["BTCUSDT"]
            return ids
        finally:
            await client.close_connection()

    with LocalExchange(TRADES) as exchange:
        assert asyncio.run(asyncio.wait_for(read(exchange), 60)) == IDS


def test_binance_connector() -> None:
    spot = pytest.importorskip("binance.spot", reason="no binance-connector")
    from binance.error import ClientError
    from binance.websocket.spot.websocket_stream import SpotWebsocketStreamClient

    read: queue.Queue[str] = queue.Queue()
    with LocalExchange(TRADES) as exchange:
        client = SpotWebsocketStreamClient(
            stream_url=exchange.ws_url, on_message=lambda _, message: read.put(message)
        )
        client.trade(symbol="btcusdt")
        messages = [read.get(timeout=30) for _ in range(len(TRADES) + 1)]
        client.stop()
        assert [trade for each in messages if (trade := parse_message(each))] == TRADES
        rest = spot.Spot(base_url=exchange.rest_url)
        history = rest.historical_trades("BTCUSDT", fromId=IDS[0], limit=1000)
        assert [trade["id"] for trade in history] == IDS
        assert rest.exchange_info(symbol="BTCUSDT")["symbols"][0]["baseAsset"] == "BTC"
        with pytest.raises(ClientError, match="Invalid symbol"):
            rest.trades("NOPE")


def test_binance_sdk_spot() -> None:
    sdk = pytest.importorskip("binance_sdk_spot.spot", reason="no binance-sdk-spot")
    from binance_common.configuration import ConfigurationRestAPI, ConfigurationWebSocketStreams

    async def read(exchange: LocalExchange) -> list[int]:
        spot = sdk.Spot(
            config_ws_streams=ConfigurationWebSocketStreams(stream_url=exchange.ws_url),
            config_rest_api=ConfigurationRestAPI(
                api_key="", api_secret="", base_path=exchange.rest_url
            ),
        )
        events: asyncio.Queue[Any] = asyncio.Queue()
        connection = await spot.websocket_streams.create_connection()
        try:
            stream = await connection.trade(symbol="btcusdt")
            stream.on("message", events.put_nowait)
            ids = [(await events.get()).t for _ in IDS]
        finally:
            await connection.close_connection(close_session=True)
        history = spot.rest_api.historical_trades(symbol="BTCUSDT", from_id=IDS[0]).data()
        assert [trade.id for trade in history] == IDS
        return ids

    with LocalExchange(TRADES) as exchange:
        assert asyncio.run(asyncio.wait_for(read(exchange), 60)) == IDS


def test_ccxt() -> None:
    ccxt = pytest.importorskip("ccxt.pro", reason="no ccxt")

    async def read(exchange: LocalExchange) -> list[int]:
        client = ccxt.binance(
            # It insists on a key for old trades, and the exchange on none.
            {"apiKey": "any", "options": {"fetchMarkets": {"types": ["spot"]}}}
        )
        client.urls["api"]["public"] = f"{exchange.rest_url}/api/v3"
        client.urls["api"]["ws"]["spot"] = f"{exchange.ws_url}/ws"
        ids: list[int] = []
        try:
            while len(ids) < len(IDS):
                trades = await client.watch_trades("BTC/USDT", params={"name": "trade"})
                ids += [int(trade["id"]) for trade in trades]
            history = await client.fetch_trades(
                "BTC/USDT", params={"fetchTradesMethod": "publicGetHistoricalTrades"}
            )
            assert [int(trade["id"]) for trade in history] == IDS
            return ids
        finally:
            await client.close()

    with LocalExchange(TRADES) as exchange:
        assert asyncio.run(asyncio.wait_for(read(exchange), 60)) == IDS
