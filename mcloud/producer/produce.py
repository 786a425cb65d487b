"""A run of a producer: feed → spool → one sender for each site → queue."""

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Protocol

from mcloud.clock import SYSTEM, Clocks, Limit
from mcloud.clouds.ports import Queue
from mcloud.errors import Unavailable
from mcloud.market.envelope import VERSION, encode_all
from mcloud.market.trade import Trade
from mcloud.producer.anomaly_finder import AnomalyFinder
from mcloud.producer.cursor import Cursor, Hole, Position, append_hole
from mcloud.producer.envelope_support import Reads
from mcloud.producer.id_reset import IdReset
from mcloud.producer.message_log import MessageLog
from mcloud.producer.pack import BATCH, LINGER, Batch, Packer
from mcloud.producer.repair import History, Repairer
from mcloud.producer.route import Route
from mcloud.producer.sender import Sender, SiteDelivery
from mcloud.producer.spool import Spool
from mcloud.producer.spool_message import SpoolEntry

TICK = 0.1  # seconds between two checks of the clock, and two reports of progress
RETRY = 1.0  # seconds before another attempt at a write that the disk refused
DRAIN = 10.0  # seconds that an interrupted run may take to deliver the trades that it has read


class Source(Protocol):
    """The source of trades of a run; see ``FeedReader`` and ``mcloud.feed.binance``."""

    def chunks(self, timeout: float) -> Iterator[list[Trade]]:
        """Return the trades as they arrive, or an empty list after ``timeout`` seconds without
        any.
        """
        ...

    def stop(self) -> None:
        """Stop reading. The chunks end soon, with the last trades that were read."""
        ...


@dataclass(frozen=True)
class ProducerProgress:
    read: int
    """Number of trades from the source, without repeats."""
    repeats: int
    last_time: int
    """Trade time of the newest of them, in ms; 0 before the first."""
    sites: dict[str, SiteDelivery]
    route: Route
    holes: tuple[Hole, ...]
    """Missing ids, oldest first."""
    spool_bytes: int
    spool_full: bool
    """Whether reading has stopped because the sites are too far behind."""
    problem: str
    """Why trades cannot be written to the disk, or an empty text; see also ``id_reset``."""
    newest: Trade | None = None
    """The last trade that was read."""
    anomalies: int = 0
    """Number of anomalies that the run has found."""

    @property
    def complete(self) -> bool:
        """Whether the queue of every site has accepted all trades that were read."""
        return all(not site.waiting for site in self.sites.values())


