"""The candle states that sites are known to hold, so that they are not written again.

A candle that a replicator writes to a site is reported as a change of that site, and in mode
``both`` every site folds the same trades independently. Without this memory, each of these would
cost an unnecessary read.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping

from mcloud.market.archive import HOUR
from mcloud.market.candle import MINUTE, Candle
from mcloud.market.ids import Ids

MINUTES = 20_000  # candles whose ids are remembered: 50 minutes of 400 symbols
LIMIT = 100_000  # candles in each of two generations, about 200 bytes each

States = Mapping[tuple[str, int], bytes]
"""Digests of the states of candles, by symbol and start of the minute (in ms)."""


def states(candles: Iterable[Candle]) -> States:
    return {
        (candle.symbol, candle.start): hashlib.blake2b(
            candle.encode_fragments().encode("ascii"), digest_size=16
        ).digest()
        for candle in candles
    }


class KnownIds:
    """The ids that a site was seen to hold since this process began.

    These are a few runs of ids per symbol, and the ids of the candles that changed last. Several
    threads can use it.
    """

    def __init__(self, limit: int = MINUTES) -> None:
        self._limit = limit
        self._ids: dict[str, Ids] = {}
        self._minutes: OrderedDict[tuple[str, int], Ids] = OrderedDict()
        self._changing = threading.Lock()

    def note(self, candle: Candle) -> None:
        """Remember that the site holds this candle."""
        ids, key = Ids(candle.runs), (candle.symbol, candle.start)
        with self._changing:
            self._ids.setdefault(candle.symbol, Ids()).update(ids)
            self._minutes[key] = ids
            self._minutes.move_to_end(key)
            if len(self._minutes) > self._limit:
                self._minutes.popitem(last=False)

    def elsewhere(self, candle: Candle, ids: Ids) -> Ids:
        """Return those of ``ids`` that the site holds in a candle other than this one."""
        with self._changing:
            held = ids.common(self._ids.get(candle.symbol, Ids()))
            return held.minus(self.minute(candle))

    def hour(self, symbol: str, hour: int) -> Ids:
        """Return the ids of the site's candles of an hour (its start in ms), as far as they are
        known."""
        found = Ids()
        with self._changing:
            for start in range(hour, hour + HOUR, MINUTE):
                found.update(self._minutes.get((symbol, start), Ids()))
        return found

    def minute(self, candle: Candle) -> Ids:
        """Return the ids of the site's candle of the same minute, as far as they are known."""
        return self._minutes.get((candle.symbol, candle.start), Ids())


class KnownStates:
    """Candle states that one site holds, or held before it added trades to them.

    A site does not lose trades, so an older state counts as held. Several threads can use it. A
    race can only cause it to forget a state.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.placed = KnownIds()
        self._limit = limit
        self._recent: dict[tuple[str, int], bytes] = {}
        self._older: dict[tuple[str, int], bytes] = {}

    def add(self, held: States) -> None:
        self._recent.update(held)
        if len(self._recent) > self._limit:
            self._older, self._recent = self._recent, {}

    def lacking(self, wanted: States) -> States:
        """Return the states that the site is not known to hold."""
        return {
            key: state
            for key, state in wanted.items()
            if (self._recent.get(key) or self._older.get(key)) != state
        }

    def forget(self) -> None:
        """Forget all states, since the site has lost data."""
        self._recent, self._older = {}, {}
