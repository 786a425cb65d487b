"""binance-connector reads from the local exchange. Arguments: as those of ``read_ccxt``."""

import json
import queue
import sys

from binance.spot import Spot
from binance.websocket.spot.websocket_stream import SpotWebsocketStreamClient

ws_url, rest_url, _, _, last_id = sys.argv[1:]
messages: queue.Queue[str] = queue.Queue()
failures: queue.Queue[Exception] = queue.Queue()
streams = SpotWebsocketStreamClient(
    stream_url=ws_url,
    on_message=lambda _, message: messages.put(message),
    on_error=lambda _, error: failures.put(error),
)
streams.trade(symbol="btcusdt")
events: list[dict] = []
while not events or events[-1]["t"] < int(last_id):
    event = json.loads(messages.get(timeout=60))
    if event.get("e") == "trade":
        events.append(event)
streams.stop()
rest = Spot(base_url=rest_url)
book = rest.depth("BTCUSDT", limit=100)
reading = {
    "trades": [[each[name] for name in ("t", "p", "q", "T", "m")] for each in events],
    "history": [
        [each[name] for name in ("id", "price", "qty", "time", "isBuyerMaker")]
        for each in rest.historical_trades("BTCUSDT", limit=1000)
    ],
    "aggregates": [
        [each[name] for name in ("a", "p", "q", "f", "l", "T", "m")]
        for each in rest.agg_trades("BTCUSDT", limit=1000)
    ],
    "klines": [row[:6] for row in rest.klines("BTCUSDT", "1m")],
    "last": rest.ticker_24hr("BTCUSDT")["lastPrice"],
    "bids": book["bids"],
    "asks": book["asks"],
}
print(json.dumps(reading))
