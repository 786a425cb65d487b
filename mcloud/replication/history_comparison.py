"""The second work of a pair: compare the candles from before it began to follow, in slices."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from itertools import islice

from mcloud.archive import raw
from mcloud.clouds.ports import Site
from mcloud.market.candle import MINUTE, Candle
from mcloud.market.trade import MAX_TIME
from mcloud.replication import hour_digest
from mcloud.replication.candle_writer import CHUNK, CandleWriter, flat
from mcloud.replication.dispute_filter import DisputeFilter
from mcloud.replication.known_states import states
from mcloud.replication.pair_state import Checkpoint, PairState
from mcloud.replication.progress import ProgressTracker
from mcloud.replication.scheduled_work import NEVER
from mcloud.replication.scope import Scope
from mcloud.replication.side_by_side import CandlePairs, beside
from mcloud.workers import Workers

SLICE = 5_000  # candles compared between two polls for changes
AHEAD = 3  # symbols that are read while one is written
SYMBOLS = 50  # symbols whose raw archives are compared between two polls for changes
END = MAX_TIME  # ms; the highest time that to_timestamp can write


class HistoryComparison:
    """The ``scheduled_work.Work`` that copies older candles of the source that are missing in the
    target.

    Args:
        offer: takes the comparisons of hours that were just marked.
        wall: returns the time in seconds since 1970.
    """

    def __init__(
        self,
        source: Site,
        target: Site,
        state: PairState,
        scope: Scope,
        *,
        tracker: ProgressTracker,
        candle_writer: CandleWriter,
        dispute_filter: DisputeFilter,
        offer: Callable[[Mapping[raw.Hour, raw.HourComparison | None]], None],
        workers: Workers,
        wall: Callable[[], float],
    ) -> None:
        self._source = source
        self._target = target
        self._state = state
        self._scope = scope
        self._tracker = tracker
        self._candle_writer = candle_writer
        self._dispute_filter = dispute_filter
        self._offer = offer
        self._workers = workers
        self._wall = wall
        self._symbols_left: list[str] | None = None
        """Symbols to compare; the next one is the last. None if they are not known yet."""
        self._streams: dict[str, CandlePairs] = {}
        """Candles that are being read, by symbol. Each stream starts where the state says."""

    def begin(self) -> Checkpoint:
        """Start a comparison of everything, and return the checkpoint to follow from.

        The position is read before the comparison starts, so that no change is missed in between.
        """
        position = self._source.candles.tip()
        checkpoint = self._state.begin(position)
        self._tracker.log.info(
            "%s: comparing everything, and following changes", self._tracker.name
        )
        self._symbols_left, self._streams = None, {}
        return checkpoint

    def next_due(self) -> float:
        has_work = self._state.checkpoint is not None and not self._state.is_compared
        return 0.0 if has_work else NEVER

    def take(self) -> None:
        """Compare one slice of the older candles."""
        if self._symbols_left is None:
            self._symbols_left = sorted(
                hour_digest.symbols(self._source, self._scope), reverse=True
            )
        while self._symbols_left:
            symbol = self._symbols_left[-1]
            if self._state.compared_until(symbol) < END:
                if self._scope.candles:
                    self._compare(symbol)
                else:
                    self._compare_raw(self._symbols_left[-SYMBOLS:])
                return
            self._symbols_left.pop()
        self._state.finish_comparison()
        self._tracker.log.info("%s: all earlier data is compared", self._tracker.name)

    def _compare(self, symbol: str) -> None:
        # After an error the comparison starts again from the stored state.
        streams, self._streams = self._streams, {}
        stream = streams.pop(symbol, None) or self._read(symbol)
        for following in self._following():
            # Read ahead while this symbol is written.
            streams[following] = streams.get(following) or self._read(following)
        rows = islice(stream, SLICE)
        held: dict[tuple[str, int], bytes] = {}
        merge: list[Candle] = []
        pending: list[Future[list[Candle]]] = []
        # The next chunk is read while one is written.
        while chunk := list(islice(rows, CHUNK)):
            until = chunk[-1][0].start + MINUTE
            fresh = states(candle for candle, _ in chunk)
            held |= fresh
            # Some candles have arrived as changes since the target was read.
            lacking = self._candle_writer.lacking(fresh)
            unlike = [
                (self._dispute_filter.cleared(candle), there)
                for candle, there in chunk
                if (candle.symbol, candle.start) in lacking
            ]
            unlike = [(candle, there) for candle, there in unlike if candle.fragments]
            pending += self._candle_writer.create(
                [candle for candle, there in unlike if there is None]
            )
            merge += [c for c, there in unlike if there and there.fragments != c.fragments]
        self._candle_writer.finish(merge + flat(pending), held)
        self._tracker.count(seen=len(held))
        if len(held) == SLICE:
            self._state.note_compared(symbol, until, {})
            streams[symbol] = stream
        else:
            self._note_compared([symbol])
        self._streams = streams

    def _compare_raw(self, symbols: Sequence[str]) -> None:
        # Raw trades with disputed ids are not copied.
        self._dispute_filter.look_all(symbols, self._workers)
        self._note_compared(symbols)

    def _note_compared(self, symbols: Sequence[str]) -> None:
        """Mark the hours of which the target lacks raw trades. They may be of any age."""
        marks: dict[str, dict[raw.Hour, float]] = {}
        now = self._wall()
        if self._scope.raw:
            archives = self._source.archive, self._target.archive
            found = raw.lacking_hours(*archives, symbols, self._workers.map)
            self._offer(found)
            for hour in found:
                marks.setdefault(hour[0], {})[hour] = 0.0
        for symbol in symbols:
            self._state.note_compared(symbol, END, marks.get(symbol, {}))
            if self._scope.raw:
                self._state.note_raw_compared(symbol, now)

    def _following(self) -> Sequence[str]:
        """Return the symbols to compare after this one; the next one is the last."""
        assert self._symbols_left is not None
        return self._symbols_left[-1 - AHEAD : -1]

    def _read(self, symbol: str) -> CandlePairs:
        def damaged(site: str, start: int, why: str) -> None:
            self._tracker.report_damaged([f"{site}: {why}"])

        begin = self._state.compared_until(symbol)
        # The disputed ids must be known before the first candle is copied.
        self._dispute_filter.look(symbol)
        return beside(self._source, self._target, symbol, begin, damaged)
