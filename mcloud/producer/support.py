"""Which versions of envelopes the function of a site reads, for those who send to it.

The function notes it (see ``processor.support``). It is asked only when a message needs more than
the oldest version. A site whose note is missing or old is sent a canary: a function that can read
more then says so, and one of an older release takes the canary like any other message.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from mcloud import canary
from mcloud.clock import Limit
from mcloud.clouds.ports import Site
from mcloud.errors import Refused
from mcloud.market.envelope import VERSION, encode
from mcloud.processor.pulse import ANNOUNCEMENT
from mcloud.processor.support import ENVELOPES, SUPPORT, EnvelopeSupport

OLDEST = 1
"""The version that every function reads."""

AGAIN = 2.0  # seconds between two reads while the function cannot read the newest version
AWAY = 10.0  # seconds until the next read after one that failed
RENEWED = 60.0  # seconds between two reads once it can
ASKED = 60.0  # seconds between two canaries
ANSWER = 60.0  # seconds in which a function that was asked says what it reads, if it ever does
STALE = 2 * ANNOUNCEMENT + 100.0
"""Seconds after which a note is not trusted: the function should have renewed it twice."""


class Support:
    """The envelope versions that one site's function reads. Safe for any number of threads."""

    def __init__(
        self,
        site: Site,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._site = site
        self._clock = clock
        self._wall = wall
        self._lock = threading.Lock()
        self._highest = OLDEST
        self._look_at = self._ask_at = clock()
        self._noted: float | None = None
        """The time in the note when it was last read."""
        self._renewed = clock()
        """When that was last seen to change."""

    def highest(self) -> int:
        """The newest version that may be sent; takes as long as a request where it is due."""
        with self._lock:
            if self._clock() >= self._look_at:
                self._look()
            return self._highest

    def require(self, version: int) -> None:
        """Wait until the function reads a version.

        Raises:
            Refused: it does not say so.
        """
        limit = Limit(ANSWER, self._clock)
        while self.highest() < version:
            if limit.is_over:
                raise Refused(
                    f"the function of {self._site.name} cannot read version {version} of the"
                    " message format",
                    remedy=f"upgrade it with `mcloud deploy {self._site.name}`",
                )
            time.sleep(AGAIN / 4)

    def _look(self) -> None:
        now = self._clock()
        self._look_at = now + AGAIN
        try:
            note = SUPPORT.decode(ENVELOPES, self._site.control.get(SUPPORT.name, ENVELOPES))
        except Exception:  # noqa: BLE001 - the sender's thread must not end
            # What was known stays. The call may have taken long, and messages wait behind it.
            self._look_at = self._clock() + AWAY
            return
        self._highest = self._usable(note, now) if isinstance(note, EnvelopeSupport) else OLDEST
        if self._highest >= VERSION:
            self._look_at = now + RENEWED
        elif now >= self._ask_at:
            self._ask_at = now + ASKED
            with suppress(Exception):  # the same; it is asked again
                self._site.queue.send([encode([canary.trade(1)])])

    def _usable(self, note: EnvelopeSupport, now: float) -> int:
        if note.at != self._noted:
            age = self._wall() - note.at if self._noted is None else 0.0
            self._noted, self._renewed = note.at, now - max(0.0, age)
        return note.highest if now - self._renewed < STALE else OLDEST
