"""Live trades from Binance: ``mcloud produce --source binance``."""

import asyncio
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar, cast

from mcloud.backoff import Jitter
from mcloud.errors import McloudError, Throttled, Unavailable, reason_of
from mcloud.feed.binance import plan
from mcloud.feed.binance.budget import WeightBudget
from mcloud.feed.binance.connection import ConnectionLine, LineState, Timing
from mcloud.feed.binance.endpoints import API_KEY, Endpoints
from mcloud.feed.binance.handoff import LIMIT, Handoff
from mcloud.feed.binance.listings import ListingChanges, Roster, summary
from mcloud.feed.binance.messages import MessageReader
from mcloud.feed.binance.rest import BinanceRest
from mcloud.feed.binance.stall import Paces
from mcloud.feed.feed import FeedReport, SourceSummary, parse_symbols
from mcloud.market.trade import Trade

Value = TypeVar("Value")

# One symbol is checked at a time: at most 12 requests per minute, with a weight of 300 of 6,000.
CHECK_EVERY = 5.0  # seconds
GRACE = 2.0  # seconds by which the stream may be behind REST

# The list of symbols has a weight of 20 of 6,000 per minute.
LIST_EVERY = 180.0  # seconds
# share of an interval by which it varies, so that producers do not send requests together
SPREAD = 0.2

_NO_HISTORY = (
    "{} cannot repair by id: what is missed and older than the newest {} trades of a symbol stays "
    "a hole, unless --rest-url names a server with historicalTrades"
)
_NO_KEY = (
    "without an API key {} repairs only the newest {:,} trades of a symbol; aggregate trades show "
    "which older ids are void, and the others stay holes: put a key into {}"
)


@dataclass(frozen=True)
class SourceState:
    """The state of the feed, for the panel."""

    connections: tuple[LineState, ...]
    ages: dict[str, float | None]
    """Seconds since the last trade of each symbol; None before its first."""
    waiting: int
    """Number of trades that are received and not taken yet."""
    slowed: bool
    """Whether the sockets are not read because the consumer is behind."""
    slowed_seconds: float
    """Total time of that, in seconds."""
    stalls: int
    """Number of connections that were replaced because REST had trades that they did not
    deliver.
    """
    stalled: tuple[str, ...]
    """Symbols of which REST had a trade, at the last check, that no connection has delivered."""
    last_error: str
    """Last error of the checks for stalls and of subscriptions. Connections have their own."""
    listed: tuple[str, ...] = ()
    """Symbols that started to trade during the run."""
    not_trading: Mapping[str, str] = field(default_factory=dict)
    """Followed symbols that do not trade now, with their statuses."""

    @property
    def in_short(self) -> SourceSummary:
        """Return the state in one sentence for the panel, and in full for JSON."""
        lines = self.connections
        open_ = sum(line.open for line in lines)
        reconnects = sum(line.reconnects for line in lines)
        words = f"{open_} of {len(lines)} connections"
        if reconnects:
            words += f", {reconnects} reconnects"
        if self.stalls:
            words += f", {self.stalls} stalls"
        changed = summary(self.not_trading, self.listed)
        if changed:
            words += f", {changed}"
        if self.stalled:
            words += f", stalled: {', '.join(self.stalled)}"
        if self.slowed:
            words += ", not reading because the disk or the sites are behind"
        error = self.last_error or next((each.last_error for each in lines if each.last_error), "")
        return SourceSummary(
            summary=f"{words}; {error}" if error else words,
            error=open_ < len(lines) or bool(self.stalled),
            reconnects=reconnects,
            stalls=self.stalls,
            stalled=self.stalled,
            ages=self.ages,
            symbols=tuple(self.ages),
            changed=changed,
            listed=self.listed,
            not_trading=self.not_trading,
        )


