"""Live trades from Binance: ``mcloud produce --source binance``."""

import asyncio
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

from mcloud.errors import McloudError, Unavailable
from mcloud.feed.binance import plan
from mcloud.feed.binance.budget import Budget
from mcloud.feed.binance.connection import Line, LineState, Timing
from mcloud.feed.binance.endpoints import Endpoints
from mcloud.feed.binance.handoff import LIMIT, Handoff
from mcloud.feed.binance.messages import Reader
from mcloud.feed.binance.rest import BinanceRest
from mcloud.feed.binance.stall import Paces
from mcloud.feed.feed import Report, parse_symbols
from mcloud.market.trade import Trade

Value = TypeVar("Value")

# One symbol at a time is asked about: at most 12 requests a minute, 300 of 6,000 in weight.
CHECK_EVERY = 5.0  # seconds
GRACE = 2.0  # seconds that the stream may be behind REST

_NO_HISTORY = (
    "{} cannot repair by id: what is missed and older than the newest {} trades of a symbol stays "
    "a hole, unless --rest-url names a server with historicalTrades"
)


@dataclass(frozen=True)
class SourceState:
    """What the panel shows of the feed."""

    connections: tuple[LineState, ...]
    ages: dict[str, float | None]
    """Seconds since the last trade of each symbol; None before its first."""
    waiting: int
    """Trades received and not yet taken."""
    slowed: bool
    """Nothing is read from the sockets, because the consumer is behind."""
    slowed_seconds: float
    """For how long in all."""
    stalls: int
    """Connections that were replaced because REST had trades that they did not bring."""
    last_error: str
    """Of the checks for stalls and of subscriptions; the connections have their own."""

    def describe(self) -> dict[str, Any]:
        """In a sentence for the panel, and in full for JSON."""
        lines = self.connections
        open_ = sum(line.open for line in lines)
        reconnects = sum(line.reconnects for line in lines)
        words = f"{open_} of {len(lines)} connections"
        if reconnects:
            words += f", {reconnects} reconnects"
        if self.stalls:
            words += f", {self.stalls} stalls"
        if self.slowed:
            words += ", not reading: the disk or the sites are behind"
        error = self.last_error or next((each.last_error for each in lines if each.last_error), "")
        return {
            "summary": f"{words}; {error}" if error else words,
            "error": open_ < len(lines),
            "reconnects": reconnects,
            "stalls": self.stalls,
            "ages": self.ages,
        }


