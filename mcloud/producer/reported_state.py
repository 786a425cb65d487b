"""The state that a producer reports once a second: plain values for ``ps``, ``status`` and JSON."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from mcloud.producer.produce import ProducerProgress

RATE = 0.3  # weight of the newest second in the rate


class ReportedState:
    """Converts progress to a state document, with the rate and the count of messages in the
    month.
    """

    def __init__(
        self,
        about: Mapping[str, Any],
        last: Mapping[str, Any],
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """``about`` has the constant values. ``last`` is the last state of the previous run."""
        self._about = about
        self._clock = clock
        self._wall = wall
        self._started = wall()
        self._rate = 0.0
        self._seen = (clock(), 0)
        self._messages: dict[str, int] = {}
        self._month = last.get("month", "")
        self._sent: dict[str, int] = dict(last.get("sent", {}))
        self._turn_month()

    def sent_this_month(self, site: str) -> int:
        """Return the number of messages that the site accepted in this calendar month, UTC."""
        return self._sent.get(site, 0)

    def state(
        self, progress: ProducerProgress, source: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the document. It is called about once a second."""
        now = self._wall()
        self._measure(progress)
        lag = now - progress.last_time / 1000 if progress.last_time else None
        return {
            **self._about,
            # An exchange lists and delists symbols during a run.
            **({"symbols": source["symbols"]} if source and "symbols" in source else {}),
            "pid": os.getpid(),
            "started": self._started,
            "at": now,
            "read": progress.read,
            "repeats": progress.repeats,
            "rate": round(self._rate, 1),
            "last_trade_time": progress.last_time or None,
            "lag_s": round(lag, 3) if lag is not None else None,
            "route": {"sites": list(progress.route.sites), "reason": progress.route.reason},
            "sites": {name: asdict(site) for name, site in progress.sites.items()},
            "holes": [hole._asdict() for hole in progress.holes],
            "spool_bytes": progress.spool_bytes,
            "spool_full": progress.spool_full,
            "problem": progress.problem,
            "source_state": source,
            "stalled": list(source.get("stalled", ())) if source else [],
            "month": self._month,
            "sent": {name: self.sent_this_month(name) for name in progress.sites},
        }

    def _measure(self, progress: ProducerProgress) -> None:
        then, read = self._seen
        now = self._clock()
        if now > then:
            newest = (progress.read - read) / (now - then)
            self._rate += RATE * (newest - self._rate) if self._rate else newest
        self._seen = now, progress.read
        self._turn_month()
        for name, site in progress.sites.items():
            fresh = site.messages - self._messages.get(name, 0)
            self._sent[name] = self._sent.get(name, 0) + fresh
            self._messages[name] = site.messages

    def _turn_month(self) -> None:
        month = time.strftime("%Y-%m", time.gmtime(self._wall()))
        if month != self._month:
            self._month, self._sent = month, {}
