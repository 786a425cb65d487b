"""What any site offers, whichever cloud it is in.

Adapters in ``aws/`` and ``gcp/`` (the same file names in each) keep these promises; the contract
tests hold every site kind to them. All are synchronous and safe to call from several threads.
Concurrency belongs to the callers. Any call may raise Unavailable (try again) or Refused (it will
not work until somebody changes something), both from ``mcloud.errors``.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Protocol

from mcloud.documents import Between, Count, Damaged, Matching, Seconds, Time
from mcloud.market.archive import ArchiveObject
from mcloud.market.candle import Candle, Folded
from mcloud.market.envelope import Message
from mcloud.market.trade import MAX_TIME, SYMBOL


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
    """Of the message, on its site."""
    receipt: str
    """Lets its holder delete or release it, for as long as it is hidden from others."""
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
    md5: str
    """Of the bytes, as 32 hex digits; empty where the listing does not tell."""
    written: float | None = None
    """When, seconds since 1970; None where the listing does not tell."""


@dataclass(frozen=True)
class StoredCandle:
    """The record that a store keeps under the key of a candle."""

    candle: Candle | None
    """An empty one where there is nothing, None where it is damaged."""
    record: Mapping[str, Any]
    """The fields as they are stored, whatever is wrong with them; plain values."""
    has_mark: bool = True
    """False where the store's own field beside the candle is missing: its version, or the time of
    its last change."""


@dataclass(frozen=True)
class Changes:
    """A page of what changed in a candle store."""

    candles: list[Candle]
    """The state after each change, in the order of the changes of each candle; a candle that
    changed several times may be here several times, or only with its last state."""
    position: str
    """Where the next page begins: to be kept once these candles are dealt with."""
    as_of: float
    """Everything that changed before this moment is seen with this page, seconds since 1970."""
    is_last: bool
    """True where nothing more was waiting."""
    damaged: list[str] = field(default_factory=list)
    """What is wrong with the changed candles that cannot be read: somebody else wrote them."""


@dataclass(frozen=True)
class Heartbeat:
    """What a site's function did for a symbol since the site was made.

    Counts are approximate: an instance that dies takes its last few seconds with it, and a write
    that was repeated after a lost answer counts twice. The candles are what is exact.
    """

    symbol: Annotated[str, Matching(SYMBOL, "a symbol")]
    last_trade_time: Annotated[int, Between(0, MAX_TIME)]
    """The newest trade time seen, ms since 1970."""
    trades: Count
    """Processed, repeats included."""
    messages: Count
    at: Time
    """When it was written, seconds since 1970."""


@dataclass(frozen=True)
class Lag:
    """How far a replicator has brought one site's data into another, in its own words.

    Kept on the target, so that whoever asks it learns how old it may be.
    """

    source: str
    """A site's name, as ``target``."""
    target: str
    part: str
    """``all``, or the share of the symbols that this replicator has, such as ``2/4``."""
    candles_s: Seconds | None
    """Seconds: what changed at the source longer ago is in the target. None is unknown."""
    candles: Count
    """Known to be waiting."""
    raw_s: Seconds | None
    raw: Count
    """Hours of a symbol whose raw trades the target may lack."""
    at: Time
    """When it was true, seconds since 1970."""

    @property
    def key(self) -> str:
        return f"{self.source} {self.target} {self.part}"


RECORD = "the control record"
"""Name of that document in ``Damaged``."""
HEARTBEAT = "the heartbeat "
"""Beginning of the name of a heartbeat in ``Damaged``; its symbol follows."""

LAST_EPOCH = 2**53
"""Highest epoch of a control record. No number of moves gets there, so that a record beyond it was
edited; a store or a reader with 64-bit floats can hold every epoch up to it."""


@dataclass(frozen=True)
class ControlRecord:
    """Which site leads. Kept on every site; of several the highest epoch is the one that counts.

    It governs routing and cost only: candles merge, so correctness never depends on it.
    """

    epoch: Annotated[int, Between(0, LAST_EPOCH)]
    primary: str
    """A site's name."""
    mode: str
    """``manual``, ``automatic`` or ``drill``: who decided."""
    reason: str
    by: str
    at: Time
    """Seconds since 1970."""

    @property
    def rank(self) -> tuple[int, float, str, str]:
        """The highest counts. Epochs are alike where two wrote on two sites at once; then anything
        will do that everybody sees in the same way."""
        return self.epoch, self.at, self.primary, self.by


