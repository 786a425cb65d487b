"""The connection of one group of symbols: opened, rotated, and reconnected."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, cast

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.frames import Frame, Opcode
from websockets.protocol import Event

from mcloud.backoff import Backoff, Jitter
from mcloud.errors import Refused, reason_of
from mcloud.feed.binance import plan
from mcloud.feed.binance.budget import WeightBudget
from mcloud.feed.binance.handoff import Handoff
from mcloud.feed.binance.plan import MESSAGE_INTERVAL

Take = Callable[[list[bytes]], bool]
"""Takes messages in the order of receipt, and returns whether the server announced its end."""

LARGEST = 2**20  # maximum bytes of a message, in one frame or several; a trade has 200

# If a server continues after a failed handshake, websockets logs a traceback.
QUIET = logging.getLogger("mcloud.websockets")
QUIET.disabled = True

_WHOLE = frozenset({Opcode.TEXT, Opcode.BINARY})
"""Types of the first frame of a message. With FIN it is the only frame."""

# Permanent answers: the address is wrong, or the exchange does not serve this location.
_PERMANENT = {400, 401, 404, 451}


@dataclass(frozen=True)
class Timing:
    """Time limits of a connection, in seconds."""

    open: float = 10.0
    """Maximum time to open a connection."""
    silence: float = 60.0
    """Time without a message or a ping after which a connection counts as dead."""
    lifetime: tuple[float, float] = (22 * 3600.0, 23 * 3600.0)
    """Range of ages at which a connection is replaced. The exchange closes it at 24 h."""
    quiet: float = 10.0
    """Time after which a new connection without messages counts as healthy: the market is quiet."""
    overlap: float = 1.0
    """Time that the old connection stays open once the new one delivers, since servers differ in
    lag.
    """
    control: float = MESSAGE_INTERVAL
    first_backoff: float = 0.5
    longest_backoff: float = 60.0
    healthy: float = 60.0
    """Age of a connection that resets the backoff."""


@dataclass(frozen=True)
class LineState:
    """The state of a connection, for the panel."""

    symbols: tuple[str, ...]
    open: bool = False
    reconnects: int = 0
    """Number of lost connections."""
    rotations: int = 0
    """Number of connections that were replaced while they were open."""
    last_error: str = ""
    """Why the last attempt failed, or the last connection ended early. It is never cleared."""


class ConnectionLine:
    """Keeps the streams of some symbols alive until it is cancelled.

    Args:
        opened: called with the symbols to which a connection has just subscribed.
        openings: limits the connections that all lines together may open.
        may_be_refused: False if the exchange is known to serve us, so that no answer is permanent.
    """

    def __init__(
        self,
        symbols: tuple[str, ...],
        ws_url: str,
        *,
        take: Take,
        opened: Callable[[tuple[str, ...]], None],
        handoff: Handoff,
        openings: WeightBudget,
        timing: Timing,
        jitter: Jitter,
        may_be_refused: bool = True,
    ) -> None:
        self._state = LineState(symbols)
        self._ws_url = ws_url
        self._take = take
        self._opened = opened
        self._handoff = handoff
        self._openings = openings
        self._timing = timing
        self._jitter = jitter
        self._backoff = Backoff(timing.first_backoff, timing.longest_backoff, jitter)
        self._ever_open = not may_be_refused
        self._sessions: list[_Session] = []
        """Open sessions: the current one, and its successor while they overlap."""

    @property
    def state(self) -> LineState:
        """Return the state. It is thread-safe."""
        is_open = any(not session.is_over for session in list(self._sessions))
        return replace(self._state, open=is_open)

    def follow(self, symbols: tuple[str, ...]) -> None:
        """Subscribe to these symbols instead, on the open connections and on later ones."""
        self._state = replace(self._state, symbols=symbols)
        for session in self._sessions:
            session.follow(symbols)

    def hand_over(self, reason: str) -> None:
        """Replace the current connection by another one."""
        for session in self._sessions[:1]:
            session.leave(reason)

    async def run(self) -> None:
        """Deliver until cancelled.

        Raises:
            Refused: the exchange permanently refuses the first connection.
        """
        try:
            session = await self._open()
            while True:
                await session.wait_due()
                if session.age >= self._timing.healthy:
                    self._backoff.succeeded()
                if session.ended:
                    self._note(session.ended)
                if session.is_over:
                    session = await self._reconnect(session)
                else:
                    session = await self._rotate(session)
        finally:
            for each in list(self._sessions):
                await self._close(each)

    async def _reconnect(self, lost: "_Session") -> "_Session":
        self._count(reconnects=1)
        self._backoff.failed()
        await self._close(lost)
        return await self._open()

    async def _rotate(self, session: "_Session") -> "_Session":
        """Return a new session, which delivers before the old one is closed."""
        if session.age < self._timing.healthy:
            self._backoff.failed()
        successor = await self._open()
        if not await successor.is_delivering():
            self._backoff.failed()
            session.leave(f"the replacement failed: {successor.ended}")
            await self._close(successor)
            return session
        # A session that was lost before the other one delivered was not replaced in time.
        if session.is_over:
            self._count(reconnects=1)
        else:
            self._count(rotations=1)
        await asyncio.sleep(self._timing.overlap)
        await self._close(session)
        return successor

    async def _open(self) -> "_Session":
        while True:
            await asyncio.sleep(self._backoff.pause())
            while wait := self._openings.ask(1):
                self._note(f"too many connections were opened; the next one in {wait:.0f} s")
                await asyncio.sleep(wait)
            try:
                return await self._attempt()
            except InvalidStatus as error:
                self._note(f"the exchange answered {error.response.status_code}")
                if error.response.status_code in _PERMANENT and not self._ever_open:
                    raise Refused(
                        f"{self._state.last_error} to the first connection",
                        remedy="check --exchange, --ws-url and --symbols",
                    ) from None
            except (OSError, WebSocketException) as error:
                self._note(reason_of(error))
            self._backoff.failed()

    async def _attempt(self) -> "_Session":
        timing = self._timing
        symbols = self._state.symbols
        subscription = plan.subscribe(self._ws_url, symbols)
        socket = await connect(
            subscription.url,
            open_timeout=timing.open,
            close_timeout=1.0,
            max_size=LARGEST,
            logger=QUIET,
            # The exchange pings us, and counts the messages that we send.
            ping_interval=None,
            # Compression costs more than it saves: a trade has 150 bytes.
            compression=None,
            create_connection=_ExchangeSocket,
        )
        lifetime = self._jitter(*timing.lifetime)
        session = _Session(
            cast(_ExchangeSocket, socket),
            symbols,
            lifetime,
            take=self._take,
            opened=self._opened,
            handoff=self._handoff,
            timing=timing,
        )
        self._sessions.append(session)
        try:
            await session.subscribe(subscription.messages)
        except ConnectionClosed:
            await self._close(session)
            raise
        self._ever_open = True
        self._opened(symbols)
        # The symbols may have changed meanwhile.
        session.follow(self._state.symbols)
        return session

    async def _close(self, session: "_Session") -> None:
        await session.close()
        self._sessions.remove(session)

    def _count(self, *, reconnects: int = 0, rotations: int = 0) -> None:
        self._state = replace(
            self._state,
            reconnects=self._state.reconnects + reconnects,
            rotations=self._state.rotations + rotations,
        )

    def _note(self, error: str) -> None:
        self._state = replace(self._state, last_error=error)


class _ExchangeSocket(ClientConnection):
    """Passes on all messages of a network read at once, and records the time of the last read.

    Receiving each message by recv() costs as much as all the rest together. A message in fragments
    still uses recv(), as do all messages if the version of websockets has no process_event().
    """

    heard = 0.0
    """Time when the server last sent anything: a message or a ping."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.messages: list[bytes] = []
        self.gathered: Callable[[], object] = lambda: None
        """Called when messages have arrived."""

    def data_received(self, data: bytes) -> None:
        self.heard = time.monotonic()
        super().data_received(data)
        if self.messages:
            self.gathered()

    def process_event(self, event: Event) -> None:
        if isinstance(event, Frame) and event.fin and event.opcode in _WHOLE:
            self.messages.append(bytes(event.data))
        else:
            super().process_event(event)


