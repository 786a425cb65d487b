"""Which versions of envelopes the function of a site reads, for those who send to it.

The function notes it (see ``processor.support``). It is asked only when a message needs more than
the oldest version. A site whose note is missing or old is sent a canary: a function that can read
more then says so, and one of an older release takes the canary like any other message.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from mcloud import canary
from mcloud.clock import Limit
from mcloud.clouds.ports import Site
from mcloud.errors import Refused, Unavailable
from mcloud.market.envelope import VERSION, encode
from mcloud.processor.pulse import ANNOUNCEMENT
from mcloud.processor.support import ENVELOPES, SUPPORT, EnvelopeSupport

OLDEST = 1
"""The version that every function reads."""

AGAIN = 2.0  # seconds between two reads while the function cannot read the newest version
AWAY = 10.0  # seconds until the next read after one that failed
RENEWED = 60.0  # seconds between two reads once it can
ASKED = 60.0  # seconds between two canaries
FUNCTION_ANSWERS = 60.0
"""Seconds in which a function that was asked says what it reads, if it ever does."""
STALE = 2 * ANNOUNCEMENT + 100.0
"""Seconds after which a note is not trusted: the function should have renewed it twice."""


@dataclass(frozen=True)
class Reads:
    """Which envelope versions the function of a site reads, as far as that is known."""

    highest: int
    """The newest version that may be sent."""
    is_asked: bool = True
    """False until the control store has answered for the first time, or has failed to."""
    problem: str = ""
    """Why the control store does not say which versions, with the remedy; empty if it does."""
    is_refused: bool = False
    """Whether somebody has to change something before it says so."""

    def why_not(self, version: int, site: str) -> str:
        """Return why messages of a version are not sent, and what to do about it."""
        if self.problem:
            return (
                f"the control store of {site} does not show which message formats its function"
                f" reads: {self.problem}"
            )
        return (
            f"the function of {site} cannot read version {version} of the message format: run"
            f" `mcloud deploy {site}`"
        )


def _in_thread(look: Callable[[], None]) -> None:
    # A daemon: a call that hangs must not keep the process alive.
    threading.Thread(target=look, name="support", daemon=True).start()


class Support:
    """The envelope versions that one site's function reads. Safe for any number of threads.

    The site is asked in a thread of its own, one call at a time, so that nobody waits for it.
    """

    def __init__(
        self,
        site: Site,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        start: Callable[[Callable[[], None]], None] = _in_thread,
    ) -> None:
        """``start`` has the site asked."""
        self._site = site
        self._clock = clock
        self._wall = wall
        self._start = start
        self._lock = threading.Lock()
        self._known = Reads(OLDEST, is_asked=False)
        self._look_at = self._ask_at = clock()
        self._looking_since: float | None = None
        self._noted: float | None = None
        """The time in the note when it was last read."""
        self._renewed = clock()
        """When that was last seen to change."""

    def reads(self) -> Reads:
        """Return what is known now, and have the site asked again where that is due."""
        with self._lock:
            now = self._clock()
            is_due = self._looking_since is None and now >= self._look_at
            if is_due:
                self._looking_since = now
        if is_due:
            self._start(self._look)
        with self._lock:
            since = self._looking_since
            if since is None or self._clock() - since < AWAY:
                return self._known
            silent = f"it has not answered for {AWAY:.0f} s"
            return replace(self._known, is_asked=True, problem=silent, is_refused=False)

    def require(self, version: int) -> None:
        """Wait until the function reads a version.

        Raises:
            Refused: it does not say so, or the control store may not be read.
            Unavailable: the control store does not answer.
        """
        limit = Limit(FUNCTION_ANSWERS, self._clock)
        while (reads := self.reads()).highest < version:
            if limit.is_over or reads.is_refused:
                error = Unavailable if reads.problem and not reads.is_refused else Refused
                raise error(reads.why_not(version, self._site.name))
            time.sleep(AGAIN / 4)

    def _look(self) -> None:
        now = self._clock()
        look_at = now + AGAIN
        try:
            note = SUPPORT.decode(ENVELOPES, self._site.control.get(SUPPORT.name, ENVELOPES))
        except Exception as error:  # noqa: BLE001 - the thread must say that it has ended
            # The highest version that was known stays. The call may have taken long.
            known = replace(
                self._known,
                is_asked=True,
                problem=str(error) or type(error).__name__,
                is_refused=isinstance(error, Refused),
            )
            look_at = self._clock() + AWAY
        else:
            known = Reads(self._usable(note, now) if isinstance(note, EnvelopeSupport) else OLDEST)
            if known.highest >= VERSION:
                look_at = now + RENEWED
            elif now >= self._ask_at:
                self._ask_at = now + ASKED
                with suppress(Exception):  # the same; it is asked again
                    self._site.queue.send([encode([canary.trade(1)])])
        with self._lock:
            self._known, self._look_at, self._looking_since = known, look_at, None

    def _usable(self, note: EnvelopeSupport, now: float) -> int:
        if note.at != self._noted:
            age = self._wall() - note.at if self._noted is None else 0.0
            self._noted, self._renewed = note.at, now - max(0.0, age)
        return note.highest if now - self._renewed < STALE else OLDEST