@dataclass(frozen=True)
class Figure:
    """A number that a metrics service knows. None is unknown, never 0."""

    value: float | None
    as_of: float
    """When it was true or, of a count, until when; seconds since 1970."""


@dataclass(frozen=True)
class Figures:
    """What the metrics service of a site knows; a cloud that does not count something has None."""

    queue: Depth | None
    """None where the queue itself tells (see ``Queue.is_live``), as for the next one."""
    dead_letters: Depth | None
    oldest_age: Figure
    """Seconds that the oldest message in the queue has been there."""
    calls: Figure
    """Of the function, over ``window`` seconds, as the other counts."""
    errors: Figure
    throttles: Figure
    p95: Figure
    """Seconds that 95% of the calls took at most, in the last minute that had some."""
    writes: Figure
    """What the candle store's billing counts as writes."""
    write_throttles: Figure
    window: float


@dataclass(frozen=True)
class LogLine:
    """A line of the function's log that names the trades that it is about."""

    at: float | None
    """When it was written, seconds since 1970, where the log says."""
    message: str
    """``stored`` or ``refused a message``."""
    fields: Mapping[str, Any]
    """The others of the line, as ``mcloud.processor.arrival`` writes them."""


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


@dataclass(frozen=True)
class Metered:
    """What one meter of a site counted over a span of time."""

    meter: str
    """As in ``mcloud.cost.prices``; or one without a price, such as ``messages``."""
    units: Decimal | None
    """None is unknown, never 0."""
    source: str
    """Where the figure comes from, or why there is none."""
    as_of: float
    """What came later is not in it, seconds since 1970."""
    exact: bool
    """True for the cloud's own count of what it bills; False for an estimate."""
    days: Mapping[str, Decimal] = field(default_factory=dict)
    """The units of each day, UTC, such as ``2026-11-25``; empty where only the sum is known."""


class Queue(Protocol):
    is_live: bool
    """True where the queue itself tells its depth, to the second; elsewhere the metrics service
    does, minutes late."""

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

    def take_dead_letters(self, limit: int) -> list[DeadLetter]:
        """Up to ``limit`` dead letters, hidden from others for ``DEAD_LETTER_HOLD`` seconds.

        Empty where none came within a few seconds.
        """
        ...

    def delete_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Delete letters that were taken: for good."""
        ...

    def release_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Give letters that were taken back to the queue at once."""
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

    def rewrite(self, symbol: str, start: int, change: Callable[[StoredCandle], Candle]) -> None:
        """Write what ``change`` makes of what is stored, also where that is damaged.

        The same candle is written only where its mark is missing, and an empty one deletes what is
        stored. The write is conditional and tried again as in ``update``.

        Raises:
            Contention: every attempt lost; nothing was written.
        """
        ...

    def create(self, candles: Sequence[Candle]) -> list[Candle]:
        """Write candles that the store does not have, in as few requests as it allows.

        Returns those that it had already, which stay as they were. After an error some may have
        been written; doing it again is harmless.
        """
        ...

    def range(
        self,
        symbol: str,
        start: int,
        end: int,
        unmarked: Callable[[int, str], None] = lambda start, why: None,
    ) -> Iterator[Candle]:
        """The candles from ``start`` up to but not including ``end`` (ms), by time.

        ``unmarked`` is called with the start of each of them that lacks the store's own field
        beside the candle (see ``StoredCandle.has_mark``), and with what that means.

        A reading that is cut goes on where it was, as long as it brings something.
        """
        ...

    def last(self, symbol: str) -> Candle | None:
        """The newest candle."""
        ...

    def tip(self) -> str:
        """A position from which on no later change is missed; earlier ones may be seen again."""
        ...

    def changes(self, position: str) -> Changes:
        """What changed since a position, at least once each; at most a page, and none is waited
        for.

        Raises:
            Trimmed: the store does not remember all changes since then.
        """
        ...


