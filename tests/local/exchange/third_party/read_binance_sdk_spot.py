"""binance-sdk-spot reads from the local exchange. Arguments: as those of ``read_ccxt``.

Its REST client keeps TLS settings of its own, so ``https_agent`` has to be given.
"""

import asyncio
import json
import ssl
import sys
from typing import Any

from binance_common.configuration import ConfigurationRestAPI, ConfigurationWebSocketStreams
from binance_sdk_spot.spot import Spot


async def read(ws_url: str, rest_url: str, certificate: str, last_id: int) -> dict:
    trust = ssl.create_default_context(cafile=certificate)
    spot = Spot(
        config_ws_streams=ConfigurationWebSocketStreams(stream_url=ws_url, https_agent=trust),
        config_rest_api=ConfigurationRestAPI(api_key="", api_secret="", base_path=rest_url),
    )
    events: asyncio.Queue[Any] = asyncio.Queue()
    connection = await spot.websocket_streams.create_connection()
    try:
        stream = await connection.trade(symbol="btcusdt")
        stream.on("message", events.put_nowait)
        trades = [await events.get()]
        while trades[-1].t < last_id:
            trades.append(await events.get())
    finally:
        await connection.close_connection(close_session=True)
    history = spot.rest_api.historical_trades(symbol="BTCUSDT", limit=1000).data()
    return {
        "trades": [[each.t, each.p, each.q, each.T, each.m] for each in trades],
        "history": [
            [each.id, each.price, each.qty, each.time, each.is_buyer_maker] for each in history
        ],
    }


ws_url, rest_url, certificate, _, last_id = sys.argv[1:]
print(json.dumps(asyncio.run(read(ws_url, rest_url, certificate, int(last_id)))))
