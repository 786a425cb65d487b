"""One ordered pair of sites: what the source has comes to the target, and how far that is.

A pair follows the source's changes from a position on, and meanwhile compares everything that was
there before. The raw trades come after the candles that tell of them: a function archives first, so
a changed candle marks its hour, and the archives of a marked hour are compared.

Nothing is deleted anywhere: a source that lost its data takes nothing away from the target.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import islice
from types import MappingProxyType
from typing import Any

from mcloud.clouds.ports import Lag, Site
from mcloud.errors import McloudError, Trimmed
from mcloud.market.archive import HOUR, parse_key, prefix
from mcloud.market.candle import MINUTE, Candle
from mcloud.market.trade import MAX_TIME
from mcloud.replication import raw
from mcloud.replication.beside import beside
from mcloud.replication.candles import merge_into
from mcloud.replication.known import Known, States, states
from mcloud.replication.scope import Scope
from mcloud.replication.state import Checkpoint, Marks, State
from mcloud.replication.workers import Workers, results

SLICE = 5_000  # candles compared between two looks at what changed
CHUNK = 500  # candles written by one call
OBJECTS = 500  # raw objects copied between two looks at what changed
BULK = 25  # candles from which on they are written before they are read: most will be new
END = MAX_TIME  # ms; to_timestamp can write it
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds, after a failure or when nothing changes
NEVER = float("inf")
_SILENT = logging.getLogger("mcloud.replication")
_SILENT.addHandler(logging.NullHandler())
NONE: Marks = MappingProxyType({})
SEEN = 10_000  # candles
CALM = 30.0  # seconds without a change until the source is looked at less often
PACE = 5.0  # seconds between two pages of changes while everything is compared
EXAMPLES = 100  # of disagreements and damaged objects that are kept


@dataclass(frozen=True)
class Pauses:
    """Seconds between two looks."""

    busy: float = 0.5
    """At what changed, after something did; DynamoDB allows five a second and shard."""
    idle: float = 5.0
    """The same, when nothing has for long."""
    raw: float = 10.0
    """At the raw archives of one hour: a listing costs twelve times as much as a read."""


@dataclass(frozen=True)
class Progress:
    """What a pair did since it was started, and how far it is."""

    source: str
    target: str
    phase: str = "starting"
    """``starting``, ``comparing`` or ``following``."""
    seen: int = 0
    """Candles that had changed, or were compared."""
    written: int = 0
    """Candles that the target has by it, or has more of."""
    objects: int = 0
    """Raw objects that were copied."""
    bytes: int = 0
    candles_s: float | None = None
    """See ``ports.Lag``, as for the next three."""
    candles: int = 0
    raw_s: float | None = None
    raw: int = 0
    trimmed: int = 0
    """How often the source no longer knew what had changed, and all was compared again."""
    disagreements: tuple[str, ...] = ()
    """Two trades under one id; the first few."""
    damaged: tuple[str, ...] = ()
    """Candles and raw objects that are not what they should be, and are left out; the first few."""
    error: str = ""
    """What it cannot do just now, and tries again."""

    @property
    def moved(self) -> int:
        return self.written + self.objects

    def lag(self, part: str, at: float) -> Lag:
        return Lag(
            self.source, self.target, part, self.candles_s, self.candles, self.raw_s, self.raw, at
        )


class Pair:
    """Used by one thread, but for ``progress``.

    Args:
        known: what each site is known to hold, by name; shared by all pairs.
        wall: seconds since 1970, by a clock that may be wrong: it only guesses a lag until the
            source has told its own time.
        jitter: a number between the two given.
    """

    def __init__(
        self,
        source: Site,
        target: Site,
        state: State,
        scope: Scope,
        *,
        known: Mapping[str, Known],
        workers: Workers,
        pauses: Pauses = Pauses(),
        log: logging.Logger | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.name = f"{source.name} to {target.name}"
        self._source = source
        self._target = target
        self._state = state
        self._scope = scope
        self._known = known
        self._workers = workers
        self._pauses = pauses
        self._log = log or _SILENT
        self._clock = clock
        self._wall = wall
        self._checkpoint: Checkpoint | None = None
        """None before it has begun."""
        self._marks: dict[tuple[str, int], float] = {}
        """Hours whose raw trades the target may lack, by symbol and start; see ``Mark``."""
        self._offset: float | None = None
        """What to add to ``clock`` for the source's time; None until the source has told it."""
        self._pause = pauses.busy
        self._look_at = clock()
        self._calm_at = clock()
        self._seen = Known(SEEN)
        """What was dealt with: a source may tell of a change again."""
        self._is_quiet = False
        """True where the last look at the changes found none."""
        self._symbols_left: list[str] | None = None
        """Symbols to compare, the next one last; None before they are known."""
        self._stream: Iterator[tuple[Candle, Candle | None]] | None = None
        self._looked_raw: dict[tuple[str, int], float] = {}
        self._turns = [
            _Turn(self._follow, self._next_follow, clock, jitter),
            _Turn(self._compare, self._next_compare, clock, jitter),
            _Turn(self._copy, self._next_copy, clock, jitter),
        ]
        self._progress = Progress(source.name, target.name)
        self._changing = threading.Lock()

    def step(self) -> float:
        """Do a bounded piece of each work that is due; returns the seconds until the next is.

        What fails is tried again later, with more and more patience, and holds up nothing else.
        After an end of the process at any moment the next one repeats what was not finished.
        """
        for turn in self._turns:
            before = turn.error
            turn.take()
            if turn.error != before:
                self._log.warning("%s: %s", self.name, turn.error or "goes on")
        self._note(error="; ".join(dict.fromkeys(t.error for t in self._turns if t.error)))
        return max(0.0, min(turn.due for turn in self._turns) - self._clock())

    @property
    def is_idle(self) -> bool:
        """True where nothing is left to do, as far as it has looked."""
        compared = self._checkpoint is not None and self._checkpoint.is_compared
        return compared and self._is_quiet and not self._marks and not self.failures

    @property
    def failures(self) -> int:
        """How often in a row it could not do what it should."""
        return max(turn.failures for turn in self._turns)

    def close(self) -> None:
        """Let go of the state; a step after that fails."""
        self._state.close()

    def look_again(self) -> None:
        """Be not idle before another look at the changes."""
        self._is_quiet = False
        self._look_at = self._clock()

    def progress(self) -> Progress:
        """What it did, and how far it is at this moment; from any thread."""
        with self._changing:
            progress, checkpoint, marks = self._progress, self._checkpoint, dict(self._marks)
        if checkpoint is None:
            return progress
        now = self._wall() if self._offset is None else self._clock() + self._offset
        # What is not compared yet may be of any age.
        is_known = checkpoint.is_compared and checkpoint.as_of > 0
        candles_s = max(0.0, now - checkpoint.as_of) if is_known else None
        raw_s = candles_s
        if marks and candles_s is not None:
            oldest = min(marks.values())
            raw_s = max(candles_s, now - oldest) if oldest else None
        return replace(
            progress,
            phase="following" if checkpoint.is_compared else "comparing",
            candles_s=candles_s if self._scope.candles else None,
            raw_s=raw_s if self._scope.raw else None,
            raw=len(marks),
        )

    def note_lag(self, part: str) -> None:
        """Tell the target how far it is, for whoever asks it; nothing depends on that."""
        if self.failures:
            return
        try:
            self._target.control.note_lag(self.progress().lag(part, self._wall()))
        except McloudError as error:
            self._log.info("%s: the lag is not noted: %s", self.name, error)

    # Following

    def _next_follow(self) -> float:
        return self._look_at

    def _follow(self) -> None:
        """Bring a page of changes."""
        before = self._checkpoint or self._start()
        asked = self._clock()
        try:
            page = self._source.candles.changes(before.position)
        except Trimmed as error:
            self._log.warning("%s: %s; all is compared again", self.name, error)
            self._count(trimmed=1)
            self._begin()
            return
        # Of several changes of a candle the last one says it all.
        latest = {(each.symbol, each.start): each for each in page.candles if self._has(each)}
        self._report("damaged", page.damaged)
        held = self._seen.lacking(states(latest.values()))
        self._bring([latest[key] for key in held], held)
        marks: dict[tuple[str, int], float] = {}
        if self._scope.raw:
            # By the time of the source: it had them by the time that it was last asked before.
            since = before.as_of or page.as_of
            marks = {(symbol, start // HOUR * HOUR): since for symbol, start in held}
        if marks or page.position != before.position:
            self._state.advance(page.position, page.as_of, marks)
        if page.is_last:
            self._offset = page.as_of - asked
        self._set(replace(before, position=page.position, as_of=page.as_of), marks)
        self._seen.add(held)
        self._is_quiet = page.is_last and not held
        if held:
            self._pause, self._calm_at = self._pauses.busy, asked + CALM
        elif asked < self._calm_at:
            self._pause = max(self._pauses.busy, FIRST_PAUSE)
        else:
            self._pause = min(max(self._pause * 2, FIRST_PAUSE), self._pauses.idle)
        if not page.is_last:
            # What is compared as well may come a little later.
            self._pause = 0.0 if before.is_compared else PACE
        self._look_at = self._clock() + self._pause

    def _start(self) -> Checkpoint:
        if self._state.was_damaged:
            self._log.warning("%s: its state was damaged; all is compared again", self.name)
        checkpoint = self._state.checkpoint()
        if checkpoint is None:
            return self._begin()
        marks = self._state.marks()
        if self._is_emptied(checkpoint, marks):
            self._log.warning("%s: the target is empty; all is compared again", self.name)
            self._known[self._target.name].forget()
            return self._begin()
        self._log.info("%s: goes on where it was", self.name)
        self._set(checkpoint, marks)
        return checkpoint

    def _begin(self) -> Checkpoint:
        """Follow from now on, and compare what was before: in this order nothing falls between."""
        position = self._source.candles.tip()
        self._state.begin(position)
        self._log.info("%s: compares everything, and follows what changes", self.name)
        self._symbols_left = self._stream = None
        self._set(Checkpoint(position, 0.0, False), self._state.marks())
        assert self._checkpoint is not None
        return self._checkpoint

    def _is_emptied(self, checkpoint: Checkpoint, marks: Marks) -> bool:
        """True where the target has nothing at all, and the source something that it had."""
        symbols = sorted(self._symbols())
        here, there = self._source, self._target
        if self._scope.candles and not any(map(there.candles.last, symbols)):
            return any(map(here.candles.last, symbols))
        if self._scope.raw and checkpoint.is_compared and not marks:
            return any(_has_raw(here, symbol) for symbol in symbols) and not any(
                _has_raw(there, symbol) for symbol in symbols
            )
        return False

    def _has(self, candle: Candle) -> bool:
        return self._scope.has(candle.symbol)

    def _bring(self, candles: Sequence[Candle], held: States) -> None:
        """Have the target hold these states of the source."""
        self._known[self._source.name].add(held)
        self._count(seen=len(candles))
        if not self._scope.candles:
            return
        target = self._known[self._target.name]
        unknown = target.lacking(held)
        lacking = [each for each in candles if (each.symbol, each.start) in unknown]
        self._note(candles=len(lacking))
        if len(lacking) >= BULK:
            lacking = _flat(self._create(lacking))
        self._workers.map(self._merge, lacking)
        target.add(held)
        self._note(candles=0)

    def _create(self, candles: Sequence[Candle]) -> "list[Future[list[Candle]]]":
        """Write those that the target does not have; the others come back."""
        return [
            self._workers.submit(self._create_some, candles[begin : begin + CHUNK])
            for begin in range(0, len(candles), CHUNK)
        ]

    def _create_some(self, candles: Sequence[Candle]) -> list[Candle]:
        left = self._target.candles.create(candles)
        self._count(written=len(candles) - len(left))
        return left

    def _merge(self, candle: Candle) -> None:
        merged = merge_into(self._target.candles, candle)
        self._count(written=int(merged.changed))
        self._report("disagreements", map(str, merged.disagreements))

    # Comparing

    def _next_compare(self) -> float:
        has_work = self._checkpoint is not None and not self._checkpoint.is_compared
        return 0.0 if has_work else NEVER

    def _compare(self) -> None:
        """Compare a slice of what was there before."""
        assert self._checkpoint is not None
        if self._symbols_left is None:
            self._symbols_left = sorted(self._symbols(), reverse=True)
        while self._symbols_left:
            symbol = self._symbols_left[-1]
            until = self._state.compared_until(symbol)
            if until < END:
                self._compare_slice(symbol, until)
                return
            self._symbols_left.pop()
        self._state.finish_comparison()
        self._log.info("%s: all that was there before is compared", self.name)
        self._set(replace(self._checkpoint, is_compared=True))

    def _compare_slice(self, symbol: str, begin: int) -> None:
        # After an error it begins again where the state says.
        stream, self._stream = self._stream, None
        if stream is None:
            stream = beside(self._source.candles, self._target.candles, symbol, begin)
        source, target = (self._known[site.name] for site in (self._source, self._target))
        rows = islice(stream, SLICE if self._scope.candles else 0)
        held: dict[tuple[str, int], bytes] = {}
        merge: list[Candle] = []
        pending: list[Future[list[Candle]]] = []
        # While one chunk is written the next one is read.
        while chunk := list(islice(rows, CHUNK)):
            until = chunk[-1][0].start + MINUTE
            fresh = states(candle for candle, _ in chunk)
            source.add(fresh)
            held |= fresh
            # Some came as changes since the target was read.
            lacking = target.lacking(fresh)
            unlike = [(c, there) for c, there in chunk if (c.symbol, c.start) in lacking]
            pending += self._create([candle for candle, there in unlike if there is None])
            merge += [c for c, there in unlike if there and there.fragments != c.fragments]
        merge += _flat(pending)
        self._workers.map(self._merge, merge)
        target.add(held)
        self._count(seen=len(held))
        if len(held) == SLICE:
            self._state.note_compared(symbol, until, {})
            self._stream = stream
            return
        marks = self._hours(symbol) if self._scope.raw else {}
        self._state.note_compared(symbol, END, marks)
        self._set(self._checkpoint, marks)

    def _hours(self, symbol: str) -> dict[tuple[str, int], float]:
        """The hours of which the source has raw trades, from whenever."""
        held = (parse_key(stored.key) for stored in self._source.archive.list(prefix(symbol)))
        return {(symbol, holding.hour): 0.0 for holding in held if holding}

    def _symbols(self) -> set[str]:
        beats = self._source.control.heartbeats()
        names = {*self._source.archive.symbols(), *(beat.symbol for beat in beats)}
        return {name for name in names if self._scope.has(name)}

    # Copying

    def _next_copy(self) -> float:
        return min((self._looked_raw.get(hour, 0.0) for hour in self._marks), default=NEVER)

    def _copy(self) -> None:
        """Copy what the target lacks of one marked hour."""
        now = self._clock()
        due = [hour for hour in self._marks if self._looked_raw.get(hour, 0.0) <= now]
        # Those that change just now before those that were there before.
        hour = min(due, key=lambda hour: (not self._marks[hour], self._marks[hour], hour))
        here, there = self._source.archive, self._target.archive
        lacking = raw.lacking(here, there, *hour)
        copied = raw.copy(here, there, lacking[:OBJECTS], self._workers)
        self._count(objects=copied.objects, bytes=copied.bytes)
        self._report("damaged", copied.damaged)
        if len(lacking) <= OBJECTS:
            self._state.clear(*hour)
            with self._changing:
                del self._marks[hour]
            self._looked_raw = {h: at for h, at in self._looked_raw.items() if at > now}
            self._looked_raw[hour] = now + self._pauses.raw

    # What others see

    def _set(self, checkpoint: Checkpoint | None, marks: Marks = NONE) -> None:
        with self._changing:
            self._checkpoint = checkpoint
            self._marks = {**marks, **self._marks}

    def _note(self, **values: Any) -> None:
        with self._changing:
            self._progress = replace(self._progress, **values)

    def _count(self, **more: int) -> None:
        with self._changing:
            sums = {name: getattr(self._progress, name) + count for name, count in more.items()}
            self._progress = replace(self._progress, **sums)

    def _report(self, name: str, found: Iterable[str]) -> None:
        """Log and keep what nobody has reported yet."""
        with self._changing:
            known = getattr(self._progress, name)
            new = [each for each in found if each not in known][: EXAMPLES - len(known)]
            values: dict[str, Any] = {name: (*known, *new)}
            self._progress = replace(self._progress, **values)
        for each in new:
            self._log.warning("%s: %s: %s", self.name, name, each)


class _Turn:
    """One of the things that a pair does, and its patience with a site that is away."""

    def __init__(
        self,
        call: Callable[[], None],
        next_due: Callable[[], float],
        clock: Callable[[], float],
        jitter: Callable[[float, float], float],
    ) -> None:
        self._call = call
        self._next_due = next_due
        self._clock = clock
        self._jitter = jitter
        self._not_before = 0.0
        self.failures = 0
        self.error = ""

    @property
    def due(self) -> float:
        """By ``clock``."""
        return max(self._next_due(), self._not_before)

    def take(self) -> None:
        """Do it, if it is due."""
        if self.due > self._clock():
            return
        try:
            self._call()
        except Exception as error:  # noqa: BLE001 - whatever it is, the other pairs go on
            self.failures += 1
            longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self.failures - 1, 32))
            self._not_before = self._clock() + self._jitter(longest / 2, longest)
            is_ours = isinstance(error, McloudError)
            self.error = str(error) if is_ours else f"{type(error).__name__}: {error}"
        else:
            self.failures, self.error, self._not_before = 0, "", 0.0


def _flat(pending: "Sequence[Future[list[Candle]]]") -> list[Candle]:
    return [candle for left in results(pending) for candle in left]


def _has_raw(site: Site, symbol: str) -> bool:
    return next(iter(site.archive.list(prefix(symbol))), None) is not None