def produce(
    source: Source,
    queues: Mapping[str, Queue],
    spool: Spool,
    *,
    history: History | None = None,
    live: bool = False,
    opened: Callable[[], Collection[str]] = tuple,
    ended: Callable[[], Collection[str]] = tuple,
    route: Callable[[], Route] | None = None,
    trail: MessageLog | None = None,
    reads: Mapping[str, Callable[[], Reads]] | None = None,
    suspect: Callable[[], None] | None = None,
    finder: AnomalyFinder | None = None,
    batch: int = BATCH,
    linger: float = LINGER,
    freshness: float = 0.0,
    drain: float = DRAIN,
    progress: Callable[[ProducerProgress], None] = lambda progress: None,
    stop: threading.Event | None = None,
    clocks: Clocks = SYSTEM,
) -> ProducerProgress:
    """Send the trades of ``source`` to the sites. Return when it has ended and all are accepted.

    Trades are in the spool, on the disk, before they are sent to any site, and stay there until all
    its sites have accepted them. The messages of an earlier run are sent first. A site that fails
    is retried during the whole run. At the end of the source, a site that refuses messages does not
    delay the end, and each open hole is requested from the exchange again, for up to ``drain``
    seconds.

    Args:
        live: whether the source is an exchange, whose ids are dense: repeats are dropped, holes are
            recorded, and filled from ``history`` if it is given. Otherwise all trades are sent.
        opened: the symbols whose stream has reconnected since the last call. ``history`` shows
            whether the end of the previous stream was lost.
        ended: the symbols that have stopped trading since the last call. Their last trades are
            requested from ``history`` once.
        route: returns the sites that get the next batch. Default: all sites.
        trail: records the place of each message by time. Its messages are traced.
        freshness: number of seconds during which messages are combined before they are sent; 0
            sends each message separately. At the end of the source nothing waits.
        reads: for each site, the versions of envelopes that its function reads. Default: all.
        suspect: called by any thread if a request to a site fails or is late, if somebody wants to
            know.
        finder: searches all trades for anomalies, and is closed at the end of the run.
        stop: stops the reading. Trades that were read are still delivered, for up to ``drain``
            seconds.

    Errors of the source are raised after its trades have been delivered.
    """
    stop = stop or threading.Event()
    everywhere = Route(tuple(queues), "every site")
    intake = Intake(
        spool, live, route or (lambda: everywhere), batch, linger, trail, clocks, finder
    )
    reads = reads or dict.fromkeys(queues, _all_versions)
    senders = {
        name: Sender(
            *(name, each, spool),
            freshness=freshness,
            trail=trail,
            reads=reads[name],
            suspect=suspect,
            clock=clocks.timer,
            wall=clocks.wall,
        )
        for name, each in queues.items()
    }
    repairer = Repairer(history, clock=clocks.timer, wall=clocks.wall) if live and history else None
    run = _ProducerRun(intake, senders, spool, progress, stop, clocks, finder)
    error: Exception | None = None
    try:
        try:
            for chunk in source.chunks(TICK):
                came = intake.take(chunk)
                if repairer is not None:
                    _repair(intake, repairer, came, opened(), ended())
                run.commit()
                run.maybe_tell()
                while not spool.wait_for_room(TICK) and not stop.is_set():
                    run.commit()
                    run.maybe_tell()
                if stop.is_set():
                    source.stop()
        except Exception as caught:  # noqa: BLE001 - raised below, after the trades that were read are delivered
            error = caught
        source.stop()
        limit = Limit(drain, clocks.timer)
        if repairer is not None:
            _repair_last(intake, repairer, run, limit)
        for sender in senders.values():
            sender.hurry()
        intake.close()
        run.commit()
        if finder is not None:
            finder.finish(limit)
        run.wait(limit)
        if finder is not None:
            finder.wait(limit)
    finally:
        source.stop()
        if finder is not None:
            finder.close()
        if repairer is not None:
            repairer.stop()
        for sender in senders.values():
            sender.close()
    if error is not None:
        raise error
    return run.report()


def _all_versions() -> Reads:
    return Reads(VERSION)


