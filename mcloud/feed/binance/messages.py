"""The messages of a stream: mostly trades, and a few others."""

import json
import re
from collections.abc import Collection, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from mcloud.feed.feed import EXAMPLES, BadLine, FeedReport
from mcloud.feed.json_lines import parse_event
from mcloud.market.trade import NUMBER, SPOT, BadTrade, Trade, canonical, positive, split_market

# The exact bytes of a spot trade of Binance: matching them takes half the time of parsing JSON. A
# message that differs is parsed as JSON. The order ids "b" and "a" were sent in the past.
_NUMBER = NUMBER.encode()
_TRADE = re.compile(
    rb'\{"stream":"[a-z0-9_]+@trade","data":\{"e":"trade","E":[0-9]+,"s":"([A-Z0-9_]+)",'
    rb'"t":(0|[1-9][0-9]{0,17}),"p":"(%b)","q":"(%b)",(?:"b":[0-9]+,"a":[0-9]+,)?'
    rb'"T":((?:1[3-9]|[2-9][0-9])[0-9]{11,12}),"m":(true|false),"M":(?:true|false)\}\}'
    % (_NUMBER, _NUMBER)
).fullmatch

# Three of four numbers of a stream occurred recently. The texts have matched _NUMBER.
_REMEMBERED = 8192


class MessageBatch(NamedTuple):
    """The content of a few messages."""

    trades: list[Trade]
    """Trades in the order of receipt."""
    newest: dict[str, Trade]
    """Last received trade, by symbol."""
    shutdown: bool
    """Whether the server announced that it is about to close."""


class MessageReader:
    """Reads and counts messages of combined streams. An invalid message is never fatal.

    ``symbols`` belong to one market. The names of the streams do not include it.
    """

    def __init__(self, symbols: Collection[str]) -> None:
        self._wanted: dict[bytes, str] = {}
        self._spot: dict[bytes, str] = {}
        self.want(symbols)
        self._trades = self._skipped = self._bad = self._read = 0
        self._examples: list[BadLine] = []
        self._shutdown = False
        self.refusal = ""
        """Last answer of the server that refused a subscription."""

    @property
    def report(self) -> FeedReport:
        """Return the report. The number of a bad line counts messages over all connections."""
        return FeedReport(
            trades=self._trades,
            skipped=self._skipped,
            bad=self._bad,
            bad_examples=tuple(self._examples),
        )

    def want(self, symbols: Collection[str]) -> None:
        """Also read the trades of these symbols."""
        self._wanted |= {split_market(symbol)[0].encode(): symbol for symbol in symbols}
        self._spot |= {name: each for name, each in self._wanted.items() if name == each.encode()}

    def read(self, messages: Sequence[bytes]) -> MessageBatch:
        """Read messages in the order of receipt."""
        trades: list[Trade] = []
        newest: dict[str, Trade] = {}
        self._shutdown = False
        wanted = self._spot
        for number, message in enumerate(messages, start=self._read + 1):
            match = _TRADE(message)
            try:
                if match and (symbol := wanted.get(match[1])):
                    _, id_, price, quantity, time, maker = match.groups()
                    exact = _price(price), _quantity(quantity)
                    trade = Trade(symbol, int(id_), *exact, int(time), maker == b"true")
                elif other := self._take_other(message):
                    trade = other
                else:
                    continue
            except BadTrade as error:
                self._note_bad(number, str(error))
                continue
            trades.append(trade)
            newest[trade.symbol] = trade
        self._read += len(messages)
        self._trades += len(trades)
        return MessageBatch(trades, newest, self._shutdown)

    def _take_other(self, message: bytes) -> Trade | None:
        """Return a trade in another form, or None for a valid message that is not a wanted
        trade.
        """
        outer = _load(message)
        # The documentation shows the announcement of an end both with and without an envelope.
        event = outer.get("data", outer.get("event", outer))
        kind = event.get("e") if isinstance(event, dict) else None
        if kind == "trade":
            trade = parse_event(event)
            if symbol := self._wanted.get(trade.symbol.encode()):
                # Only events of futures have X, and only those of the spot market have M.
                is_future = "X" in event
                if (is_future or "M" in event) and is_future == (split_market(symbol)[1] == SPOT):
                    raise BadTrade(f"{trade.symbol} of another market: expected {symbol}")
                return trade._replace(symbol=symbol)
        elif "error" in outer or ("code" in outer and "msg" in outer):
            self.refusal = json.dumps(outer)[:200]
            raise BadTrade(f"the server refused: {self.refusal}")
        elif kind == "serverShutdown":
            self._shutdown = True
        elif not isinstance(kind, str) and "result" not in outer:
            raise BadTrade(f"not a stream's message: {message[:100]!r}")
        self._skipped += 1
        return None

    def _note_bad(self, number: int, reason: str) -> None:
        self._bad += 1
        if len(self._examples) < EXAMPLES:
            self._examples.append(BadLine(number, reason))


@lru_cache(_REMEMBERED)
def _price(text: bytes) -> Decimal:
    return positive(Decimal(canonical(text.decode())))


@lru_cache(_REMEMBERED)
def _quantity(text: bytes) -> Decimal:
    return Decimal(canonical(text.decode()))


def _load(message: bytes) -> dict[str, Any]:
    try:
        loaded = json.loads(message)
    except (ValueError, RecursionError):
        raise BadTrade(f"not JSON: {message[:100]!r}") from None
    if not isinstance(loaded, dict):
        raise BadTrade(f"not a stream's message: {message[:100]!r}")
    return loaded
