"""The sender of one site: a few threads send messages from the spool, with a circuit breaker."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import inf
from operator import attrgetter
from typing import Annotated

from mcloud.backoff import Jitter
from mcloud.clouds.ports import Queue
from mcloud.deadline import briefly
from mcloud.documents import OTHER_TEXTS, Seconds
from mcloud.errors import McloudError, Unavailable
from mcloud.market.envelope import VERSION, version_of, window_end
from mcloud.producer.breaker import CLOSED, Breaker, BreakerState
from mcloud.producer.envelope_support import FUNCTION_ANSWERS, Reads
from mcloud.producer.message_log import MessageLog
from mcloud.producer.parcels import Parcel, alone, combine
from mcloud.producer.spool import Spool
from mcloud.producer.spool_message import Spooled

REQUEST = 10  # maximum number of messages in a call of the queue: a full SQS batch
WINDOW = 50_000
"""Maximum number of messages of the spool that are combined together. A minute of 400 symbols has
17,000. Where it has more, each candle is written, and billed, several times."""
WINDOW_TRADES = 400_000  # maximum number of trades in them, which take about 120 MB
TAKEN = 2_000  # messages that are read from the spool at once, while nothing can be added to it
GRACE = 1.3  # seconds after the end of a window, until its last trades are in the spool
LOOK = 0.5  # seconds between two checks for messages to send, or for the end
REFUSED_PAUSE = 30.0  # seconds until a site that refused permanently is tried again
LATE = 0.7  # seconds after which a request that is not over is suspicious
NEWEST = 0.2  # weight of the newest request in the average latency


@dataclass(frozen=True)
class SiteDelivery:
    """Progress of a site."""

    messages: int = 0
    """Number of messages that its queue has accepted since the start."""
    trades: int = 0
    waiting: int = 0
    """Number of messages in the spool that its queue has not accepted."""
    waiting_trades: int = 0
    breaker: Annotated[BreakerState, OTHER_TEXTS] = CLOSED
    latency: Seconds | None = None
    """Average duration of a request in seconds; None before the first."""
    error: str = ""
    """The last failure; empty after a success."""
    refused: bool = False
    """Whether the site accepts messages again only after somebody has changed something."""
    lag_s: Seconds = 0.0
    """Seconds since the oldest trade that its queue has not accepted was received; 0 if it has
    accepted all."""


class Sender:
    """Sends the pending messages of a site until it is closed, independently of other sites."""

    def __init__(
        self,
        site: str,
        queue: Queue,
        spool: Spool,
        *,
        freshness: float = 0.0,
        trail: MessageLog | None = None,
        reads: Callable[[], Reads] = lambda: Reads(VERSION),
        suspect: Callable[[], None] | None = None,
        threads: int = 2,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        jitter: Jitter = random.uniform,
    ) -> None:
        """``freshness`` is the number of seconds during which messages are collected and combined;
        0 sends each message of the spool immediately. ``reads`` returns, without waiting, the
        versions of envelopes that the function of the site reads. ``suspect`` is called if a
        request fails or is late.
        """
        self.site = site
        self._queue = queue
        self._spool = spool
        self._freshness = freshness
        self._sent_until = 0
        """End of the last window that was sent, in ms since 1970."""
        self._is_repeated = False
        """Whether messages have failed. They are sent again without a delay."""
        self._is_hurried = False
        """Whether messages no longer wait for the end of a window."""
        self._latest = 0.0
        """Latest time that the wall clock has shown."""
        self._trail = trail
        self._clock = clock
        self._wall = wall
        self._breaker = Breaker(clock, jitter)
        self._trying = False
        self._reads = reads
        self._suspect = suspect
        self._held: set[int] = set()
        """Ids of taken messages that the site's function cannot read yet."""
        self._needed = 1
        """Lowest version that the function has to read for them."""
        self._held_since = 0.0
        self._unsettled: set[int] = set()
        """Ids of messages that the site has accepted and that are not settled in the spool yet."""
        self._closed = False
        self._changed = threading.Condition()
        self._delivery = SiteDelivery()
        for _ in range(threads):
            # The threads are daemons, because a call that hangs must not keep the process alive
            # after its deadline.
            threading.Thread(target=self._run, name=f"send-{site}", daemon=True).start()

    @property
    def delivery(self) -> SiteDelivery:
        pending = self._spool.pending(self.site)
        with self._changed:
            before = self._delivery
            is_held = bool(self._held) and pending.messages > 0
            reads = self._reads() if is_held else Reads(VERSION)
            is_held = is_held and reads.is_asked and reads.highest < self._needed
            is_answered = not reads.problem and self._clock() - self._held_since > FUNCTION_ANSWERS
            is_for_good = is_held and (is_answered or reads.is_refused)
            return replace(
                before,
                error=before.error or (self._held_error(reads) if is_held else ""),
                refused=before.refused or is_for_good,
                waiting=pending.messages,
                waiting_trades=pending.trades,
                breaker=self._breaker.state,
                lag_s=self._lag(pending.oldest_received_at),
            )

    def _lag(self, received_at: int | None) -> float:
        if received_at is None:
            return 0.0
        return round(max(0.0, self._wall() - received_at / 1000), 1)

    def close(self) -> None:
        """Stop taking messages. Pending messages stay in the spool."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def hurry(self) -> None:
        """Send all messages without a delay from now on, regardless of the freshness."""
        with self._changed:
            self._is_hurried = True
            self._changed.notify_all()

    def _run(self) -> None:
        while self._wait():
            try:
                self._settle([])
                self._let_go()
                self._deliver_all(self._take())
            except McloudError as error:
                self._count([], 0.0, str(error), False, 0.0)
            except ValueError:
                return  # the spool was closed during a call that did not return

    def _take(self) -> list[Parcel]:
        """Take the messages that are due, and return them as parcels."""
        if not self._freshness:
            taken = self._hold_back(self._spool.take(self.site, REQUEST, LOOK))
            return [alone(each) for each in taken]
        until = self._due()
        if until is None:
            with self._changed:
                self._changed.wait(LOOK / 2)
            return []
        # A site that is being tried gets only one request.
        limit = WINDOW if self._breaker.state == CLOSED else REQUEST
        timeout = LOOK if until == inf else 0.0
        taken = self._read(limit, timeout)
        if len(taken) == limit or sum(each.count for each in taken) >= WINDOW_TRADES:
            with self._changed:
                self._sent_until = 0  # more messages can be sent now
        # The site is not asked which messages its function reads where that changes nothing.
        symbols = {each.message.attributes.get("symbol") for each in taken}
        parcels, later = combine(
            self._hold_back(taken),
            until=until,
            oldest=until - 1000 * self._freshness,
            several_symbols=len(symbols) > 1 and self._reads().highest > 1,
            one_in=None if self._trail is None else self._trail.one_in,
        )
        self._spool.release(self.site, [each.id for each in later])
        return parcels

    def _read(self, limit: int, timeout: float) -> list[Spooled]:
        """Take up to ``limit`` messages, of up to about ``WINDOW_TRADES`` trades."""
        taken: list[Spooled] = []
        trades = 0
        while len(taken) < limit and trades < WINDOW_TRADES:
            count, left = min(TAKEN, limit - len(taken)), WINDOW_TRADES - trades
            some = self._spool.take(self.site, count, 0.0 if taken else timeout, trades=left)
            taken += some
            trades += sum(each.count for each in some)
            if len(some) < count:
                break
        return taken

    def _due(self) -> float | None:
        """Return the time up to which trades are sent now, in ms since 1970, or None.

        Each window is sent once. After a failure, and if messages were moved from another site or
        fill the spool, all messages are sent immediately.
        """
        with self._changed:
            # Read under the lock: otherwise the other thread could have read a later time.
            now = self._wall()
            was_set_back = now < self._latest
            self._latest = now
            is_repeated, self._is_repeated = self._is_repeated, False
            is_urgent = self._spool.has_moved(self.site) or self._spool.is_full or is_repeated
            if is_urgent or was_set_back or self._is_hurried:
                return inf
            until = window_end(int((now - GRACE) * 1000), self._freshness)
            if until == self._sent_until:
                return None
            self._sent_until = until
            return until

    def _deliver_all(self, parcels: list[Parcel]) -> None:
        """Send parcels until a request fails, and release the rest."""
        left = parcels
        try:
            while left:
                request, left = left[:REQUEST], left[REQUEST:]
                if not self._deliver(request):
                    break
        finally:
            # Also if the disk refuses to settle what was accepted.
            self._release(left)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Report a request that is late, while it waits."""
        if self._suspect is None:
            yield
            return
        late = threading.Timer(LATE, self._suspect)
        late.daemon = True
        late.start()
        try:
            yield
        finally:
            late.cancel()

    def _deliver(self, parcels: list[Parcel]) -> bool:
        """Send a request of the queue. Return False if no other one should follow immediately."""
        # This is checked again, because another thread may have changed the breaker meanwhile.
        if not self._wait(to_try=True):
            self._release(parcels)
            return False
        began, at = self._clock(), self._wall()
        with self._watched():
            failed, error, refused, wait = self._send(parcels)
        if error and not refused and self._suspect is not None:
            self._suspect()
        seconds = self._clock() - began
        accepted = [each for each in parcels if each not in failed]
        if accepted and self._trail is not None:
            self._trail.sent(self.site, accepted, int(at * 1000))
        # Messages are counted before they are settled, so that the counts are complete whenever
        # nothing is pending.
        self._count(accepted, seconds, error, refused, wait)
        # Messages are released after that, so that the breaker delays the thread that takes them
        # next.
        self._release(failed)
        self._settle([part for each in accepted for part in each.parts])
        return not error

    def _release(self, parcels: list[Parcel]) -> None:
        """Return the messages to the spool, to be sent as soon as the site allows it."""
        if parcels:
            with self._changed:
                self._is_repeated = True
            self._spool.release(self.site, [part.id for each in parcels for part in each.parts])

    def _wait(self, *, to_try: bool = False) -> bool:
        """Wait until the breaker allows a request. Return False if there will be none.

        While the breaker is not closed, only one thread sends requests, so that a recovering site
        is not overloaded.
        """
        with self._changed:
            while not self._closed:
                wait = self._breaker.wait()
                may_try = self._breaker.state == CLOSED or not self._trying
                if not wait and (may_try or not to_try):
                    self._trying = self._trying or to_try
                    return True
                self._changed.wait(min(wait or LOOK, LOOK))
            return False

    def _hold_back(self, taken: list[Spooled]) -> list[Spooled]:
        """Hold back messages that the function of the site cannot read and would dead-letter."""
        versions = {each.id: version_of(each.message) for each in taken}
        newest = max(versions.values(), default=1)
        if newest == 1 or newest <= (highest := self._reads().highest):
            return taken
        held = {id_ for id_, version in versions.items() if version > highest}
        with self._changed:
            if not self._held:
                self._held_since = self._clock()
            self._held |= held
            self._needed = max(newest, self._needed)
        return [each for each in taken if each.id not in held]

    def _held_error(self, reads: Reads) -> str:
        count = len(self._held)
        waiting = f"{count:,} {'message waits' if count == 1 else 'messages wait'}"
        return f"{waiting}: {reads.why_not(self._needed, self.site)}"

    def _let_go(self) -> None:
        """Put back the held messages once the function can read them."""
        with self._changed:
            some = next(iter(self._held), None)
        if some is None:
            return
        if not self._spool.is_taken(self.site, some):  # moved to another site meanwhile
            with self._changed:
                self._held = {id_ for id_ in self._held if self._spool.is_taken(self.site, id_)}
            return
        if self._reads().highest < self._needed:
            return
        with self._changed:
            free, self._held = self._held, set()
        self._spool.release(self.site, free)

    def _settle(self, accepted: list[Spooled]) -> None:
        """Settle accepted messages, and those that could not be settled before, for example on a
        full disk.

        Until they are settled they stay taken. After a crash they are sent again.
        """
        with self._changed:
            self._unsettled.update(each.id for each in accepted)
            unsettled = set(self._unsettled)
        if unsettled:
            self._spool.settle(self.site, unsettled)
            with self._changed:
                self._unsettled -= unsettled

    def _send(self, parcels: list[Parcel]) -> tuple[list[Parcel], str, bool, float]:
        """Return the failed parcels, the reason, whether it is permanent, and the minimum time to
        wait.
        """
        try:
            # Retries of the client would hide that the site is throttled.
            unsent = briefly(lambda: self._queue.send([each.message for each in parcels]))
        except Unavailable as error:
            return parcels, str(error), False, getattr(error, "retry_after", 0.0)
        except Exception as error:  # noqa: BLE001 - if the thread ended, the drain would never end
            return parcels, _describe(error), True, REFUSED_PAUSE
        if not unsent:
            return [], "", False, 0.0
        worst = max(unsent, key=attrgetter("permanent"))
        pause = REFUSED_PAUSE if worst.permanent else 0.0
        return [parcels[each.index] for each in unsent], worst.reason, worst.permanent, pause

    def _count(
        self, accepted: list[Parcel], seconds: float, error: str, refused: bool, wait: float
    ) -> None:
        with self._changed:
            self._trying = False
            before = self._delivery
            # A site that accepts some messages is up, so its breaker does not open.
            if accepted or not error:
                self._breaker.succeed()
            if error:
                self._breaker.fail(wait)
            average = before.latency
            if accepted:
                average = seconds if average is None else average + NEWEST * (seconds - average)
            self._delivery = replace(
                before,
                messages=before.messages + len(accepted),
                trades=before.trades + sum(each.trades for each in accepted),
                latency=average,
                error=error,
                refused=refused,
            )
            self._changed.notify_all()


def _describe(error: Exception) -> str:
    """Return the text of an error, with its type if it comes from another library."""
    return str(error) if isinstance(error, McloudError) else f"{type(error).__name__}: {error}"
