"""What any site offers, whichever cloud it is in.

Adapters in ``aws/`` and ``gcp/`` (the same file names in each) keep these promises; the contract
tests hold every site kind to them. All are synchronous and safe to call from several threads.
Concurrency belongs to the callers. Any call may raise Unavailable (try again) or Refused (it will
not work until somebody changes something), both from ``mcloud.errors``.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from mcloud.market.archive import ArchiveObject
from mcloud.market.candle import Candle, Folded
from mcloud.market.envelope import Message


@dataclass(frozen=True)
class Unsent:
    """A message that the queue did not take; the others of the call are in."""

    index: int
    """Its position in the call's list."""
    reason: str
    permanent: bool
    """True where the same message will be refused again."""


@dataclass(frozen=True)
class Depth:
    """Messages in a queue. None is unknown, never 0."""

    ready: int | None
    in_flight: int | None
    as_of: float
    """When it was true, seconds since 1970: Cloud Monitoring lags by minutes."""


@dataclass(frozen=True)
class DeadLetter:
    id: str
    body: bytes
    attributes: dict[str, str]
    deliveries: int | None
    """How often its delivery was tried, where the cloud says."""


@dataclass(frozen=True)
class Stored:
    """An object in the raw archive."""

    key: str
    size: int
    """Bytes."""


@dataclass(frozen=True)
class Heartbeat:
    """What a site's function did for a symbol since the site was made.

    Counts are approximate: an instance that dies takes its last few seconds with it, and a write
    that was repeated after a lost answer counts twice. The candles are what is exact.
    """

    symbol: str
    last_trade_time: int
    """The newest trade time seen, ms since 1970."""
    trades: int
    """Processed, repeats included."""
    messages: int
    at: float
    """When it was written, seconds since 1970."""


@dataclass(frozen=True)
class ControlRecord:
    """Which site leads. Kept on every site; of several the highest epoch is the one that counts.

    It governs routing and cost only: candles merge, so correctness never depends on it.
    """

    epoch: int
    primary: str
    """A site's name."""
    mode: str
    """``manual`` or ``automatic``: who decided."""
    reason: str
    by: str
    at: float
    """Seconds since 1970."""


@dataclass(frozen=True)
class Invocations:
    """What the metrics service knows of the function over a window. None is unknown, never 0."""

    count: int | None
    errors: int | None
    window: float
    """Seconds that were summed, ending at ``as_of``."""
    as_of: float


@dataclass(frozen=True)
class Health:
    """The answer of one cheap read to one service."""

    service: str
    """``queue``, ``function``, ``candles`` or ``archive``."""
    up: bool
    reason: str
    """Why it is down, or empty."""
    latency: float
    """Seconds."""


class Queue(Protocol):
    def send(self, messages: Sequence[Message]) -> list[Unsent]:
        """Send any number of messages in as few requests as the limits allow.

        Returns those that were not accepted; all the others are durable in the queue. Sending one
        twice is harmless.
        """
        ...

    def depth(self) -> Depth: ...

    def dead_letter_depth(self) -> Depth: ...

    def dead_letters(self, limit: int) -> list[DeadLetter]:
        """Look at up to ``limit`` dead letters and leave them where they are, in no order."""
        ...


class Candles(Protocol):
    def update(self, symbol: str, start: int, change: Callable[[Candle], Folded]) -> Folded:
        """Read the candle (an empty one where there is none), change it and write it back.

        The write is conditional on the version that was read and tried again with jitter when
        another writer was first, so ``change`` may run several times. A change that changes nothing
        writes nothing.

        Raises:
            Contention: every attempt lost; nothing was written.
        """
        ...

    def range(self, symbol: str, start: int, end: int) -> Iterator[Candle]:
        """The candles from ``start`` up to but not including ``end`` (ms), by time."""
        ...

    def last(self, symbol: str) -> Candle | None:
        """The newest candle."""
        ...


class Archive(Protocol):
    def put(self, item: ArchiveObject) -> bool:
        """Write an object if its key is free; False where it was there already."""
        ...

    def get(self, key: str) -> bytes:
        """Its bytes; Refused where there is no such object."""
        ...

    def list(self, prefix: str) -> Iterator[Stored]:
        """All objects under a prefix, by key."""
        ...


class Control(Protocol):
    def beat(self, beats: Iterable[Heartbeat]) -> None:
        """Add these counts to the stored heartbeats; the newest times stay."""
        ...

    def heartbeats(self) -> list[Heartbeat]:
        """The heartbeat of every symbol, by symbol."""
        ...

    def record(self) -> ControlRecord | None:
        """The control record as this site has it; None before the first."""
        ...

    def write_record(self, record: ControlRecord) -> bool:
        """Write the record if its epoch is above the stored one; False where it is not."""
        ...


class Metrics(Protocol):
    def invocations(self, window: float) -> Invocations:
        """The function's calls over the last ``window`` seconds."""
        ...


class Probe(Protocol):
    def check(self, service: str, timeout: float) -> None:
        """Read cheaply from one of ``SERVICES``; raises Unavailable or Refused when it is down."""
        ...


class Site(Protocol):
    """A named place in one cloud and region; its parts are made when first used."""

    name: str
    cloud: str

    @property
    def queue(self) -> Queue: ...
    @property
    def candles(self) -> Candles: ...
    @property
    def archive(self) -> Archive: ...
    @property
    def control(self) -> Control: ...
    @property
    def metrics(self) -> Metrics: ...
    @property
    def probe(self) -> Probe: ...


SERVICES = ("queue", "function", "candles", "archive")