class BinanceSource:
    """Live trades, including repeats, in the order of receipt; see ``mcloud.feed.feed.Feed``.

    Lost connections are replaced without an end of the feed. Trades that are missed meanwhile are
    left to repair by id.

    Args:
        rest: confirms stalls. Without it stalls are not detected.
        roster: chooses the symbols. With ``rest`` the list of the exchange is followed.
        list_every: average number of seconds between two requests for that list.
        streams: number of symbols per connection.
        limit: number of trades that may wait for the consumer before the sockets are left unread.

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
        roster: Roster | None = None,
        list_every: float = LIST_EVERY,
        streams: int = plan.STREAMS,
        limit: int = LIMIT,
        timing: Timing | None = None,
        check_every: float = CHECK_EVERY,
        grace: float = GRACE,
        jitter: Jitter = random.uniform,
    ) -> None:
        self.symbols = parse_symbols(symbols)
        self.warnings = _warnings(endpoints, rest)
        self._rest = rest
        self._roster = roster
        self._list_every = list_every
        self._streams = streams
        self._endpoints = endpoints
        self._jitter = jitter
        self._check_every = check_every
        self._grace = grace
        self._reader = MessageReader(self.symbols)
        self._handoff = Handoff(limit)
        self._paces = Paces(self.symbols, time.monotonic())
        self._opened: deque[str] = deque()
        self._ended: deque[str] = deque(roster.resting if roster else ())
        self._news: deque[str] = deque()
        if roster is not None:
            self._paces.end(roster.resting)
        self._stalls = 0
        self._last_error = ""
        self._timing = timing or Timing(silence=3 * endpoints.ping_interval)
        self._openings = WeightBudget(
            plan.CONNECTIONS,
            clock=time.monotonic,
            window=plan.CONNECTIONS_WINDOW,
            margin=plan.CONNECTIONS_MARGIN,
        )
        self._lines = tuple(self._line(group) for group in plan.spread(self.symbols, streams))
        self._running: dict[ConnectionLine, asyncio.Task[None]] = {}
        self._failed: asyncio.Future[None] | None = None
        self._stopped = threading.Event()
        self._wake: Callable[[], object] = lambda: None
        """Makes the event loop check ``_stopped``."""
        self._thread = threading.Thread(target=self._run, name="binance", daemon=True)

    @property
    def report(self) -> FeedReport:
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
            stalled=tuple(self._paces.stalled()),
            last_error=self._last_error or self._reader.refusal,
            listed=tuple(self._roster.listed) if self._roster else (),
            not_trading=self._roster.not_trading if self._roster else {},
        )

    def opened(self) -> set[str]:
        """Return the symbols that were subscribed, or trade again, since the last call."""
        return set(_drain(self._opened))

    def ended(self) -> set[str]:
        """Return the symbols that have stopped trading since the last call."""
        return set(_drain(self._ended))

    def news(self) -> list[str]:
        """Return messages about listings and delistings since the last call."""
        return _drain(self._news)

    def chunks(self, timeout: float) -> Iterator[list[Trade]]:
        """Return the trades since the last chunk, or an empty list after ``timeout`` seconds.

        It ends after ``stop``, with the last trades that were received.

        Raises:
            Refused: the exchange permanently refuses the first connection.
        """
        if self._thread.ident is None:
            self._thread.start()
        while (chunk := self._handoff.take(timeout)) is not None:
            yield chunk

    def __iter__(self) -> Iterator[Trade]:
        for chunk in self.chunks(timeout=1.0):
            yield from chunk

    def stop(self) -> None:
        """Close the connections soon. It is thread-safe and may be repeated."""
        self._stopped.set()
        # A closed loop has nothing to stop.
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
        self._failed = loop.create_future()
        tasks: list[asyncio.Future[Any]] = []
        for line in self._lines:
            self._start(line)
        if self._rest is not None:
            tasks.append(self._spawn(self._look_for_stalls(self._rest)))
            if self._roster is not None:
                tasks.append(self._spawn(self._follow_listings(self._rest, self._roster)))
        stopping = asyncio.create_task(stop.wait())
        ends: set[asyncio.Future[Any]] = {self._failed, stopping}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if self._failed.done():
                self._failed.result()
        finally:
            self._failed.cancel()
            # The connections must close even if the consumer has stopped reading.
            self._handoff.lift()
            tasks += [*self._running.values(), stopping]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _line(self, symbols: tuple[str, ...], *, may_be_refused: bool = True) -> ConnectionLine:
        return ConnectionLine(
            symbols,
            self._endpoints.ws_url,
            take=self._take,
            opened=self._note_opened,
            handoff=self._handoff,
            openings=self._openings,
            timing=self._timing,
            jitter=self._jitter,
            may_be_refused=may_be_refused,
        )

    def _start(self, line: ConnectionLine) -> None:
        self._running[line] = self._spawn(line.run())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task that ends only by an error, which then ends the source."""
        task = asyncio.create_task(work)
        task.add_done_callback(self._note_end)
        return task

    def _note_end(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and self._failed is not None and not self._failed.done():
            self._failed.set_exception(error)

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
                # While the sockets are not read, a stall cannot be detected.
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
                for line in self._lines:
                    if symbol in (symbols := line.state.symbols):
                        line.hand_over(
                            f"{symbol} stalled: REST had id {newest}, the stream did not"
                        )
                        self._restart_paces(symbols)
            else:
                self._paces.calm(symbol, time.monotonic())

    async def _follow_listings(self, rest: BinanceRest, roster: Roster) -> None:
        while True:
            spread = SPREAD * self._list_every
            await asyncio.sleep(self._jitter(self._list_every - spread, self._list_every + spread))
            try:
                listing = await _in_thread(partial(rest.listing, background=True))
            except Throttled:
                continue  # repairs come first
            except Exception as error:  # noqa: BLE001 - an error of the list must never end the streams
                reason = reason_of(error)
                self._last_error = f"the list of symbols could not be read: {reason}"
                continue
            self._follow(roster, roster.update(listing))

    def _follow(self, roster: Roster, changes: ListingChanges) -> None:
        now = time.monotonic()
        self.symbols = roster.symbols
        self._reader.want(changes.listed)
        self._paces.begin((*changes.listed, *changes.resumed), now)
        self._paces.end((*changes.ended, *changes.dropped))
        if any(self._last_error.startswith(f"{each} is silent") for each in changes.ended):
            self._last_error = ""  # the error was about this check
        self._drop(changes.dropped)
        self._add(changes.listed)
        self._opened.extend(changes.resumed)
        self._ended.extend(changes.ended)
        self._news.extend(changes.news)

    def _drop(self, symbols: Collection[str]) -> None:
        for line in self._lines:
            before = line.state.symbols
            left = tuple(each for each in before if each not in symbols)
            if not left:
                self._lines = tuple(each for each in self._lines if each is not line)
                self._running.pop(line).cancel()
            elif left != before:
                line.follow(left)

    def _add(self, symbols: Sequence[str]) -> None:
        """Add symbols to the lines with the most room, or to new lines if there is none."""
        waiting = list(symbols)
        for line in sorted(self._lines, key=lambda line: len(line.state.symbols)):
            before = line.state.symbols
            room = self._streams - len(before)
            if waiting and room > 0:
                line.follow((*before, *waiting[:room]))
                del waiting[:room]
        for group in plan.spread(waiting, self._streams):
            line = self._line(group, may_be_refused=False)
            self._lines = (*self._lines, line)
            self._start(line)


def _drain(queue: deque[Value]) -> list[Value]:
    drained = []
    while queue:
        drained.append(queue.popleft())
    return drained


def _warnings(endpoints: Endpoints, rest: BinanceRest | None) -> tuple[str, ...]:
    if not endpoints.has_history:
        return (_NO_HISTORY.format(endpoints.name, endpoints.recent_page),)
    if rest is not None and not rest.has_history:
        return (_NO_KEY.format(endpoints.name, endpoints.recent_page, API_KEY),)
    return ()


async def _in_thread(call: Callable[[], Value]) -> Value:
    """Return the result of a blocking call. Its thread is a daemon and never delays an exit."""
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
