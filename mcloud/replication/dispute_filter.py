"""Prevents a pair from copying a trade into a second minute: each id belongs in one candle only.

A pair knows the ids that either site holds in candles, and which of them are disputed. These are a
few runs of ids per symbol, regardless of the number of trades. Usually a changed candle has new ids
that neither site holds. If it has ids that a site holds already, and the target does not hold them
in this candle, the candles of both sites are surveyed, as ``verify`` does, to find the disputed
ids. This is rare. Otherwise a survey is made once for each symbol, when everything is compared.
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from functools import partial

from mcloud.archive import raw
from mcloud.clouds.ports import Site
from mcloud.market.archive import HOUR
from mcloud.market.candle import MINUTE, Candle
from mcloud.market.ids import Ids
from mcloud.market.trade import id_count
from mcloud.replication.candle_streams import stream, without
from mcloud.replication.hour_digest import ALL_TIME
from mcloud.replication.known_states import KnownIds, KnownStates
from mcloud.replication.pair_state import PairState, SymbolIds
from mcloud.replication.progress import ProgressTracker
from mcloud.replication.scope import Scope
from mcloud.replication.verify import Survey
from mcloud.workers import Workers

AGAIN = 600.0  # seconds after which a disputed id that changes is checked again


class DisputeFilter:
    """Removes disputed ids from what a pair copies. Only the thread of the pair uses it.

    Args:
        known: candle states that each site is known to hold, by name of the site.
        clock: returns monotonic seconds.
    """

    def __init__(
        self,
        source: Site,
        target: Site,
        state: PairState,
        known: Mapping[str, KnownStates],
        tracker: ProgressTracker,
        clock: Callable[[], float],
    ) -> None:
        self._source = source
        self._target = target
        self._state = state
        self._tracker = tracker
        self._clock = clock
        self._source_placed = known[source.name].placed
        self._target_placed = known[target.name].placed
        self._seen = KnownIds()
        """Ids of the source's candles that this pair has handled."""
        self._looked: dict[str, float] = {}

    def look(self, symbol: str) -> SymbolIds:
        """Survey the candles of a symbol at both sites, and store its ids."""
        return self._keep(symbol, self._survey(symbol))

    def look_all(self, symbols: Collection[str], workers: Workers) -> None:
        """Survey the candles of several symbols at the same time, and store their ids."""
        for symbol, found in zip(symbols, workers.map(self._survey, symbols), strict=True):
            self._keep(symbol, found)

    def prepare(self, symbols: Collection[str], workers: Workers) -> None:
        """Survey those of the symbols whose ids are not known yet."""
        unknown = [symbol for symbol in symbols if self._state.ids(symbol) is None]
        self.look_all(unknown, workers)

    def _survey(self, symbol: str) -> SymbolIds:
        sites = {site.name: site for site in (self._source, self._target)}
        scope = Scope(frozenset({"candles"}), frozenset({symbol}))
        look = Survey(sites, scope, ALL_TIME, False, lambda words: None)
        with closing(Workers(2)) as readers:
            look.read_candles(readers, symbol)
        disputed = Ids(run for ids in look.contradicted(symbol).values() for run in ids.runs)
        held = Ids()
        for digests in look.candles.values():
            for each in digests.values():
                held.update(each.ids)
        return SymbolIds(held, disputed)

    def _keep(self, symbol: str, known: SymbolIds) -> SymbolIds:
        disputed = known.disputed
        self._state.keep_ids(symbol, known)
        self._looked[symbol] = self._clock()
        if disputed:
            first, last = disputed.runs[0]
            ids = f"id {first}" if first == last else f"ids {first} to {last}"
            more = disputed.count - id_count(first, last)
            self._tracker.report_disagreements(
                [
                    f"{symbol}: two contents for {ids}"
                    + (f" and {more:,} more ids" if more else "")
                    + "; they are not replicated; run `mcloud verify --deep` for details"
                ]
            )
        return known

    def disputed(self, symbol: str) -> Ids:
        """Return the ids of a symbol that must not be copied."""
        return self._known(symbol).disputed

    def sound(self, candle: Candle) -> Candle:
        """Return a changed candle of the source without disputed ids. It may be empty."""
        symbol = candle.symbol
        ids = Ids(candle.runs)
        fresh = ids.minus(self._seen.minute(candle))
        known = self._known(symbol)
        twice = fresh.common(known.held).minus(self._target_placed.minute(candle))
        twice.update(self._target_placed.elsewhere(candle, fresh))
        twice = twice.minus(known.disputed)
        if twice:
            twice = twice.minus(self._at_target(candle))
        is_old = self._clock() - self._looked.get(symbol, float("-inf")) >= AGAIN
        if twice or (is_old and fresh.common(known.disputed)):
            known = self.look(symbol)
        if ids.minus(known.held):
            union = Ids(known.held.runs)
            union.update(ids)
            self._state.keep_ids(symbol, known._replace(held=union))
        self._seen.note(candle)
        self._source_placed.note(candle)
        return self.cleared(candle)

    def cleared(self, candle: Candle) -> Candle:
        """Return a candle without disputed ids, for a symbol that was just surveyed."""
        hour = candle.start // HOUR * HOUR
        archived = partial(raw.archived, self._source.archive, candle.symbol, hour)
        return without(candle, self.disputed(candle.symbol), archived)

    def misplaced(self, wanted: Mapping[raw.Hour, Ids], workers: Workers) -> dict[raw.Hour, Ids]:
        """Return those ids of the raw trades of each hour that a candle of another hour holds."""
        suspect: dict[raw.Hour, Ids] = {}
        for (symbol, hour), ids in wanted.items():
            left = ids.common(self._known(symbol).held)
            for placed in (self._source_placed, self._target_placed):
                if left:
                    left = left.minus(placed.hour(symbol, hour))
            suspect[symbol, hour] = left
        asked = [hour for hour, ids in suspect.items() if ids]
        held = dict(zip(asked, workers.map(self._held_in, asked), strict=True))
        return {hour: ids.minus(held.get(hour, Ids())) for hour, ids in suspect.items()}

    def _held_in(self, hour: raw.Hour) -> Ids:
        """Return the ids that candles of either site hold in an hour."""
        symbol, start = hour
        held = Ids()
        for site in (self._source, self._target):
            for candle in stream(site.candles, symbol, start, start + HOUR, lambda at, why: None):
                held.update(Ids(candle.runs))
        return held

    def _at_target(self, candle: Candle) -> Ids:
        start, ids = candle.start, Ids()
        found = stream(
            self._target.candles, candle.symbol, start, start + MINUTE, lambda at, why: None
        )
        for each in found:
            ids.update(Ids(each.runs))
        return ids

    def _known(self, symbol: str) -> SymbolIds:
        return self._state.ids(symbol) or self.look(symbol)
