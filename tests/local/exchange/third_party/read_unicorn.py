"""unicorn-binance-websocket-api reads from the local exchange. Arguments: as for ``read_ccxt``.

It has no REST client. On USDⓈ-M futures it reads aggregate trades, because it requests ``@trade``
on the route /market, which does not deliver trades.
"""

import json
import os
import sys
import time

from unicorn_binance_websocket_api import BinanceWebSocketApiManager

ws_url, _, _, market, last_id = sys.argv[1:]
exchange, symbol = {
    "spot": ("binance.com", "btcusdt"),
    "um": ("binance.com-futures", "btcusdt"),
    "cm": ("binance.com-coin_futures", "btcusd_perp"),
}[market]
manager = BinanceWebSocketApiManager(
    exchange=exchange, websocket_base_uri=f"{ws_url}/", warn_on_update=False, disable_colorama=True
)
channel = "aggTrade" if market == "um" else "trade"
manager.create_stream([channel], [symbol])
events: list[dict] = []
while not events or events[-1]["l" if market == "um" else "t"] < int(last_id):
    if message := manager.pop_stream_data_from_stream_buffer():
        event = json.loads(message)
        if "data" in event:
            events.append(event["data"])
    else:
        time.sleep(0.01)
if market == "um":
    names = ("a", "p", "q", "f", "l", "T", "m")
    reading = {"aggregates": [[each[name] for name in names] for each in events]}
else:
    reading = {"trades": [[each[name] for name in ("t", "p", "q", "T", "m")] for each in events]}
print(json.dumps(reading), flush=True)
os._exit(0)  # its threads continue after stop_manager()