class Archive(Protocol):
    def put(self, item: ArchiveObject) -> bool:
        """Write an object if its key is free; False where it was there already."""
        ...

    def replace(self, item: ArchiveObject) -> None:
        """Write an object over one whose content is damaged; the bucket keeps the old version."""
        ...

    def remove(self, key: str) -> None:
        """Delete an object, if it is there; the bucket keeps the old version."""
        ...

    def get(self, key: str) -> bytes:
        """Its bytes; Refused where there is no such object."""
        ...

    def list(self, prefix: str) -> Iterator[Stored]:
        """All objects under a prefix, by key."""
        ...

    def symbols(self) -> Iterator[str]:
        """Every symbol that has raw trades, by name."""
        ...


class Control(Protocol):
    def beat(self, beats: Iterable[Heartbeat]) -> None:
        """Add these counts to the stored heartbeats; the newest times stay."""
        ...

    def heartbeats(self) -> list[Heartbeat | Damaged]:
        """The heartbeat of every symbol, by symbol."""
        ...

    def note_lag(self, lag: Lag) -> None:
        """Keep what a replicator says of a pair, in place of what it said before."""
        ...

    def lags(self) -> list[Lag | Damaged]:
        """The last word on every pair that has this site as its target, by source and part."""
        ...

    def record(self) -> ControlRecord | Damaged | None:
        """The control record as this site has it; None before the first."""
        ...

    def write_record(self, record: ControlRecord) -> bool:
        """Write the record if its epoch is above the stored one; False where it is not.

        Raises:
            errors.Damaged: the stored one cannot be read, and stays as it is.
        """
        ...

    def forget_record(self) -> None:
        """Delete the control record, if there is one."""
        ...

    def keep(self, kind: str, key: str, document: Mapping[str, Any]) -> None:
        """Keep a small JSON document, in place of the one of that kind and key.

        Kind and key are made of letters, digits, spaces and ``-._:``.
        """
        ...

    def add(self, kind: str, key: str, document: Mapping[str, Any]) -> bool:
        """Keep a document if there is none of that kind and key; False where there is."""
        ...

    def replace(
        self, kind: str, key: str, document: Mapping[str, Any], before: Mapping[str, Any]
    ) -> bool:
        """Keep a document in place of ``before``, as ``kept`` told it; False where that is there no
        more, perhaps because a try of this very call that seemed to fail has replaced it.

        Documents are equal when their values are, however their text is spaced or ordered."""
        ...

    def get(self, kind: str, key: str) -> Any:
        """Return the document of a kind and key as it is now, or None where there is none.

        A document that somebody else wrote may be anything: whoever reads it has to check.
        """
        ...

    def kept(self, kind: str, after: str = "", limit: int | None = None) -> dict[str, Any]:
        """Return the first documents of a kind whose key is above ``after``, in the order of the
        keys; each is a JSON object, or Damaged where it is none."""
        ...

    def forget(self, kind: str, key: str) -> None:
        """Delete a document, if it is there."""
        ...


class Metrics(Protocol):
    def figures(self, window: float) -> Figures:
        """All of them, counts over the last ``window`` seconds, in as few requests as can be.

        Each costs money and is minutes old: ask once a minute at most.
        """
        ...


class Logs(Protocol):
    def find(self, symbol: str, trade_id: int, start: float, end: float) -> list[LogLine]:
        """What the function wrote from ``start`` to ``end`` about messages whose ids, first to
        last, take in a trade; by time, and where there are many, no more than the first.

        Raises:
            Unavailable: also where the search takes longer than ``LOG_SEARCH`` seconds.
        """
        ...


class Usage(Protocol):
    def metered(self, start: float, end: float) -> list[Metered]:
        """What the site's meters counted from ``start`` up to ``end``, both in one month, UTC.

        A meter that cannot be read is there with the reason. ``own_metric_reads`` is what this very
        call used of the meter ``metric_reads``.
        """
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
    def logs(self) -> Logs: ...
    @property
    def usage(self) -> Usage: ...
    @property
    def probe(self) -> Probe: ...


DEAD_LETTER_HOLD = 120
"""Seconds that a taken dead letter stays hidden."""

LOG_SEARCH = 15.0
"""Seconds after which a search of a log is given up."""

SERVICES = ("queue", "function", "candles", "archive")
