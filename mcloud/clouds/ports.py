"""The interfaces that every site implements, in either cloud.

The adapters in ``aws/`` and ``gcp/`` (with the same file names in each) implement them, and the
contract tests check every kind of site against them. All methods are synchronous and safe to call
from several threads; concurrency is up to the callers. Any call may raise Unavailable (a retry may
succeed) or Refused (a retry fails until somebody changes something), both from ``mcloud.errors``.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, Protocol, get_args

from mcloud.clouds.resources import Cloud
from mcloud.documents import OTHER_TEXTS, Between, Count, Damaged, Matching, Seconds, Time
from mcloud.market.archive import ArchiveObject
from mcloud.market.candle import Candle, Folded
from mcloud.market.envelope import Message
from mcloud.market.trade import MAX_TIME, SYMBOL


@dataclass(frozen=True)
class Unsent:
    """A message that the queue did not accept. The other messages of the call are in the queue."""

    index: int
    """Position in the list that was sent."""
    reason: str
    permanent: bool
    """Whether the queue will refuse the same message again."""


@dataclass(frozen=True)
class Depth:
    """Number of messages in a queue. None means unknown, never 0."""

    ready: int | None
    in_flight: int | None
    as_of: float
    """Time of the measurement, in seconds since 1970. Cloud Monitoring lags by minutes."""
    redelivery: float = 0.0
    """Longest time in seconds until a message that a function failed to process is delivered again.
    Code that waits for an empty queue must wait for longer.
    """


@dataclass(frozen=True)
class DeadLetter:
    """A message that the function could not process, as it waits in the dead-letter queue."""

    id: str
    """Message ID on its site."""
    receipt: str
    """Handle for deleting or releasing the letter, valid while it is hidden from other readers."""
    body: bytes
    attributes: dict[str, str]
    deliveries: int | None
    """Number of delivery attempts; None if the cloud does not report it."""


@dataclass(frozen=True)
class StoredObject:
    """An object in the raw archive."""

    key: str
    size: int
    """Bytes."""
    md5: str
    """MD5 of the content, as 32 hex digits; empty if the listing does not include it."""
    written: float | None = None
    """Write time, in seconds since 1970; None if the listing does not include it."""
    version: str = ""
    """The store's name for this content of the object, for ``Archive.swap``."""


@dataclass(frozen=True)
class StoredCandle:
    """The record stored under the key of a candle."""

    candle: Candle | None
    """The candle; empty if there is no record, None if the record is damaged."""
    record: Mapping[str, Any]
    """StoredObject fields as plain values, even if they are damaged."""
    has_mark: bool = True
    """Whether the record has the field that the store keeps beside the candle: its version, or the
    time of its last change."""


@dataclass(frozen=True)
class Changes:
    """A page of changes in a candle store."""

    candles: list[Candle]
    """Candles after each change; the changes of one candle are in order. A candle that changed
    several times may be listed once for each change, or only in its last state."""
    position: str
    """Position of the next page. Save it only after these candles are processed."""
    as_of: float
    """Time, in seconds since 1970, before which no change is left to read after this page."""
    is_last: bool
    """Whether no further changes were waiting."""
    damaged: list[str] = field(default_factory=list)
    """Errors of the changed candles that cannot be read because something else wrote them."""


@dataclass(frozen=True)
class Heartbeat:
    """The work of a site's function for one symbol since the site was created.

    Counts are approximate: those of the last minute are lost with an instance that stops, and a
    call that fails after its write counts again with the next one. Only the candles are exact.
    """

    symbol: Annotated[str, Matching(SYMBOL, "a symbol")]
    last_trade_time: Annotated[int, Between(0, MAX_TIME)]
    """Newest trade time seen, in ms since 1970."""
    trades: Count
    """Number of processed trades, duplicates included."""
    messages: Count
    at: Time
    """Write time, in seconds since 1970."""

    def plus(self, other: "Heartbeat") -> "Heartbeat":
        """Return the sum of two heartbeats of one symbol: the newest times, and all counts."""
        return Heartbeat(
            self.symbol,
            max(self.last_trade_time, other.last_trade_time),
            self.trades + other.trades,
            self.messages + other.messages,
            max(self.at, other.at),
        )


