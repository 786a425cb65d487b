"""Send the anomalies that producers have stored in a site's control store. A schedule does that.

Each anomaly is sent at least once: its note is deleted only after it was sent. Once an instance has
removed what earlier releases left, a call makes one query, of the notes, and further requests only
if there are any.
"""

import time
from collections.abc import Callable, Sequence

from mcloud.clouds.anomalies import KIND, UNTOLD, UNTOLD_ANOMALIES, AnomalyRecord
from mcloud.clouds.ports import Control
from mcloud.documents import Damaged, encode, sound
from mcloud.market.anomaly import Anomaly
from mcloud.market.candle import to_timestamp
from mcloud.processor.log import log

KEPT = 7 * 86_400_000  # ms before the newest anomaly that was sent
AT_ONCE = 100
"""Maximum number of anomalies in a message. SNS limits a message to 256 KiB."""
EARLIER_WATCH = "anomaly-watch"
"""Kind of the documents in which the functions of earlier releases noted how far they had checked
each symbol."""


class AnomalySender:
    """Sends the anomalies of one site. An instance of the function keeps it between calls."""

    def __init__(self, control: Control, clock: Callable[[], float] = time.time) -> None:
        """``clock`` returns the time in seconds since 1970."""
        self._control = control
        self._clock = clock
        self._is_tidy = False
        """Whether no documents of earlier releases are left."""

    def send(self, tell: Callable[[list[Anomaly]], None] | None = None) -> list[Anomaly]:
        """Log the anomalies that have not been sent yet, pass them to ``tell``, and return them.

        If ``tell`` raises, the next call sends them.
        """
        told = self._untold()
        for key, each in told.items():
            if isinstance(each, Damaged):
                log("ERROR", "cannot read an anomaly", key=key, reason=str(each))
        untold = [each.anomaly for each in sound(told.values())]
        for anomaly in untold:
            log("WARNING", "anomaly", **logged(anomaly))
        if untold and tell is not None:
            tell(untold)
        for key, each in told.items():
            if not isinstance(each, Damaged):
                self._control.forget(UNTOLD, key)
        if untold:
            # A false time in the future makes no anomaly old.
            newest = min(untold[-1].start, int(self._clock() * 1000))
            self._forget_until(to_timestamp(max(0, newest - KEPT)))
        log("INFO", "checked", anomalies=len(untold))
        self._tidy()
        return untold

    def _untold(self) -> dict[str, AnomalyRecord | Damaged]:
        """Return the first notes, and further ones as long as all of them are damaged."""
        told: dict[str, AnomalyRecord | Damaged] = {}
        after = ""
        while True:
            notes = self._control.kept(UNTOLD, after, AT_ONCE)
            told |= {key: UNTOLD_ANOMALIES.decode(key, each) for key, each in notes.items()}
            if len(notes) < AT_ONCE or any(not isinstance(told[key], Damaged) for key in notes):
                return told
            after = max(notes)

    def _forget_until(self, until: str) -> None:
        """Delete at most ``AT_ONCE`` of the oldest anomalies.

        The keys of anomalies start with the minute.
        """
        for key in self._control.kept(KIND, limit=AT_ONCE):
            if key >= until:
                break
            self._control.forget(KIND, key)

    def _tidy(self) -> None:
        """Delete what earlier releases left, in the first calls of an instance."""
        if self._is_tidy:
            return
        left = self._control.kept(EARLIER_WATCH, limit=AT_ONCE)
        for key in left:
            self._control.forget(EARLIER_WATCH, key)
        self._is_tidy = len(left) < AT_ONCE


def logged(anomaly: Anomaly) -> dict[str, str | int]:
    """Return the fields of the log line of an anomaly: those of its record, with the time renamed,
    because ``timestamp`` may be read as that of the line.
    """
    record = encode(AnomalyRecord.of(anomaly))
    return {"minute": record.pop("timestamp"), **record}


def headline(anomalies: Sequence[Anomaly]) -> str:
    """Return one line about all anomalies, in ASCII and below 100 characters, as SNS requires."""
    first = anomalies[0]
    text = f"mcloud: {first.kind} of {first.symbol} at {first.timestamp}"
    return f"{text} and {len(anomalies) - 1} more" if len(anomalies) > 1 else text
