"""Sites for commands that only read: a service that does not answer delays the command once, and
briefly.

The first answer of a service has to come within ``FIRST`` seconds. A service that fails is not
asked again by the same command: each later call raises the same error immediately. Once a site has
a failed service, or if this machine already knows that it is down, its other services get only
``KNOWN`` seconds for their first answer. A service that has answered gets the usual patience of the
clients, since a large read takes long.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from copy import copy
from typing import Any, TypeVar, cast

from mcloud.clouds.ports import (
    LOG_SEARCH,
    Archive,
    Candles,
    Control,
    FunctionCode,
    Logs,
    Metered,
    Metrics,
    Probe,
    Queue,
    Site,
    SiteService,
    Usage,
)
from mcloud.deadline import briefly
from mcloud.errors import McloudError, Refused, Unavailable, shows_outage

FIRST = 1.4  # seconds
KNOWN = 0.4  # seconds
NO_OBJECT = "raw/none"  # a key that no object has, and that operators may read
TICK = 0.05  # seconds between two checks of a wait
ATTEMPTS = 2  # number of attempts of the clients at a call

Value = TypeVar("Value")


class BoundedSite:
    """Implementation of ``ports.Site`` that asks another site. It is thread-safe.

    Args:
        known: why this machine believes that the site is down, or an empty string.
        sign_in: fetches the credentials, which is not latency of a service.
    """

    def __init__(
        self,
        site: Site,
        *,
        known: str = "",
        sign_in: Callable[[], None] = lambda: None,
        first: float = FIRST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = site.name
        self.cloud = site.cloud
        self._site = site
        self._known = known
        self._sign_in = sign_in
        self._first = first
        self._clock = clock
        self._lock = threading.Lock()
        self._signing = threading.Lock()
        self._is_signed_in = False
        self._not_signed_in: McloudError | None = None
        self._alive: set[str] = set()
        self._failed: dict[str, Unavailable] = {}

    @property
    def queue(self) -> Queue:
        return cast(Queue, _BoundedQueue(self, self._site.queue))

    @property
    def candles(self) -> Candles:
        return cast(Candles, _BoundedPart(self, self._site.candles, "candles"))

    @property
    def archive(self) -> Archive:
        return cast(Archive, _BoundedPart(self, self._site.archive, "archive"))

    @property
    def control(self) -> Control:
        # It is in the same database as the candles.
        return cast(Control, _BoundedPart(self, self._site.control, "candles"))

    @property
    def metrics(self) -> Metrics:
        return cast(Metrics, _BoundedPart(self, self._site.metrics, "metrics"))

    @property
    def logs(self) -> Logs:
        return cast(Logs, _BoundedPart(self, self._site.logs, "logs"))

    @property
    def usage(self) -> Usage:
        return _BoundedUsage(self, self._site.usage)

    @property
    def probe(self) -> Probe:
        return _BoundedProbe(self, self._site.probe)

    @property
    def failed(self) -> Mapping[str, Unavailable]:
        """The errors of the services that have failed, by name."""
        with self._lock:
            return dict(self._failed)

    @property
    def why_failed(self) -> str:
        """Return why the site could not be read, or an empty string."""
        return "; ".join(dict.fromkeys(each.message for each in self.failed.values()))

    def ask(self, service: str, call: Callable[[], Value]) -> Value:
        """Return the result of a call to a service.

        Raises:
            Unavailable: the service does not answer in time, or has failed before.
        """
        with self._lock:
            failed = self._failed.get(service)
            is_alive = service in self._alive
            # Metrics and logs are no part of the pipeline.
            is_suspect = bool(self._known or self._failed.keys() - {"metrics", "logs"})
        if failed is not None:
            raise _again(failed)
        self._fetch_credentials()
        try:
            if is_alive:
                return briefly(call)
            usual = LOG_SEARCH if service == "logs" else self._first
            limit = min(KNOWN, usual) if is_suspect else usual
            if service == "archive":
                # A listing may have to read many staged objects, so a small request comes first.
                self._wait_for(service, lambda: self._site.archive.stat(NO_OBJECT), limit)
                value = briefly(call)
            else:
                value = self._wait_for(service, call, limit)
        except Unavailable as error:
            self._note(service, error)
            raise
        with self._lock:
            self._alive.add(service)
        return value

    def stream(self, service: str, items: Iterator[Value]) -> Iterator[Value]:
        """Yield the items. The first one, or their end, has to arrive in time."""
        end = object()
        item = self.ask(service, lambda: next(items, end))
        if item is end:
            return
        yield cast(Value, item)
        try:
            yield from items
        except Unavailable as error:
            self._note(service, error)
            raise

    def _note(self, service: str, error: Unavailable) -> None:
        if shows_outage(error):
            with self._lock:
                self._failed.setdefault(service, error)

    def _fetch_credentials(self) -> None:
        with self._signing:
            if self._not_signed_in is not None:
                raise _again(self._not_signed_in)
            if self._is_signed_in:
                return
            try:
                self._sign_in()
            except McloudError as error:
                self._not_signed_in = error
                raise
            self._is_signed_in = True

    def _wait_for(self, service: str, call: Callable[[], Value], limit: float) -> Value:
        answers: list[Value] = []
        errors: list[Exception] = []
        is_over = threading.Event()

        def ask() -> None:
            try:
                answers.append(briefly(call))
            except Exception as error:  # noqa: BLE001 - raised below
                errors.append(error)
            finally:
                is_over.set()

        threading.Thread(target=ask, name=f"read {self.name}", daemon=True).start()
        left, before = limit, self._clock()
        while not is_over.wait(min(TICK, left)) and left > 0:
            now = self._clock()
            # A machine that is too busy to run this thread is no latency of the service.
            left -= min(now - before, 2 * TICK)
            before = now
        if not is_over.is_set():
            known = f" ({self._known})" if self._known else ""
            raise Unavailable(f"the {service}: no answer within {limit:g} s{known}")
        if errors:
            raise errors[0]
        return answers[0]


class _BoundedPart:
    """A part of a site whose methods are bounded."""

    def __init__(self, site: BoundedSite, part: object, service: str) -> None:
        self._site = site
        self._part = part
        self._service = service

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        if not callable(found):
            return found

        def bounded(*arguments: Any, **named: Any) -> Any:
            def call() -> Any:
                return found(*arguments, **named)

            service = self._service_of(name)
            answer = call() if name in _STREAMS else self._site.ask(service, call)
            return self._site.stream(service, answer) if isinstance(answer, Iterator) else answer

        return bounded

    def _service_of(self, name: str) -> str:
        return self._service


_STREAMS = ("range", "list", "list_hours", "symbols")
"""Methods that return an iterator, and ask the service once it is used."""


class _BoundedQueue(_BoundedPart):
    def __init__(self, site: BoundedSite, part: Queue) -> None:
        super().__init__(site, part, "queue")
        self.is_live = part.is_live

    def _service_of(self, name: str) -> str:
        is_measured = name in ("depth", "dead_letter_depth") and not self.is_live
        return "metrics" if is_measured else self._service


class _BoundedUsage:
    """Reads the usage, which takes many requests, of a site that answers."""

    def __init__(self, site: BoundedSite, usage: Usage) -> None:
        self._site = site
        self._usage = usage

    def metered(self, start: float, end: float) -> list[Metered]:
        with suppress(Refused):  # the account may read metrics, and not the function
            self._site.probe.check("function", FIRST)
        return briefly(lambda: self._usage.metered(start, end))


class _BoundedProbe:
    def __init__(self, site: BoundedSite, probe: Probe) -> None:
        self._site = site
        self._probe = probe

    def check(self, service: SiteService, timeout: float) -> None:
        self._site.ask(service, lambda: self._probe.check(service, timeout))

    def code(self, timeout: float) -> list[FunctionCode]:
        return self._site.ask("function", lambda: self._probe.code(timeout))


def _again(error: McloudError) -> McloudError:
    """Return an error like this one, since a traceback must not grow with each raise."""
    return copy(error).with_traceback(None)