@dataclass(frozen=True)
class Lag:
    """Lag of the replication from one site to another, as the replicator reports it.

    The report is stored on the target, so that its readers know how old the data may be.
    """

    source: str
    """Name of the source site; ``target`` is that of the target site."""
    target: str
    part: str
    """``all``, or the share of the symbols that this replicator copies, such as ``2/4``."""
    candles_s: Seconds | None
    """Age in seconds beyond which every change at the source is in the target. None is unknown."""
    candles: Count
    """Number of candles known to be waiting."""
    raw_s: Seconds | None
    raw: Count
    """Number of symbol-hours whose raw trades may be missing from the target."""
    at: Time
    """Time of the report, in seconds since 1970."""

    @property
    def key(self) -> str:
        return f"{self.source} {self.target} {self.part}"


RECORD = "the control record"
"""Name of the control record in ``Damaged``."""
HEARTBEAT = "the heartbeat "
"""Prefix of the name of a heartbeat in ``Damaged``, followed by its symbol."""

LAST_EPOCH = 2**53
"""Highest epoch of a control record. Stores and readers with 64-bit floats represent every epoch
up to it exactly. No number of moves reaches it, so a record with a higher epoch was edited."""


SiteService = Literal["queue", "function", "candles", "archive"]
SERVICES: tuple[SiteService, ...] = get_args(SiteService)

MoveMode = Literal["manual", "automatic", "drill"]
"""Origin of the decision to move the traffic."""


@dataclass(frozen=True)
class ControlRecord:
    """The current primary. Every site stores a copy; the one with the highest epoch is valid.

    The record affects routing and cost only: candles merge, so correctness never depends on it.
    """

    epoch: Annotated[int, Between(0, LAST_EPOCH)]
    primary: str
    """Name of the primary site."""
    mode: Annotated[MoveMode, OTHER_TEXTS]
    reason: str
    by: str
    at: Time
    """Seconds since 1970."""

    @property
    def rank(self) -> tuple[int, float, str, str]:
        """Sort key: the record with the highest rank is valid.

        Two writers on two sites can use the same epoch at the same time. The other fields break
        the tie, in the same way for every reader.
        """
        return self.epoch, self.at, self.primary, self.by


@dataclass(frozen=True)
class Figure:
    """A value from a metrics service. None means unknown, never 0."""

    value: float | None
    as_of: float
    """Time of the value or, for a count, the end of its period, in seconds since 1970."""


UNMEASURED = Figure(None, 0.0)


@dataclass(frozen=True)
class Figures:
    """Figures from the metrics service of a site."""

    queue: Depth | None
    """Depth of the queue. This field and the next are None if the queue itself reports its depth
    (see ``Queue.is_live``)."""
    dead_letters: Depth | None
    window: float
    """Seconds over which counts are summed."""
    measured: Mapping[str, Figure]
    """By the names of ``figures.FIGURES``, those that the cloud measures."""

    def __getitem__(self, name: str) -> Figure:
        """Return a figure. Its value is unknown if the cloud does not measure it."""
        return self.measured.get(name, UNMEASURED)


@dataclass(frozen=True)
class LogLine:
    """A line of the function's log that names the trades it concerns."""

    at: float | None
    """Write time, in seconds since 1970; None if the log does not include it."""
    message: str
    """``stored`` or ``refused a message``."""
    fields: Mapping[str, Any]
    """Other fields of the line, as ``mcloud.processor.arrival`` writes them."""


@dataclass(frozen=True)
class FunctionLine:
    """A line that a function of a site wrote."""

    at: float
    """Write time, in seconds since 1970."""
    function: str
    """Name of the function."""
    level: str
    """``INFO``, ``WARNING``, ``ERROR`` and so on; empty if the line has none."""
    text: str