class Intake:
    """Packs trades into messages of the spool. It is used by one thread."""

    def __init__(
        self,
        spool: Spool,
        live: bool,
        route: Callable[[], Route],
        batch: int,
        linger: float,
        trail: MessageLog | None = None,
        clocks: Clocks = SYSTEM,
        finder: AnomalyFinder | None = None,
    ) -> None:
        self._clocks = clocks
        self._spool = spool
        self._trail = trail
        self._finder = finder
        self._cursor = Cursor(spool.resume_points(), spool.voids()) if live else None
        self._packer = Packer(clocks.timer, batch=batch, linger=linger)
        self._closed: list[Batch] = []
        self.begun = {position.symbol for position in spool.resume_points()}
        """Symbols that have a position."""
        self.id_reset = IdReset()
        self._moved: set[str] = set()
        """Symbols whose position must be written even without trades."""
        self.route = route
        self.read = 0
        self.last_time = 0
        self.newest: Trade | None = None
        self.problem = ""

    @property
    def repeats(self) -> int:
        return 0 if self._cursor is None else self._cursor.repeats + self._cursor.early

    def holes(self) -> list[Hole]:
        return [] if self._cursor is None else self._cursor.holes()

    def note(self, hole: Hole, reason: str) -> None:
        """Note that a hole could not be filled."""
        if self._cursor is not None:
            self._cursor.note(hole, reason)

    def expect(self, symbol: str, last_id: int) -> bool:
        """Note that the exchange has traded up to ``last_id``. Return whether any id is missing."""
        missing = self._cursor is not None and self._cursor.expect(
            symbol, last_id, self._clocks.now_ms()
        )
        if missing:
            self._moved.add(symbol)
        return missing

    def take(self, trades: list[Trade]) -> set[str]:
        """Add trades, which stay in memory until ``commit``.

        For an exchange, return the symbols of the new trades.
        """
        symbols: set[str] = set()
        if self._cursor is not None and trades:
            came, trades = trades, self._cursor.admit(trades, self._clocks.now_ms())
            self.id_reset.compare(came, trades)
            symbols = {trade.symbol for trade in trades}
            self._moved |= symbols - self.begun
            self.begun |= symbols
        if trades:
            self._closed += self._packer.add(trades)
            self.read += len(trades)
            self.last_time = max(self.last_time, *(trade.time for trade in trades))
            self.newest = trades[-1]
        return symbols

    def close(self) -> None:
        """Make the next commit write everything."""
        self._closed += self._packer.flush()

    def commit(self) -> None:
        """Write the batches that are full or old enough, all in one transaction.

        Raises:
            Unavailable: the disk refuses the write. The trades are kept for another attempt.
        """
        self._closed += self._packer.due()
        if not self._closed and not self._moved:
            return
        symbols = {batch.trades[0].symbol for batch in self._closed} | self._moved
        positions = self._positions(symbols)
        voids = self._void_changes(symbols)
        route, trail = self.route(), self._trail
        one_in = None if trail is None else trail.one_in
        # This converts the packer's time to the wall clock.
        ahead = self._clocks.wall() - self._clocks.timer()
        packed = [
            (trades, SpoolEntry.of(message, received_at=_ms(ahead + opened), sites=route.sites))
            for trades, opened in self._closed
            for message in encode_all(trades, one_in=one_in)
        ]
        try:
            self._spool.append([entry for _, entry in packed], positions, voids)
        except Unavailable as error:
            self.problem = str(error)
            raise
        self.problem = ""
        if self._cursor is not None:
            self._cursor.saved(voids)
        closed, self._closed = self._closed, []
        self._moved = set()
        if trail is not None:
            trail.spooled(packed, self._clocks.now_ms())
        if self._finder is not None:
            self._finder.take(batch.trades for batch in closed)

    def _positions(self, symbols: set[str]) -> list[Position]:
        """Return the positions from which these symbols continue after a crash.

        A crash loses the trades in memory. The positions on the disk have a hole for them, which
        the exchange fills.
        """
        if self._cursor is None:
            return []
        now = self._clocks.now_ms()
        return [
            _with_holes(position, (trade.id for trade in self._packer.open(position.symbol)), now)
            for position in self._cursor.dump()
            if position.symbol in symbols
        ]

    def _void_changes(self, symbols: set[str]) -> dict[tuple[str, int], bool]:
        """Return the voids of these symbols that the spool has to add or to remove.

        They are written together with the position: a trade that replaces a void may still be in
        memory, and after a crash it is fetched only if the position has a hole for it.
        """
        if self._cursor is None:
            return {}
        changes = self._cursor.void_changes
        return {void: known for void, known in changes.items() if void[0] in symbols}


class FeedReader:
    """A source that reads a finite feed in its own thread, so that a feed that waits does not delay
    a batch.
    """

    AHEAD = 10_000  # maximum number of trades that are read and not taken yet
    CHUNK = 200  # trades

    def __init__(self, trades: Iterable[Trade]) -> None:
        self._trades = trades
        self._changed = threading.Condition()
        self._read: list[Trade] = []
        self._ended = False
        self._stopped = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)

    def chunks(self, timeout: float) -> Iterator[list[Trade]]:
        """Return the trades since the last chunk. An error of the feed is raised after its last
        trade.
        """
        self._thread.start()
        ended = False
        while not ended:
            with self._changed:
                self._changed.wait_for(
                    lambda: len(self._read) >= self.CHUNK or self._ended or self._stopped, timeout
                )
                if self._stopped:
                    # The trade that is being passed on belongs to it.
                    self._changed.wait_for(lambda: self._ended, timeout)
                chunk, self._read = self._read, []
                ended = self._ended or self._stopped
                self._changed.notify_all()
            yield chunk
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Stop reading, without waiting for a feed that hangs."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            for trade in self._trades:
                with self._changed:
                    self._changed.wait_for(lambda: len(self._read) < self.AHEAD or self._stopped)
                    self._read.append(trade)
                    if self._stopped:
                        break
                    if len(self._read) == self.CHUNK:
                        self._changed.notify_all()
        except Exception as error:  # noqa: BLE001 - raised where the trades are taken
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()


