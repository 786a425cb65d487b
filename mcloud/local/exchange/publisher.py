"""Sends events to the connections that have subscribed to their streams."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from mcloud.local.exchange.aggregates import Aggregate
from mcloud.local.exchange.events import (
    aggregate_event,
    book_event,
    dump,
    kline_event,
    mini_ticker,
    ticker,
    trade_event,
)
from mcloud.local.exchange.faults import Faults
from mcloud.local.exchange.ledger import TradeLedger
from mcloud.local.exchange.markets import Market
from mcloud.local.exchange.reader import RecordingReader, Wording
from mcloud.local.exchange.streams import ExchangeStream, Topic
from mcloud.market.trade import Trade

CLOCKED = ("kline", "ticker", "miniTicker")
"""Kinds of streams that are sent once per second of trade time."""
MOST_BARS = 1_000  # maximum number of bars that a kline stream sends after a time without trades
_TICKERS = {"ticker": ticker, "miniTicker": mini_ticker}


class Publisher:
    """Sends events. A symbol under the fault ``stall`` has none in any stream.

    Args:
        voids: the reason why there is no such trade, by symbol and id.
        clock: the clock of the faults, in seconds.
    """

    def __init__(
        self,
        ledger: TradeLedger,
        faults: Faults,
        voids: Mapping[str, Mapping[int, str]],
        clock: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._faults = faults
        self._voids = voids
        self._clock = clock
        self._sent: dict[Topic, list[tuple[str, RecordingReader]]] = {}
        self._clocked: list[ExchangeStream] = []
        self._traded: set[str] = set()  # since the last events of the streams in CLOCKED
        self._bars: dict[Topic, int] = {}  # start of the current bar of each kline stream

    def index(self, readers: Iterable[RecordingReader]) -> None:
        """Record the current connections, with the streams that they have."""
        sent: dict[Topic, list[tuple[str, RecordingReader]]] = defaultdict(list)
        clocked: dict[Topic, ExchangeStream] = {}
        for reader in readers:
            for stream in reader.sent:
                sent[stream.topic].append((stream.name, reader))
                if stream.kind in CLOCKED:
                    clocked[stream.topic] = stream
        self._sent = sent
        self._clocked = list(clocked.values())
        self._bars = {topic: start for topic, start in self._bars.items() if topic in clocked}

    def send_trades(self, trades: Iterable[Trade]) -> None:
        """Send the events of ``@trade`` streams for these trades."""
        for trade in trades:
            reason = self._voids.get(trade.symbol, {}).get(trade.id, "MARKET")
            if reason == "MARKET" or Market.of(trade.symbol) is not Market.SPOT:
                self._publish(("trade", trade.symbol), partial(trade_event, trade, kind=reason))

    def send_aggregates(self, aggregates: Iterable[Aggregate]) -> None:
        """Send the events of ``@aggTrade`` streams for these aggregates."""
        for each in aggregates:
            if not self._is_stalled(each.symbol):
                self._publish(("aggTrade", each.symbol), partial(aggregate_event, each))

    def send_book(self, symbol: str) -> None:
        """Send the best prices of a symbol after a trade."""
        self._traded.add(symbol)
        if not self._is_stalled(symbol):
            write = partial(book_event, symbol, self._ledger.book(symbol))
            self._publish(("bookTicker", symbol), write)
            self._publish(("bookTicker", ""), write, Market.of(symbol))

    def tick(self, time: int) -> None:
        """Send the events that are due once per second of trade time: klines and tickers, before
        ``time``.
        """
        for stream in self._clocked:
            if stream.kind == "kline":
                self._send_klines(stream, time)
            elif stream.symbol:
                self._send_day(stream)
            else:
                self._send_days(stream)
        self._traded.clear()

    def _send_klines(self, stream: ExchangeStream, time: int) -> None:
        symbol, interval, ledger = stream.symbol, stream.interval, self._ledger
        assert interval
        newest = ledger.newest(symbol)
        if newest is None or self._is_stalled(symbol):
            return
        current = interval.start(time)
        traded = symbol in self._traded
        first = self._bars.get(stream.topic, interval.start(newest.time) if traded else current)
        over = ledger.klines(symbol, interval, first, current - 1, MOST_BARS, time)
        now = ledger.klines(symbol, interval, current, current, 1, time) if traded else []
        for start, bar in (*over, *now):
            closed = start < current
            if bar.trades or closed:
                said = partial(kline_event, symbol, interval, start, bar)
                self._publish(stream.topic, partial(said, closed=closed, now=ledger.now))
        self._bars[stream.topic] = current

    def _send_day(self, stream: ExchangeStream) -> None:
        if stream.symbol in self._traded and not self._is_stalled(stream.symbol):
            day, describe = self._ledger.day(stream.symbol), _TICKERS[stream.kind]
            self._publish(
                stream.topic, lambda microseconds: dump(describe(day, microseconds=microseconds))
            )

    def _send_days(self, stream: ExchangeStream) -> None:
        """Send only the symbols that were traded since the last time, like Binance."""
        days = [self._ledger.day(each) for each in self._traded if not self._is_stalled(each)]
        describe = _TICKERS[stream.kind]
        for name, reader in self._sent.get(stream.topic, ()):
            route, microseconds = reader.wording.route, reader.wording.microseconds
            said = [
                describe(day, microseconds=microseconds)
                for day in days
                if Market.of(day.symbol) in route.markets
            ]
            if said:
                reader.offer(_wrap(name, dump(said), reader.wording))

    def _is_stalled(self, symbol: str) -> bool:
        return bool(self._faults.active("stall", self._clock(), symbol))

    def _publish(
        self, topic: Topic, write: Callable[..., str], market: Market | None = None
    ) -> None:
        """Send an event to all connections that have its stream.

        Args:
            write: formats the event, with or without ``microseconds``.
            market: market of a stream of all symbols, so that other markets do not get it.
        """
        messages: dict[tuple[str, Wording], str] = {}
        for name, reader in self._sent.get(topic, ()):
            wording = reader.wording
            if market and market not in wording.route.markets:
                continue
            message = messages.get((name, wording))
            if message is None:
                event = write(microseconds=wording.microseconds)
                message = messages[name, wording] = _wrap(name, event, wording)
            reader.offer(message)


def _wrap(stream: str, event: str, wording: Wording) -> str:
    return f'{{"stream":"{stream}","data":{event}}}' if wording.combined else event