@dataclass(frozen=True)
class FunctionCode:
    """The code of a function, as the cloud has it."""

    function: str
    """Name of the function."""
    digest: str
    """SHA-256 of the deployed bundle, in hexadecimal; empty if the function does not say."""
    failure: str = ""
    """Reason why the last update failed, so that earlier code runs; empty if it did not."""


@dataclass(frozen=True)
class Metered:
    """The usage that one meter of a site counted over a period."""

    meter: str
    """Meter in ``mcloud.cost.prices``, or one without a price, such as ``messages``."""
    units: Decimal | None
    """Number of units. None means unknown, never 0."""
    source: str
    """Source of the figure, or the reason why it is missing."""
    as_of: float
    """End of the counted usage, in seconds since 1970. Later usage is not included."""
    exact: bool
    """Whether this is the cloud's own count of what it bills, and not an estimate."""
    days: Mapping[str, Decimal] = field(default_factory=dict)
    """Units by UTC day, such as ``2026-11-25``; empty if only the total is known."""
    has_free_tier: bool = True
    """Whether the free tier of the account or project covers this usage."""


class Queue(Protocol):
    """The queue of a site, with its dead-letter queue."""

    is_live: bool
    """Whether the queue itself reports its current depth. If not, the metrics service does,
    minutes late."""

    def send(self, messages: Sequence[Message]) -> list[Unsent]:
        """Send any number of messages in as few requests as the limits allow.

        Return the messages that were not accepted. All others are durable in the queue. Sending a
        message twice is harmless.
        """
        ...

    def depth(self) -> Depth: ...

    def dead_letter_depth(self) -> Depth: ...

    def dead_letters(self, limit: int) -> list[DeadLetter]:
        """Return up to ``limit`` dead letters, in no particular order, without taking them."""
        ...

    def take_dead_letters(self, limit: int) -> list[DeadLetter]:
        """Return up to ``limit`` dead letters and hide them from other readers for
        ``DEAD_LETTER_HOLD`` seconds.

        The list is empty if none arrived within some seconds. It may be incomplete.
        """
        ...

    def delete_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Delete taken letters permanently."""
        ...

    def release_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Return taken letters to the queue immediately."""
        ...


class Candles(Protocol):
    """The store of a site for candles."""

    def update(self, symbol: str, start: int, change: Callable[[Candle], Folded]) -> Folded:
        """Read the candle (an empty one if it is missing), change it and write it back.

        The write is conditional on the version that was read. If another writer was first, it is
        retried with jitter, so ``change`` may run several times. Nothing is written if ``change``
        returns the same candle. A candle that this object wrote last is not read again, unless
        another writer changed it since.

        Raises:
            Contention: every attempt lost; nothing was written.
        """
        ...

    def rewrite(self, symbol: str, start: int, change: Callable[[StoredCandle], Candle]) -> None:
        """Replace the stored candle by the result of ``change``, even if it is damaged.

        An unchanged candle is written only if its mark is missing. An empty candle deletes the
        record. The write is conditional and retried as in ``update``.

        Raises:
            Contention: every attempt lost; nothing was written.
        """
        ...

    def create(self, candles: Sequence[Candle]) -> list[Candle]:
        """Write the candles that are missing from the store, in as few requests as it allows.

        Return the candles that already exist; they are left unchanged. After an error some candles
        may have been written; repeating the call is harmless.
        """
        ...

    def range(
        self,
        symbol: str,
        start: int,
        end: int,
        unmarked: Callable[[int, str], None] = lambda start, why: None,
    ) -> Iterator[Candle]:
        """Yield the candles from ``start`` up to but not including ``end`` (ms), by time.

        For each candle without the store's own field beside it (see ``StoredCandle.has_mark``),
        ``unmarked`` is called with the start of the candle and what the missing field means.

        An interrupted read resumes where it stopped, as long as it makes progress.
        """
        ...

    def last(self, symbol: str) -> Candle | None:
        """Return the newest candle, or None if there is none."""
        ...

    def tip(self) -> str:
        """Return a position that precedes all later changes. Earlier ones may be read again."""
        ...

    def changes(self, position: str) -> Changes:
        """Return a page of the changes since a position, without waiting for new ones.

        Each change is returned at least once.

        Raises:
            Trimmed: the store no longer has all changes since that position.
        """
        ...