class _ProducerRun:
    def __init__(
        self,
        intake: Intake,
        senders: Mapping[str, Sender],
        spool: Spool,
        progress: Callable[[ProducerProgress], None],
        stop: threading.Event,
        clocks: Clocks,
        finder: AnomalyFinder | None,
    ) -> None:
        self._clocks = clocks
        self._intake = intake
        self._finder = finder
        self._senders = senders
        self._spool = spool
        self._tell = progress
        self._stop = stop
        self._told = 0.0

    def commit(self) -> None:
        """Write the batches that are due. If the disk refuses, the write is repeated until it
        succeeds. Meanwhile nothing is read, and nothing is dropped.

        Raises:
            Unavailable: the disk refuses, and the run has to stop.
        """
        while True:
            try:
                self._intake.commit()
            except Unavailable:
                self._tell(self.report())
                if self._stop.wait(RETRY):
                    raise
            else:
                break
        if self._finder is not None:
            self._finder.check()

    def wait(self, limit: Limit) -> None:
        """Wait until the queues have accepted all messages, for up to ``limit`` once the run has to
        stop.
        """
        while True:
            deliveries = [sender.delivery for sender in self._senders.values()]
            if all(not each.waiting or each.refused for each in deliveries):
                break
            if self._stop.is_set() and limit.is_over:
                break
            self.maybe_tell()
            time.sleep(TICK / 4)
        self._tell(self.report())

    def report(self) -> ProducerProgress:
        intake = self._intake
        return ProducerProgress(
            read=intake.read,
            repeats=intake.repeats,
            last_time=intake.last_time,
            sites={name: sender.delivery for name, sender in self._senders.items()},
            route=intake.route(),
            holes=tuple(intake.holes()),
            spool_bytes=self._spool.bytes,
            spool_full=self._spool.is_full,
            problem=intake.problem or intake.id_reset.problem,
            newest=intake.newest,
            anomalies=self._finder.found if self._finder is not None else 0,
        )

    def maybe_tell(self) -> None:
        now = self._clocks.timer()
        if now - self._told >= TICK:
            self._told = now
            self._tell(self.report())


def _repair(
    intake: Intake,
    repairer: Repairer,
    came: Collection[str],
    opened: Collection[str],
    ended: Collection[str],
) -> None:
    tails = repairer.tails
    tails.seen(came)
    # This comes last, because arriving trades may be older. A symbol without a position loses
    # nothing.
    tails.opened(intake.begun.intersection(opened))
    tails.ended(intake.begun.intersection(ended))
    tails.seen([symbol for symbol, last_id in tails.take() if intake.expect(symbol, last_id)])
    for repaired in repairer.take():
        intake.take(repaired.trades)
        if repaired.reason:
            intake.note(repaired.hole, repaired.reason)
    repairer.look_at(intake.holes())


def _repair_last(intake: Intake, repairer: Repairer, run: _ProducerRun, limit: Limit) -> None:
    """Fill the open holes after the source has ended, without waiting for their next attempts.

    A hole that the exchange does not fill now is left to the next run.
    """
    repairer.hurry()
    tried: dict[tuple[str, int], int] = {}
    while True:
        _repair(intake, repairer, (), (), ())
        left = [
            hole
            for hole in intake.holes()
            if hole.attempts <= tried.setdefault((hole.symbol, hole.last), hole.attempts)
        ]
        if not left or limit.is_over:
            return
        run.commit()
        run.maybe_tell()
        time.sleep(TICK / 4)


def _with_holes(position: Position, ids: Iterable[int], now: int) -> Position:
    """Return the position with these ids, all of which were seen, marked as missing since
    ``now``.
    """
    holes: list[Hole] = []
    single = [Hole(position.symbol, id_, id_, now) for id_ in ids]
    for hole in sorted([*position.holes, *single], key=attrgetter("first")):
        append_hole(holes, hole)
    return position._replace(holes=tuple(holes))


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
