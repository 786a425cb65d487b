"""Write the candles of one site to another with as few requests as possible."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future

from mcloud.clouds.ports import Site
from mcloud.errors import DamagedData
from mcloud.market.candle import Candle
from mcloud.replication.candle_streams import merge_into
from mcloud.replication.known_states import KnownStates, States
from mcloud.replication.progress import ProgressTracker
from mcloud.workers import Workers, results

CHUNK = 500  # candles written by one call
# number of candles from which the writer writes before it reads, because most of them will be new
BULK = 25


class CandleWriter:
    """Writes the candles of a source to a target.

    Args:
        known: candle states that each site is known to hold, by name of the site.
    """

    def __init__(
        self,
        source: Site,
        target: Site,
        known: Mapping[str, KnownStates],
        workers: Workers,
        tracker: ProgressTracker,
    ) -> None:
        self._source = known[source.name]
        self._target = known[target.name]
        self._name = target.name
        self._candles = target.candles
        self._workers = workers
        self._tracker = tracker

    def bring(self, candles: Sequence[Candle], held: States) -> None:
        """Write the source's candles to the target, except for those that it is known to hold."""
        self._source.add(held)
        unknown = self._target.lacking(held)
        lacking = [each for each in candles if (each.symbol, each.start) in unknown]
        self._tracker.note_waiting(len(lacking))
        if len(lacking) >= BULK:
            lacking = flat(self.create(lacking))
        self.finish(lacking, held)
        self._tracker.note_waiting(0)

    def lacking(self, held: States) -> States:
        """Return those of the source's states that the target is not known to hold."""
        self._source.add(held)
        return self._target.lacking(held)

    def create(self, candles: Sequence[Candle]) -> "list[Future[list[Candle]]]":
        """Write the candles that the target does not have; the futures return the others."""
        return [
            self._workers.submit(self._create, candles[begin : begin + CHUNK])
            for begin in range(0, len(candles), CHUNK)
        ]

    def finish(self, candles: Iterable[Candle], held: States) -> None:
        """Merge candles into the target, and note that it now holds the states ``held``."""
        candles = list(candles)
        merged = self._workers.map(self._merge, candles)
        left = {(c.symbol, c.start) for c, is_in in zip(candles, merged, strict=True) if not is_in}
        self._target.add({key: state for key, state in held.items() if key not in left})

    def _create(self, candles: Sequence[Candle]) -> list[Candle]:
        left = self._candles.create(candles)
        self._tracker.count(written=len(candles) - len(left))
        return left

    def _merge(self, candle: Candle) -> bool:
        """Return False if the target's candle is damaged. It is reported and skipped."""
        try:
            merged = merge_into(self._candles, candle)
        except DamagedData as error:
            self._tracker.report_damaged([f"{self._name}: {error}"])
            return False
        self._tracker.count(written=int(merged.changed))
        self._tracker.report_disagreements(map(str, merged.disagreements))
        return True


def flat(pending: "Iterable[Future[list[Candle]]]") -> list[Candle]:
    """Wait for all futures and return the candles that they returned."""
    return [candle for left in results(pending) for candle in left]