class Cleared(NamedTuple):
    """The outcome of ``Archive.clear``."""

    foreign: Sequence[str] = ()
    """Keys of the objects that keep the foreign lines of staged objects."""
    has_more: bool = False
    """Whether there are staged objects that the archive has not shown yet."""
    left: int = 0
    """Number of staged objects that remain."""
    left_since: float | None = None
    """Time when the oldest of these was written, in seconds since 1970. None if none remains."""


class Archive(Protocol):
    """The raw archive of a site: all trades, as objects in its raw bucket, and those of staged
    objects in the same form; see ``staged``.
    """

    delay: float
    """Longest usual time in seconds from the candle of a trade until the archive has the trade. It
    is 0 if the functions write the raw archive, before the candles."""

    def put(self, item: ArchiveObject) -> bool:
        """Write an object. Return False, and write nothing, if its key already exists."""
        ...

    def replace(self, item: ArchiveObject) -> None:
        """Overwrite an object whose content is damaged. The bucket keeps the old version."""
        ...

    def swap(self, item: ArchiveObject, version: str) -> bool:
        """Overwrite an object if it still has this version. Otherwise return False."""
        ...

    def remove(self, key: str) -> None:
        """Delete an object if it exists. The bucket keeps the old version."""
        ...

    def release(self, key: str) -> None:
        """Delete an object whose trades are in a block now.

        An object that is made of a staged object lasts until ``clear``.
        """
        ...

    def clear(self) -> Cleared:
        """Delete the staged objects of which everything was released by this archive."""
        ...

    def get(self, key: str) -> bytes:
        """Return the content of an object.

        Raises:
            Refused: the object does not exist.
        """
        ...

    def stat(self, key: str) -> StoredObject | None:
        """Return what a listing says about an object, or None if it does not exist.

        It is billed as a read, which costs a twelfth of a listing.
        """
        ...

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Yield all objects under a prefix, by key."""
        ...

    def list_hours(self) -> Iterator[StoredObject]:
        """Yield all objects of hours, of all symbols, by key. Other objects may be among them.

        The blocks of a symbol count as one object of a page, so that this takes a few requests.
        """
        ...

    def symbols(self) -> Iterator[str]:
        """Yield every symbol that has raw trades, by name."""
        ...


class Control(Protocol):
    """The control store of a site: heartbeats, lags, the control record and small documents."""

    def beat(self, beats: Iterable[Heartbeat]) -> list[Heartbeat]:
        """Add these counts to the stored heartbeats, and keep the newest times.

        Return those that were not added because the stored heartbeat is damaged. The heartbeats of
        one document (see ``heartbeats.by_document``) are written together or not at all.

        Raises:
            Contention: every attempt to write a document lost.
            DamagedData: a whole document is damaged.
        """
        ...

    def heartbeats(self) -> list[Heartbeat | Damaged]:
        """Return the heartbeats of all symbols, by symbol, and then the damaged documents."""
        ...

    def forget_heartbeat(self, symbol: str) -> None:
        """Delete the heartbeat of a symbol if it exists."""
        ...

    def note_lag(self, lag: Lag) -> None:
        """Store a replicator's report on a pair of sites, in place of its previous one."""
        ...

    def lags(self) -> list[Lag | Damaged]:
        """Return the last report for each pair with this site as target, by source and part."""
        ...

    def record(self) -> ControlRecord | Damaged | None:
        """Return this site's control record, or None if there is none yet."""
        ...

    def write_record(self, record: ControlRecord) -> bool:
        """Write the record if its epoch is above the stored one; otherwise return False.

        Raises:
            errors.DamagedData: the stored record cannot be read, and is left unchanged.
        """
        ...

    def forget_record(self) -> None:
        """Delete the control record if it exists."""
        ...

    def keep(self, kind: str, key: str, document: Mapping[str, Any]) -> None:
        """Store a small JSON document, in place of any with the same kind and key.

        Kind and key consist of letters, digits, spaces and ``-._:``.
        """
        ...

    def add(self, kind: str, key: str, document: Mapping[str, Any]) -> bool:
        """Store a document. Return False, and store nothing, if its kind and key already exist."""
        ...

    def replace(
        self, kind: str, key: str, document: Mapping[str, Any], before: Mapping[str, Any]
    ) -> bool:
        """Replace the document ``before``, as ``kept`` returned it.

        Return False if ``before`` is no longer stored. An attempt of this same call that seemed to
        fail may have replaced it. Documents are compared by value, so spacing and the order of
        their text do not matter.
        """
        ...

    def get(self, kind: str, key: str) -> Any:
        """Return the current document of a kind and key, or None if there is none.

        The caller has to validate it, since others may have written it.
        """
        ...

    def kept(self, kind: str, after: str = "", limit: int | None = None) -> dict[str, Any]:
        """Return the first ``limit`` documents of a kind whose key is above ``after``, by key.

        Each is a JSON object, or Damaged if the stored document is not one.
        """
        ...

    def forget(self, kind: str, key: str) -> None:
        """Delete a document if it exists."""
        ...


