"""The fourth work of a pair: compare the raw archives again, once a day.

Usually a changed candle shows that there are new raw trades. This comparison finds those that came
without a change: objects of a repair, and what another program wrote or removed.
"""

from collections.abc import Callable

from mcloud.archive import raw
from mcloud.clouds.ports import Site
from mcloud.market.archive import HOUR
from mcloud.replication import hour_digest
from mcloud.replication.pair_state import PairState
from mcloud.replication.progress import ProgressTracker
from mcloud.replication.scheduled_work import NEVER
from mcloud.replication.scope import Scope
from mcloud.workers import Workers

PERIOD = 86_400.0
"""Seconds between two comparisons of a symbol. A comparison lists the blocks of the symbol at both
sites."""
SYMBOLS = 50  # symbols that are compared between two polls for changes


class RawComparison:
    """Marks the hours of which the target lacks raw trades; a ``scheduled_work.Work``.

    Args:
        waits: whether recent hours are left out, whose trades the export services may still write.
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
        workers: Workers,
        waits: bool,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._source = source
        self._target = target
        self._state = state
        self._scope = scope
        self._tracker = tracker
        self._workers = workers
        self._delay = source.archive.delay + target.archive.delay if waits else 0.0
        self._clock = clock
        self._wall = wall
        self._compared: dict[str, float] | None = None
        """Times of the last comparisons by symbol; None if they are not known yet."""
        self._listed = float("-inf")
        """When the symbols of the source were listed last, by ``wall``."""

    @property
    def is_due(self) -> bool:
        """Whether a symbol is to be compared now."""
        return self.next_due() <= self._clock()

    def next_due(self) -> float:
        if not self._scope.raw or not self._state.is_compared:
            self._compared = None
            return NEVER
        if self._compared is None:
            self._compared = self._state.raw_compared()
        oldest = min(self._compared.values(), default=self._listed)
        return self._clock() + min(oldest, self._listed) + PERIOD - self._wall()

    def take(self) -> None:
        """Compare the raw archives of some symbols."""
        now = self._wall()
        assert self._compared is not None
        if now >= self._listed + PERIOD:
            names = hour_digest.symbols(self._source, self._scope)
            self._compared = {name: self._compared.get(name, 0.0) for name in names}
            self._listed = now
        ages = sorted((at, symbol) for symbol, at in self._compared.items())
        symbols = [symbol for at, symbol in ages if at + PERIOD <= now][:SYMBOLS]
        archives = self._source.archive, self._target.archive
        found = raw.lacking_hours(*archives, symbols, self._workers.map) if symbols else {}
        ended = [hour for hour in found if hour[1] + HOUR <= 1000 * (now - self._delay)]
        for symbol in symbols:
            marks = {hour: 0.0 for hour in ended if hour[0] == symbol}
            self._state.note_raw_compared(symbol, now, marks)
            self._compared[symbol] = now
            if marks:
                self._tracker.log.info(
                    "%s: the target lacks raw trades of %d hours of %s",
                    self._tracker.name,
                    len(marks),
                    symbol,
                )
