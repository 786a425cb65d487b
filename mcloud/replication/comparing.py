"""A pair's second work: what was there before it followed is compared, a slice at a time."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from itertools import islice

from mcloud.clouds.ports import Site
from mcloud.market.archive import prefix
from mcloud.market.candle import MINUTE, Candle
from mcloud.market.trade import MAX_TIME
from mcloud.replication import blocks, digest, raw
from mcloud.replication.beside import Beside, beside
from mcloud.replication.delivery import CHUNK, Delivery, flat
from mcloud.replication.known import states
from mcloud.replication.placing import Placing
from mcloud.replication.progress import Standing
from mcloud.replication.scope import Scope
from mcloud.replication.state import Checkpoint, State
from mcloud.replication.turn import NEVER

SLICE = 5_000  # candles compared between two looks at what changed
AHEAD = 3  # symbols that are read while one is written
END = MAX_TIME  # ms; to_timestamp can write it


class Comparing:
    """See ``turn.Work``."""

    def __init__(
        self,
        source: Site,
        target: Site,
        state: State,
        scope: Scope,
        *,
        standing: Standing,
        delivery: Delivery,
        placing: Placing,
    ) -> None:
        self._source = source
        self._target = target
        self._state = state
        self._scope = scope
        self._standing = standing
        self._delivery = delivery
        self._placing = placing
        self._symbols_left: list[str] | None = None
        """Symbols to compare, the next one last; None before they are known."""
        self._streams: dict[str, Beside] = {}
        """What is being read, by symbol; each from where the state says on."""

    def begin(self) -> Checkpoint:
        """Follow from now on, and compare what was before: in this order nothing falls between."""
        position = self._source.candles.tip()
        self._state.begin(position)
        self._standing.log.info(
            "%s: compares everything, and follows what changes", self._standing.name
        )
        self._symbols_left, self._streams = None, {}
        checkpoint = Checkpoint(position, 0.0, False)
        self._standing.set(checkpoint, self._state.marks())
        return checkpoint

    def next_due(self) -> float:
        has_work = self._standing.checkpoint is not None and not self._standing.is_compared
        return 0.0 if has_work else NEVER

    def take(self) -> None:
        """Compare a slice of what was there before."""
        if self._symbols_left is None:
            self._symbols_left = sorted(digest.symbols(self._source, self._scope), reverse=True)
        while self._symbols_left:
            symbol = self._symbols_left[-1]
            if self._state.compared_until(symbol) < END:
                self._compare(symbol)
                return
            self._symbols_left.pop()
        checkpoint = self._standing.checkpoint
        assert checkpoint is not None
        self._state.finish_comparison()
        self._standing.log.info("%s: all that was there before is compared", self._standing.name)
        self._standing.set(replace(checkpoint, is_compared=True))

    def _compare(self, symbol: str) -> None:
        # After an error it begins again where the state says.
        streams, self._streams = self._streams, {}
        stream = streams.pop(symbol, None) or self._read(symbol)
        for following in self._following():
            # Is read already while this one is written.
            streams[following] = streams.get(following) or self._read(following)
        rows = islice(stream, SLICE if self._scope.candles else 0)
        held: dict[tuple[str, int], bytes] = {}
        merge: list[Candle] = []
        pending: list[Future[list[Candle]]] = []
        # While one chunk is written the next one is read.
        while chunk := list(islice(rows, CHUNK)):
            until = chunk[-1][0].start + MINUTE
            fresh = states(candle for candle, _ in chunk)
            held |= fresh
            # Some came as changes since the target was read.
            lacking = self._delivery.lacking(fresh)
            unlike = [
                (self._placing.cleared(candle), there)
                for candle, there in chunk
                if (candle.symbol, candle.start) in lacking
            ]
            unlike = [(candle, there) for candle, there in unlike if candle.fragments]
            pending += self._delivery.create([candle for candle, there in unlike if there is None])
            merge += [c for c, there in unlike if there and there.fragments != c.fragments]
        self._delivery.finish(merge + flat(pending), held)
        self._standing.count(seen=len(held))
        if len(held) == SLICE:
            self._state.note_compared(symbol, until, {})
            streams[symbol] = stream
        else:
            marks = self._hours(symbol) if self._scope.raw else {}
            self._state.note_compared(symbol, END, marks)
            assert self._standing.checkpoint is not None
            self._standing.set(self._standing.checkpoint, marks)
        self._streams = streams

    def _following(self) -> Sequence[str]:
        """The symbols that come after this one, the last of them next."""
        assert self._symbols_left is not None
        return self._symbols_left[-1 - AHEAD : -1] if self._scope.candles else ()

    def _read(self, symbol: str) -> Beside:
        def damaged(site: str, start: int, why: str) -> None:
            self._standing.report("damaged", [f"{site}: {why}"])

        begin = self._state.compared_until(symbol)
        # What is disputed has to be known before the first candle is brought.
        self._placing.look(symbol)
        return beside(self._source, self._target, symbol, begin, damaged)

    def _hours(self, symbol: str) -> dict[tuple[str, int], float]:
        """Return the hours of which the source has raw trades, from whenever."""
        # Blocks last: what compaction takes out of the hours meanwhile is then found in a block.
        archive = self._source.archive
        hours = {piece.hour for piece in raw.objects(archive, prefix(symbol))}
        hours |= {piece.hour for piece in raw.parts_of(blocks.listed(archive, symbol))}
        return {(symbol, hour): 0.0 for hour in hours}