class Metrics(Protocol):
    """The metrics service of a site's cloud."""

    def figures(self, window: float) -> Figures:
        """Return all figures, with counts over the last ``window`` seconds, in as few requests as
        possible.

        Each request costs money and its figures are minutes old, so query at most once a minute.
        """
        ...


class Logs(Protocol):
    """The logs of a site's functions."""

    def find(self, symbol: str, trade_id: int, start: float, end: float) -> list[LogLine]:
        """Return the log lines from ``start`` to ``end`` about messages whose range of trade IDs
        includes a trade, by time. If there are many, only the first are returned.

        Raises:
            Unavailable: as for any call, or the search takes longer than ``LOG_SEARCH`` seconds.
        """
        ...

    def lines(self, start: float, end: float, limit: int) -> list[FunctionLine]:
        """Return the newest lines from ``start`` to ``end`` that the functions of the site wrote,
        up to ``limit`` of each function, by time. The search is free of charge on both clouds.

        Raises:
            Unavailable: as for any call, or the search takes longer than ``LOG_SEARCH`` seconds.
        """
        ...


class Usage(Protocol):
    """The metered usage of a site, which its cloud bills."""

    def metered(self, start: float, end: float) -> list[Metered]:
        """Return the site's usage from ``start`` up to ``end``, both in one month, UTC.

        A meter that cannot be read is included with the reason. ``own_metric_reads`` is the share
        of the meter ``metric_reads`` that this call itself used.
        """
        ...


class Probe(Protocol):
    """Cheap calls that show whether the services of a site answer."""

    def check(self, service: SiteService, timeout: float) -> None:
        """Check a service with a cheap read.

        Raises:
            Unavailable, Refused: the service is down.
        """
        ...

    def code(self, timeout: float) -> list[FunctionCode]:
        """Return the code of each function of the site as it is deployed, the processor's first.

        The calls are free of charge. ``timeout`` is the maximum duration of each in seconds; on AWS
        that of the client applies.
        """
        ...


class Site(Protocol):
    """A named deployment in one cloud and region. Its parts are created on first use."""

    name: str
    cloud: Cloud

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
"""Number of seconds for which a taken dead letter stays hidden."""

LOG_SEARCH = 15.0
"""Timeout of a log search, in seconds."""
