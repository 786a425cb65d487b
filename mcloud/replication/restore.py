"""Restore a site from another one: candles and raw trades, by symbol and hour.

A restoration only adds data. If it is interrupted, all written candles and objects are complete,
and the next run continues with the unfinished hours. At the end both sites are compared again.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import quote

from mcloud import best_effort, files
from mcloud.archive import raw
from mcloud.clock import Limit
from mcloud.clouds.ports import Site
from mcloud.clouds.transfer import Transfer
from mcloud.documents import Damaged, read_text
from mcloud.errors import McloudError, Unavailable
from mcloud.lock import Lock
from mcloud.market.archive import HOUR
from mcloud.market.candle import Candle
from mcloud.market.envelope import MAX_TRADES, Message, encode_all, version_of
from mcloud.market.ids import Ids
from mcloud.market.trade import Trade, without_filled_voids
from mcloud.producer.envelope_support import OLDEST, SupportReader
from mcloud.replication.candle_streams import merge_into, stream, without
from mcloud.replication.copier import TRANSFERS, Copier
from mcloud.replication.hour_digest import ALL_TIME, NOTHING, HourWindow, digests
from mcloud.replication.repair import RepairPlan, repair
from mcloud.replication.restore_estimate import BATCH, RestoreEstimate, estimate
from mcloud.replication.scope import Scope
from mcloud.replication.transfer import HandedOver
from mcloud.replication.verify import NO_RAW, Hour, Survey
from mcloud.replication.verify_report import Finding
from mcloud.workers import Workers

THREADS = 8
PATIENCE = 120.0  # seconds to wait for the functions to store another trade in a candle
POLL = 0.5  # seconds

Engine = Literal["direct", "functions", "transfer-service"]
ENGINES: tuple[Engine, ...] = get_args(Engine)


@dataclass
class Restored:
    """The outcome of a restoration."""

    hours: int = 0
    candles: int = 0
    """Number of candles that were created or extended at the target."""
    objects: int = 0
    bytes: int = 0
    messages: int = 0
    """Number of messages sent to the target's queue."""
    damaged: list[str] = field(default_factory=list)
    """Damaged objects and candles, which were not copied."""
    left: int = 0
    """Number of hours in which the target still lacks data."""
    notes: list[str] = field(default_factory=list)
    """Other problems that need attention."""

    @property
    def written(self) -> int:
        return self.candles + self.objects + self.messages