class _Session:
    """One open connection, read until it is lost or closed."""

    def __init__(
        self,
        socket: _ExchangeSocket,
        symbols: tuple[str, ...],
        lifetime: float,
        *,
        take: Take,
        opened: Callable[[tuple[str, ...]], None],
        handoff: Handoff,
        timing: Timing,
    ) -> None:
        self.is_over = False
        self.ended = ""
        """Why the session has ended, or should end."""
        self._socket = socket
        self._take = take
        self._opened = opened
        self._handoff = handoff
        self._timing = timing
        self._symbols = self._wanted = symbols
        """Current and intended subscriptions."""
        self._changing: asyncio.Task[None] | None = None
        self._is_subscribed = False
        self._next_message = 0.0
        self._opened_at = time.monotonic()
        self._fault: Exception | None = None
        self._due = asyncio.Event()
        self._delivered = asyncio.Event()
        self._end_of_life = asyncio.get_running_loop().call_later(lifetime, self._due.set)
        self._pausing: asyncio.Task[None] | None = None
        self._reading = asyncio.create_task(self._read())
        self._watching = asyncio.create_task(self._watch())
        socket.gathered = self._flush
        # The first trades may have arrived together with the answer to the handshake.
        self._flush()

    @property
    def age(self) -> float:
        return time.monotonic() - self._opened_at

    async def subscribe(self, messages: Iterable[str]) -> None:
        """Send the messages that subscribe to the streams that are not in the URL."""
        await self._send(messages)
        self._is_subscribed = True

    def follow(self, symbols: tuple[str, ...]) -> None:
        """Subscribe to these symbols instead, soon."""
        self._wanted = symbols
        if self._is_subscribed and self._changing is None and self._symbols != symbols:
            self._changing = asyncio.create_task(self._change())

    def leave(self, reason: str) -> None:
        """Request a successor."""
        self.ended = self.ended or reason
        self._due.set()

    async def wait_due(self) -> None:
        """Return when the connection is lost, or when another one should take over."""
        await self._due.wait()
        self._due.clear()
        self._raise_fault()

    async def is_delivering(self) -> bool:
        """Wait for the first message, or until the market counts as quiet."""
        try:
            async with asyncio.timeout(self._timing.quiet):
                await self._delivered.wait()
        except TimeoutError:
            return True
        return not self.is_over

    async def close(self) -> None:
        if not self.is_over:
            # Messages that were sent before the end are received first.
            await self._handoff.room()
        self._end_of_life.cancel()
        self._watching.cancel()
        if self._changing is not None:
            self._changing.cancel()
        await self._socket.close()
        await asyncio.wait([self._reading])
        self._raise_fault()

    async def _change(self) -> None:
        try:
            while self._symbols != self._wanted:
                before, self._symbols = self._symbols, self._wanted
                added = tuple(each for each in self._symbols if each not in set(before))
                await self._send(plan.change(before, self._symbols))
                if added:
                    self._opened(added)
        except ConnectionClosed:
            return  # the next connection subscribes to the wanted symbols
        finally:
            self._changing = None

    async def _send(self, messages: Iterable[str]) -> None:
        """Send messages, no faster than the exchange allows."""
        for message in messages:
            await asyncio.sleep(self._next_message - time.monotonic())
            await self._socket.send(message)
            self._next_message = time.monotonic() + self._timing.control

    async def _read(self) -> None:
        try:
            while True:
                message = await self._socket.recv(decode=False)
                self._socket.messages.append(message)
                self._flush()
                await self._handoff.room()
        except ConnectionClosed as error:
            self.ended = self.ended or reason_of(error)
        finally:
            self._flush()
            self.is_over = True
            self._delivered.set()
            self._due.set()

    def _flush(self) -> None:
        messages, self._socket.messages = self._socket.messages, []
        if not messages:
            return
        try:
            if self._take(messages):
                self.leave("the server announced its shutdown")
        except Exception as error:  # noqa: BLE001 - raised where the connection is waited for
            self._fault = error
            self._due.set()
        self._delivered.set()
        if self._handoff.full and self._pausing is None:
            self._pausing = asyncio.create_task(self._pause())

    async def _pause(self) -> None:
        """Leave the socket unread until there is room, so that TCP slows the sender down."""
        self._socket.transport.pause_reading()
        await self._handoff.room()
        self._pausing = None
        # Nothing was received because the socket was not read.
        self._socket.heard = time.monotonic()
        self._socket.transport.resume_reading()

    def _raise_fault(self) -> None:
        if self._fault is not None:
            raise self._fault

    async def _watch(self) -> None:
        silence = self._timing.silence
        self._socket.heard = time.monotonic()
        while True:
            await asyncio.sleep(silence / 4)
            if not self._handoff.full and time.monotonic() - self._socket.heard > silence:
                self.ended = f"nothing was received for {silence:g} s"
                self._socket.transport.abort()
                return
