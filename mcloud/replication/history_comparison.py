"""The second work of a pair: compare the candles from before it began to follow, in slices."""

from collections.abc import Sequence
from concurrent.futures import Future
from itertools import islice

from mcloud.archive import blocks, raw
from mcloud.clouds.ports import Site
from mcloud.market.archive import prefix
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

SLICE = 5_000  # candles compared between two polls for changes
AHEAD = 3  # symbols that are read while one is written
END = MAX_TIME  # ms; the highest time that to_timestamp can write


class HistoryComparison:
    """The ``scheduled_work.Work`` that copies older candles of the source that are missing in the
    target.
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
    ) -> None:
        self._source = source
        self._target = target
        self._state = state
        self._scope = scope
        self._tracker = tracker
        self._candle_writer = candle_writer
        self._dispute_filter = dispute_filter
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
                self._compare(symbol)
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
        rows = islice(stream, SLICE if self._scope.candles else 0)
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
            marks = self._hours(symbol) if self._scope.raw else {}
            self._state.note_compared(symbol, END, marks)
        self._streams = streams

    def _following(self) -> Sequence[str]:
        """Return the symbols to compare after this one; the next one is the last."""
        assert self._symbols_left is not None
        return self._symbols_left[-1 - AHEAD : -1] if self._scope.candles else ()

    def _read(self, symbol: str) -> CandlePairs:
        def damaged(site: str, start: int, why: str) -> None:
            self._tracker.report_damaged([f"{site}: {why}"])

        begin = self._state.compared_until(symbol)
        # The disputed ids must be known before the first candle is copied.
        self._dispute_filter.look(symbol)
        return beside(self._source, self._target, symbol, begin, damaged)

    def _hours(self, symbol: str) -> dict[tuple[str, int], float]:
        """Return a mark for each hour of which the source has raw trades.

        The time of each mark is 0: these trades may be of any age.
        """
        # Blocks come last, so that trades which compaction moves in the meantime are found there.
        archive = self._source.archive
        hours = {piece.hour for piece in raw.objects(archive, prefix(symbol))}
        hours |= {piece.hour for piece in raw.parts_of(blocks.listed(archive, symbol))}
        return {(symbol, hour): 0.0 for hour in hours}