class Restore:
    """One restoration of a site. Call its methods within ``locked``.

    Args:
        folder: the profile's folder, for the state files.
        identities: resources behind the name of each site. If they change, the restoration starts
            again.
        engine: ``direct``, or ``functions`` to have the target's functions process the raw trades.
        transfer: service of the target's cloud that copies raw trades before the engine runs.
        workers: number of threads that work on hours.
        processes: number of other processes; see ``copier.Copier``.
        patience: seconds that the functions may take without any progress, beside the time after
            which the queue delivers a failed message again.
        tell: called with a short progress message.

    Raises:
        McloudError: the sites are the same.
    """

    def __init__(
        self,
        source: Site,
        target: Site,
        scope: Scope,
        folder: Path,
        *,
        window: HourWindow = ALL_TIME,
        identities: Mapping[str, str],
        engine: Engine = "direct",
        transfer: Transfer | None = None,
        workers: int = THREADS,
        processes: int = 0,
        patience: float = PATIENCE,
        tell: Callable[[str], None] = lambda words: None,
    ) -> None:
        if source.name == target.name or identities[source.name] == identities[target.name]:
            raise McloudError(f"{source.name} and {target.name} are the same site")
        self._source = source
        self._target = target
        self._support = SupportReader(target)
        self._scope = scope
        self._folder = folder
        self._window = window
        self._engine = engine
        self._threads = workers
        self._processes = processes
        self._patience = patience
        self.tell = tell
        pair = f"{quote(source.name, safe='')}+{quote(target.name, safe='')}"
        what = [str(scope), *window, engine, identities[source.name], identities[target.name]]
        self._state = _RestoreState(folder / f"restore+{pair}.jsonl", what)
        self._lock = Lock(folder / f"restore+{pair}.lock")
        self._handed = transfer and HandedOver(transfer, folder / f"transfer+{pair}")
        self._damaged: list[Finding] = []
        self._disputed: dict[str, Ids] | None = None
        """Ids with two contents, by symbol, which are not copied. None before a survey."""
        self.done = Restored()
        self._changing = threading.Lock()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of this pair, so that only one process on this machine restores it.

        Raises:
            McloudError: another process holds the lock.
        """
        files.make_private(self._folder)
        with self._lock.held() as is_mine:
            if not is_mine:
                raise McloudError(
                    f"{self._target.name} is already being restored from {self._source.name}"
                    f" (pid {self._lock.holder_pid()})"
                )
            yield

    def unfinished(self) -> int:
        """Return the number of hours that an earlier run of the same restoration left."""
        return len(self._state.left())

    def survey(self, *, is_first: bool = True) -> RestoreEstimate:
        """Compare both sites by hour, and estimate the work.

        Args:
            is_first: refuse a source that has less than the target. Later surveys do not check
                this, since new trades may reach the target before the source.

        Raises:
            McloudError: ``is_first`` is set, and the source has less than the target.
        """
        sites = {self._source.name: self._source, self._target.name: self._target}
        look = Survey(sites, self._scope, self._window, False, self.tell)
        with closing(Workers(THREADS)) as readers, closing(Workers(THREADS)) as walkers:
            look.read_all(readers, walkers)
            self._disputed = look.doubtful(readers)
        self._damaged = [
            f for f in look.found if f.kind == "damaged" and f.key and f.site == self._target.name
        ]
        if is_first:
            self._refuse_less(look)
        return estimate(
            look, self._source, self._target, self._engine, len(self._damaged), self._disputed
        )

    def run(self, estimate: RestoreEstimate | None = None) -> Restored:
        """Restore the hours of the estimate, or those that an earlier run left, and compare again.

        Raises:
            Unavailable: a site is unavailable, or its functions do not process the messages. The
                next run continues.
        """
        if self._handed and estimate is not None:
            self._handed.forget()  # a transfer for another estimate
        if self._disputed is None:  # the plan of an earlier run does not have the disputed ids
            self.survey(is_first=False)
        self._state.begin(self._state.left() if estimate is None else estimate.hours)
        engine = "functions" if self._engine == "functions" else "direct"
        if self._handed:
            copied = self._handed.run(self._undisputed(self._state.left()), self.tell)
            self.done.objects += copied.objects
            self.done.bytes += copied.bytes
            self.done.notes += [copied.error] if copied.error else []
        while True:
            before = self.done.written
            self._mend_damaged()
            self._work(self._state.left(), engine)
            estimate = self.survey(is_first=False)
            self.done.left = len(estimate.hours)
            self._state.begin(estimate.hours)
            # The functions have processed all raw trades. The rest is only in candles.
            engine = "direct"
            if estimate.is_empty or self.done.written == before:
                break
        self._state.end()
        if self._handed:
            self._handed.forget()
        for symbol, ids in (self._disputed or {}).items():
            self.done.notes.append(
                f"{ids.count:,} trade ids of {symbol} have two contents and were not copied, the"
                f" first is {ids.runs[0][0]}; run `mcloud verify --deep` for details"
            )
        return self.done

    # Planning

    def _undisputed(self, hours: Sequence[Hour]) -> list[Hour]:
        """Return the hours of symbols without disputed ids, since a cloud copies whole objects."""
        return [hour for hour in hours if not self._of(hour[0])]

    def _of(self, symbol: str) -> Ids:
        return (self._disputed or {}).get(symbol, Ids())

    def _refuse_less(self, look: Survey) -> None:
        seen = {}
        for site in (self._source, self._target):
            candles = sum(each.get(site.name, NOTHING).ids.count for each in look.candles.values())
            archived = sum(each.get(site.name, NO_RAW).ids.count for each in look.raw.values())
            seen[site.name] = candles, archived
        here, there = seen[self._source.name], seen[self._target.name]
        if any(mine < theirs for mine, theirs in zip(here, there, strict=True)):
            words = [
                f"{name} has {candles:,} trades in candles and {archived:,} raw trades"
                for name, (candles, archived) in seen.items()
            ]
            raise McloudError(
                f"{self._source.name} has less data than {self._target.name}: {', '.join(words)}",
                remedy="give the site that lost data first, or a time range in which"
                f" {self._source.name} has more; or run `mcloud replicate --once` to copy in both"
                " directions",
            )

    # Execution

    def _mend_damaged(self) -> None:
        """Replace the target's damaged objects from the source."""
        sites = {self._source.name: self._source, self._target.name: self._target}
        done = repair(RepairPlan(replace=self._damaged), sites)
        self.done.objects += done.replaced
        self.done.damaged += [each for each in done.problems if each not in self.done.damaged]

    def _work(self, hours: Sequence[Hour], engine: str) -> None:
        count, failed = len(hours), threading.Event()
        with (
            closing(Workers(self._threads)) as workers,
            closing(Workers(TRANSFERS)) as movers,
            closing(
                Copier(self._source, self._target, movers, processes=self._processes)
            ) as copier,
        ):
            step: Callable[[Hour], None] = partial(self._copy_hour, copier)
            if engine == "functions":
                step = partial(self._send_hour, movers)

            def one(hour: Hour) -> None:
                nonlocal count
                if failed.is_set():
                    return
                try:
                    step(hour)
                except BaseException:
                    # Otherwise the other hours would wait for the same site, one after the other.
                    failed.set()
                    raise
                with self._changing:
                    self._state.note(hour)
                    self.done.hours += 1
                    count -= 1
                self.tell(f"{count:,} hours left")

            workers.map(one, hours)

    def _copy_hour(self, copier: Copier, hour: Hour) -> None:
        symbol, start = hour
        if self._scope.raw:
            # Raw trades are copied first, because without them nobody can make a candle again.
            here, there = self._source.archive, self._target.archive
            selected = raw.select(here, there, symbol, start, lambda: self._of(symbol))
            copied = copier.copy([piece.to_copy for piece in selected.whole])
            put = [item for item in selected.parts if there.put(item)]
            with self._changing:
                self.done.objects += copied.objects + len(put)
                self.done.bytes += copied.bytes + sum(len(item.body) for item in put)
                new = (key for key in copied.damaged if key not in self.done.damaged)
                self.done.damaged += new
        if self._scope.candles:
            window = HourWindow(start, start + HOUR)
            found = [
                sound
                for each in stream(self._source.candles, symbol, *window, self._unreadable)
                if (sound := self._sound(each)).fragments
            ]
            left = self._target.candles.create(found)
            merged = [merge_into(self._target.candles, each).changed for each in left]
            with self._changing:
                self.done.candles += len(found) - len(left) + sum(merged)

    def _sound(self, candle: Candle) -> Candle:
        hour = candle.start // HOUR * HOUR
        archived = partial(raw.archived, self._source.archive, candle.symbol, hour)
        return without(candle, self._of(candle.symbol), archived)

    def _send_hour(self, workers: Workers, hour: Hour) -> None:
        """Send the trades of an hour to the target's functions, and wait for their candles."""
        symbol, start = hour
        archive = self._source.archive
        held = raw.holdings(archive, symbol, start)
        contents = workers.map(lambda piece: raw.read(archive, piece), held)
        trades: set[Trade] = set()
        for piece, content in zip(held, contents, strict=True):
            if content is None:
                with self._changing:
                    self.done.damaged.append(piece.key)
            else:
                trades.update(content)
        theirs: dict[int, set[Trade]] = {}
        there = self._target.archive
        for trade in raw.archived(there, symbol, start, raw.ids_of(trades)):
            theirs.setdefault(trade.id, set()).add(trade)
        disputed = self._of(symbol)
        trades = {
            each
            for each in raw.undisputed(trades)
            if each.id not in disputed
            and without_filled_voids({*theirs.get(each.id, ()), each}) == [each]
        }
        messages = envelopes(trades)
        newest = max(map(version_of, messages), default=OLDEST)
        if newest > OLDEST:
            self._support.require(newest)
        unsent = self._target.queue.send(messages)
        if unsent:
            raise Unavailable(
                f"the queue of {self._target.name} refused a message: {unsent[0].reason}"
            )
        with self._changing:
            self.done.messages += len(messages)
        self._await(hour, raw.ids_of(trades))

    def _await(self, hour: Hour, wanted: Ids) -> None:
        symbol, start = hour
        # SQS shows a batch that failed only after its visibility timeout, six minutes by default.
        patience = self._patience + self._target.queue.depth().redelivery
        missing, limit = -1, Limit(patience)
        while True:
            window = HourWindow(start, start + HOUR)
            found = digests(stream(self._target.candles, symbol, *window, self._unreadable))
            left = wanted.minus(found.get(start, NOTHING).ids).count
            if not left:
                return
            if left != missing:
                missing, limit = left, Limit(patience)
            if limit.is_over:
                raise Unavailable(
                    f"the functions of {self._target.name} have not processed {left:,} trades of"
                    f" {symbol} for {patience:g} s",
                    remedy=f"see `mcloud dlq list {self._target.name}` and the function's log;"
                    " then run the command again to continue",
                )
            time.sleep(POLL)

    def _unreadable(self, start: int, why: str) -> None:
        with self._changing:
            if why not in self.done.damaged:
                self.done.damaged.append(why)


