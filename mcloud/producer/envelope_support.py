"""The versions of envelopes that the function of a site reads, for the senders.

The function stores a note (see ``processor.envelope_support``). It is read only if a message needs
more than the oldest version. If the note is missing or old, a canary is sent to the site. A
function that can read more then stores the note, and a function of an older release processes the
canary like any message.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from mcloud import canary
from mcloud.clock import Limit
from mcloud.clouds.ports import Site
from mcloud.errors import Refused, Unavailable, reason_of
from mcloud.market.envelope import VERSION, encode
from mcloud.processor.envelope_support import ENVELOPES, SUPPORT, EnvelopeSupport
from mcloud.processor.pulse import ANNOUNCEMENT

OLDEST = 1
"""Version that every function reads."""

# seconds between two reads of the note while the function cannot read the newest version
AGAIN = 2.0
AWAY = 10.0  # seconds until the next read after a failed one
# seconds between two reads of the note once the function can read the newest version
RENEWED = 60.0
ASKED = 60.0  # seconds between two canaries
FUNCTION_ANSWERS = 60.0
"""Seconds after a canary within which a function stores its note, if it supports notes."""
STALE = 2 * ANNOUNCEMENT + 100.0
"""Seconds after which a note is too old: the function should have renewed it twice."""


@dataclass(frozen=True)
class Reads:
    """The known envelope versions that the function of a site reads."""

    highest: int
    """Newest version that may be sent."""
    is_asked: bool = True
    """Whether the control store has answered or failed at least once."""
    problem: str = ""
    """Reason why the control store has no answer, with the remedy; empty if it has one."""
    is_refused: bool = False
    """Whether the problem lasts until a person changes something."""

    def why_not(self, version: int, site: str) -> str:
        """Return why messages of a version are not sent, and the remedy."""
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
    # The thread is a daemon, because a call that hangs must not keep the process alive.
    threading.Thread(target=look, name="support", daemon=True).start()


class SupportReader:
    """The envelope versions that the function of one site reads. It is thread-safe.

    The site is called in a separate thread, one call at a time, so that no caller waits for it.
    """

    def __init__(
        self,
        site: Site,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        start: Callable[[Callable[[], None]], None] = _in_thread,
    ) -> None:
        """``start`` runs a call of the site in the background."""
        self._site = site
        self._clock = clock
        self._wall = wall
        self._start = start
        self._lock = threading.Lock()
        self._known = Reads(OLDEST, is_asked=False)
        self._look_at = self._ask_at = clock()
        self._looking_since: float | None = None
        self._noted: float | None = None
        """Time in the note when it was last read."""
        self._renewed = clock()
        """Time when that was last seen to change."""

    def reads(self) -> Reads:
        """Return the known versions, and start another call of the site if it is due."""
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
            Refused: the function has not stored its note, or the control store denies access.
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
        except Exception as error:  # noqa: BLE001 - the error is returned as the state of the call
            # The highest known version is kept. The call may have taken a while.
            known = replace(
                self._known,
                is_asked=True,
                problem=reason_of(error),
                is_refused=isinstance(error, Refused),
            )
            look_at = self._clock() + AWAY
        else:
            known = Reads(self._usable(note, now) if isinstance(note, EnvelopeSupport) else OLDEST)
            if known.highest >= VERSION:
                look_at = now + RENEWED
            elif now >= self._ask_at:
                self._ask_at = now + ASKED
                with suppress(Exception):  # the note is unchanged, and the site is called again
                    self._site.queue.send([encode([canary.trade(1)])])
        with self._lock:
            self._known, self._look_at, self._looking_since = known, look_at, None

    def _usable(self, note: EnvelopeSupport, now: float) -> int:
        if note.at != self._noted:
            age = self._wall() - note.at if self._noted is None else 0.0
            self._noted, self._renewed = note.at, now - max(0.0, age)
        return note.highest if now - self._renewed < STALE else OLDEST
