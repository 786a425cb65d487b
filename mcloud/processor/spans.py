"""Spans of the work on sampled messages, for X-Ray, Cloud Trace or OpenTelemetry.

They are recorded once the message is stored and before it is acknowledged, since an instance is
frozen after that. This may take a moment, and never fails a message.
"""

import os
import time
from collections.abc import Callable, Iterable

from mcloud.clouds.spans import Exporter, Span
from mcloud.errors import reason_of
from mcloud.processor.arrival import Arrival
from mcloud.processor.ingest import Ingested
from mcloud.processor.log import log

# seconds without spans after a failure, so that later messages do not wait for the timeout
PAUSE = 300.0


class Recorder:
    """Record the spans of the messages of one function. It is thread-safe."""

    def __init__(
        self,
        service: str,
        exporter: Exporter | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        new_id: Callable[[], str] = lambda: os.urandom(8).hex(),
    ) -> None:
        """``service`` is the name of the function. Without an exporter nothing is recorded."""
        self._service = service
        self._exporter = exporter
        self._clock = clock
        self._new_id = new_id
        self._paused_until: float | None = None

    def record(self, arrivals: Iterable[Arrival], done: Ingested) -> None:
        if self._exporter is None:
            return
        spans = [
            span
            for arrival in arrivals
            for span in spans_of(arrival, done, self._service, self._new_id)
        ]
        if not spans or (self._paused_until and self._clock() < self._paused_until):
            return
        try:
            self._exporter.export(spans)
        except Exception as error:  # noqa: BLE001 - or a stored message is delivered forever
            if self._paused_until is None:  # log it once for each instance
                reason = reason_of(error)
                log("WARNING", "no spans", reason=reason, paused_seconds=PAUSE)
            self._paused_until = self._clock() + PAUSE


def spans_of(
    arrival: Arrival, done: Ingested, service: str, new_id: Callable[[], str]
) -> list[Span]:
    """Return spans of the wait in the queue and of the work; none if the message is not sampled."""
    parent = arrival.sampled
    if parent is None:
        return []
    attributes: dict[str, str | int] = {**arrival.ids, "trades": arrival.trades}
    work = new_id()

    def span(name: str, id_: str, under: str, start: float, end: float) -> Span:
        # The clocks of two machines may differ. A span must not end before it begins.
        return Span(name, parent.trace_id, id_, under, min(start, end), end, attributes)

    waited = [] if arrival.queued is None else [arrival.queued / 1000]
    archived = [] if done.archived is None else [done.archived]
    return [
        *(span("queue", new_id(), parent.span_id, queued, done.began) for queued in waited),
        span(service, work, parent.span_id, done.began, done.stored),
        *(span("archive", new_id(), work, done.began, end) for end in archived),
        span("candles", new_id(), work, done.archived or done.began, done.stored),
    ]
