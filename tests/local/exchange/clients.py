"""Trades to play, and functions of a client of the exchange."""

import json
from decimal import Decimal
from typing import Any

import urllib3
from patience import PATIENCE
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as connect_

from mcloud.market.trade import Trade

_http = urllib3.PoolManager(retries=False)


def make_trades(count: int, symbol: str = "BTCUSDT", *, first_id: int = 100) -> list[Trade]:
    """Return trades 10 ms apart, each with another price."""
    return [
        Trade(
            symbol,
            first_id + number,
            Decimal(61_837) + Decimal(number) / 100,
            Decimal("0.02"),
            1_723_161_255_000 + 10 * number,
            number % 2 == 0,
        )
        for number in range(count)
    ]


def connect(url: str) -> ClientConnection:
    return connect_(url, compression=None, open_timeout=PATIENCE, close_timeout=1)


def receive(connection: ClientConnection) -> Any:
    return json.loads(connection.recv(PATIENCE))


def receive_ids(connection: ClientConnection, count: int) -> list[int]:
    """Return the ids of the next ``count`` trades, from a raw or a combined stream."""
    messages = [receive(connection) for _ in range(count)]
    return [message.get("data", message)["t"] for message in messages]


def ask(connection: ClientConnection, method: str, *params: Any, id: int = 1) -> Any:
    """Send a request and return its answer. Trades that come before it are skipped."""
    connection.send(json.dumps({"method": method, "params": list(params), "id": id}))
    while True:
        message = receive(connection)
        if "id" in message:
            return message


def receive_all(connection: ClientConnection) -> tuple[list[Any], ConnectionClosed]:
    """Return all messages until the connection ends, and how it ended."""
    messages = []
    while True:
        try:
            messages.append(receive(connection))
        except ConnectionClosed as closed:
            return messages, closed


def get(url: str, **headers: str) -> urllib3.BaseHTTPResponse:
    return _http.request("GET", url, headers=headers, timeout=PATIENCE)