def envelopes(trades: set[Trade]) -> list[Message]:
    """Return messages as producers send them. Trades with the same id go to different messages."""
    left = sorted(trades, key=lambda trade: trade.id)
    messages: list[Message] = []
    while left:
        batch: list[Trade] = []
        later: list[Trade] = []
        for trade in left:
            (later if batch and batch[-1].id == trade.id else batch).append(trade)
        for begin in range(0, len(batch), min(BATCH, MAX_TRADES)):
            messages += encode_all(batch[begin : begin + BATCH])
        left = later
    return messages


class _RestoreState:
    """The state file: a header, the planned hours, and one line for each finished hour.

    A truncated line is ignored.
    """

    def __init__(self, path: Path, what: Sequence[object]) -> None:
        self._path = path
        self._header = json.dumps(["restore", *what])

    def left(self) -> list[Hour]:
        """Return the unfinished hours; none if no such restoration was begun."""
        try:
            header, planned, *done = self._path.read_text().splitlines() or ["", ""]
        except (OSError, ValueError):
            return []
        if header != self._header:
            return []
        hours = read_text(tuple[tuple[str, int], ...], planned, str(self._path))
        if isinstance(hours, Damaged):
            return []
        finished = set(done)
        return [
            (symbol, start)
            for symbol, start in hours
            if json.dumps((symbol, start)) not in finished
        ]

    def begin(self, hours: Sequence[Hour]) -> None:
        text = f"{self._header}\n{json.dumps(hours)}\n"
        best_effort.attempt(self._path, lambda: files.write(self._path, text))

    def note(self, hour: Hour) -> None:
        """Note that an hour is finished. Without the note, a later run copies the hour again."""
        line = f"{json.dumps(hour)}\n"
        best_effort.attempt(self._path, lambda: files.append(self._path, line, durable=False))

    def end(self) -> None:
        best_effort.attempt(self._path, lambda: self._path.unlink(missing_ok=True))
