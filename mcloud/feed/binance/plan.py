"""The distribution of symbols among connections, and the messages that subscribe to them.

The limits: https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from mcloud.errors import UsageError
from mcloud.market.trade import split_market

MAX_STREAMS = 1024  # maximum number of streams per connection
# default number of streams per connection, so that the loss of one affects few symbols
STREAMS = 200

# maximum number of new connections per IP address, and its period in seconds
CONNECTIONS, CONNECTIONS_WINDOW = 300, 300.0
# Half is left for other producers on this machine, which do not know of each other.
CONNECTIONS_MARGIN = 0.5

# The limit is five incoming messages per second, including our pongs. Connections were closed with
# 1008 at four per second, and none at two.
MESSAGE_INTERVAL = 0.5  # seconds

# Servers were seen to refuse URLs above 8,004 characters and SUBSCRIBE messages above 436 names;
# proxies in between are stricter.
MAX_URL = 2000  # characters
NAMES = 100  # maximum number of names in a message


@dataclass(frozen=True)
class StreamSubscription:
    """The URL and the messages that subscribe one connection to its trades."""

    url: str
    messages: tuple[str, ...]
    """Messages to send once it is open, one every MESSAGE_INTERVAL seconds."""


def spread(symbols: Sequence[str], streams: int = STREAMS) -> list[tuple[str, ...]]:
    """Distribute the symbols among as few connections as possible, with ``streams`` symbols each.

    Adjacent symbols go to different connections, because users name the busy ones first.

    Raises:
        UsageError: a connection cannot have this number of streams.
    """
    if not 1 <= streams <= MAX_STREAMS:
        raise UsageError(f"a connection takes 1 to {MAX_STREAMS} streams, not {streams}")
    connections = -(-len(symbols) // streams)
    return [tuple(symbols[start::connections]) for start in range(connections)]


def subscribe(ws_url: str, symbols: Sequence[str]) -> StreamSubscription:
    """Return the combined stream of the symbols: as many as fit in the URL, the rest by
    messages.
    """
    names = _names(symbols)
    url = f"{ws_url}/stream?streams={names[0]}"
    by_url = 1
    for name in names[1:]:
        if len(url) + 1 + len(name) > MAX_URL:
            break
        url += f"/{name}"
        by_url += 1
    return StreamSubscription(url, tuple(_messages("SUBSCRIBE", names[by_url:])))


def change(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """Return the messages that turn a subscription to some symbols into one to others.

    The removals come first, so that the connection never has more than the larger number.
    """
    left = [symbol for symbol in before if symbol not in set(after)]
    added = [symbol for symbol in after if symbol not in set(before)]
    return _messages("UNSUBSCRIBE", _names(left)) + _messages("SUBSCRIBE", _names(added))


def _names(symbols: Sequence[str]) -> list[str]:
    return [f"{split_market(symbol)[0].lower()}@trade" for symbol in symbols]


def _messages(method: str, names: Sequence[str]) -> list[str]:
    return [
        json.dumps(
            {"method": method, "params": names[start : start + NAMES], "id": start // NAMES + 1}
        )
        for start in range(0, len(names), NAMES)
    ]