class BinanceSource:
    """Trades as they come, repeats included, in the order received; see ``mcloud.feed.feed.Feed``.

    Connections are lost and replaced without an end; what they miss meanwhile is for repair by id.

    Args:
        rest: confirms stalls; without it none is looked for.
        streams: symbols a connection.
        limit: trades that may wait for the consumer before the sockets are left unread.

    Example:
        source = BinanceSource(endpoints(), ["BTCUSDT", "ETHUSDT"], rest=BinanceRest(endpoints()))
        for trades in source.chunks(timeout=0.1):  # until another thread calls source.stop()
            ...
    """

    def __init__(
        self,
        endpoints: Endpoints,
        symbols: Collection[str],
        *,
        rest: BinanceRest | None = None,
        streams: int = plan.STREAMS,
        limit: int = LIMIT,
        timing: Timing | None = None,
        check_every: float = CHECK_EVERY,
        grace: float = GRACE,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.symbols = parse_symbols(symbols)
        self.warnings = (
            () if endpoints.has_history else (_NO_HISTORY.format(endpoints.name, endpoints.page),)
        )
        self._rest = rest
        self._check_every = check_every
        self._grace = grace
        self._reader = Reader(self.symbols)
        self._handoff = Handoff(limit)
        self._paces = Paces(self.symbols, time.monotonic())
        self._opened: deque[str] = deque()
        self._stalls = 0
        self._last_error = ""
        timing = timing or Timing(silence=3 * endpoints.ping_interval)
        openings = Budget(
            plan.CONNECTIONS,
            clock=time.monotonic,
            window=plan.CONNECTIONS_WINDOW,
            margin=plan.CONNECTIONS_MARGIN,
        )
        self._lines = [
            Line(
                group,
                plan.subscribe(endpoints.ws_url, group),
                take=self._take,
                opened=self._note_opened,
                handoff=self._handoff,
                openings=openings,
                timing=timing,
                jitter=jitter,
            )
            for group in plan.spread(self.symbols, streams)
        ]
        self._stopped = threading.Event()
        self._wake: Callable[[], object] = lambda: None
        """Has the loop look at ``_stopped``."""
        self._thread = threading.Thread(target=self._run, name="binance", daemon=True)

    @property
    def report(self) -> Report:
        return self._reader.report

    @property
    def state(self) -> SourceState:
        now = time.monotonic()
        return SourceState(
            connections=tuple(line.state for line in self._lines),
            ages={symbol: self._paces.age(symbol, now) for symbol in self.symbols},
            waiting=self._handoff.waiting,
            slowed=self._handoff.full,
            slowed_seconds=self._handoff.full_seconds,
            stalls=self._stalls,
            last_error=self._last_error or self._reader.refusal,
        )

    def opened(self) -> set[str]:
        """The symbols of the connections that were opened since the last call."""
        opened = set()
        while self._opened:
            opened.add(self._opened.popleft())
        return opened

    def chunks(self, timeout: float) -> Iterator[list[Trade]]:
        """What came since the last chunk; an empty list where nothing did for ``timeout`` seconds.

        Ends after ``stop``, with the last of what had been received.

        Raises:
            Refused: the exchange turned the first connection away, and always will.
        """
        if self._thread.ident is None:
            self._thread.start()
        while (chunk := self._handoff.take(timeout)) is not None:
            yield chunk

    def __iter__(self) -> Iterator[Trade]:
        for chunk in self.chunks(timeout=1.0):
            yield from chunk

    def stop(self) -> None:
        """Close the connections, soon; from any thread, any number of times."""
        self._stopped.set()
        # A loop that is closed has nothing left to stop.
        with suppress(RuntimeError):
            self._wake()

    def _run(self) -> None:
        error: Exception | None = None
        try:
            asyncio.run(self._deliver())
        except Exception as caught:  # noqa: BLE001 - raised where the trades are taken
            error = caught
        self._handoff.close(error)

    async def _deliver(self) -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        self._wake = lambda: loop.call_soon_threadsafe(stop.set)
        if self._stopped.is_set():
            return
        tasks = [asyncio.create_task(line.run()) for line in self._lines]
        if self._rest is not None:
            tasks.append(asyncio.create_task(self._look_for_stalls(self._rest)))
        stopping = asyncio.create_task(stop.wait())
        try:
            done, _ = await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
            # None of them ends by itself, unless by an error.
            for task in done:
                task.result()
        finally:
            # A consumer that has left must not keep the connections open.
            self._handoff.lift()
            for task in (*tasks, stopping):
                task.cancel()
            await asyncio.gather(*tasks, stopping, return_exceptions=True)

    def _take(self, messages: list[bytes]) -> bool:
        batch = self._reader.read(messages)
        now = time.monotonic()
        for symbol, trade in batch.newest.items():
            self._paces.seen(symbol, trade.id, now)
        if batch.trades:
            self._handoff.put(batch.trades)
        return batch.shutdown

    def _note_opened(self, symbols: tuple[str, ...]) -> None:
        self._opened.extend(symbols)
        self._restart_paces(symbols)

    def _restart_paces(self, symbols: tuple[str, ...]) -> None:
        self._paces.restart(symbols, time.monotonic())

    async def _look_for_stalls(self, rest: BinanceRest) -> None:
        while True:
            await asyncio.sleep(self._check_every)
            if self._handoff.full:
                # What nobody reads cannot be told from what does not come.
                self._restart_paces(self.symbols)
                continue
            symbol = self._paces.suspect(time.monotonic())
            if symbol is None:
                continue
            try:
                newest = await _in_thread(partial(rest.latest_id, symbol))
            except Unavailable as error:
                self._last_error = f"{symbol} is silent, and REST cannot say why: {error}"
                continue
            except McloudError as error:
                self._last_error = f"{symbol} is silent: {error}"
                newest = None
            await asyncio.sleep(self._grace)
            if newest is not None and self._paces.is_stalled(symbol, newest):
                self._stalls += 1
                line = next(line for line in self._lines if symbol in line.state.symbols)
                line.hand_over(f"{symbol} stalled: REST had id {newest}, the stream did not")
                self._restart_paces(line.state.symbols)
            else:
                self._paces.calm(symbol, time.monotonic())


async def _in_thread(call: Callable[[], Value]) -> Value:
    """The result of a call that blocks. The thread is a daemon: it never holds up an exit."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Value] = loop.create_future()

    def settle(result: Value | None, error: Exception | None) -> None:
        if future.done():  # nobody waits any more
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(cast(Value, result))

    def run() -> None:
        result, error = None, None
        try:
            result = call()
        except Exception as caught:  # noqa: BLE001 - raised where it is awaited
            error = caught
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, daemon=True).start()
    return await future
