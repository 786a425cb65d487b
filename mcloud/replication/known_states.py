"""What sites are known to hold, so that they are not asked to write it again.

What a replicator writes to a site comes back as a change of that site, and in mode ``both`` every
site folds the same trades by itself. Each of these would cost a read for nothing.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping

from mcloud.market.candle import Candle
from mcloud.replication.ids import Ids

MINUTES = 10_000  # candles whose ids are remembered
LIMIT = 100_000  # candles in each of two generations, some 200 bytes each

States = Mapping[tuple[str, int], bytes]
"""A digest of the state of a candle, by symbol and start."""


def states(candles: Iterable[Candle]) -> States:
    return {
        (candle.symbol, candle.start): hashlib.blake2b(
            candle.encode_fragments().encode("ascii"), digest_size=16
        ).digest()
        for candle in candles
    }


class KnownIds:
    """Where the trades are that a site was seen to hold since this process began: some runs of ids
    a symbol, and the ids of the candles that changed last. Used by several threads."""

    def __init__(self, limit: int = MINUTES) -> None:
        self._limit = limit
        self._ids: dict[str, Ids] = {}
        self._minutes: OrderedDict[tuple[str, int], Ids] = OrderedDict()
        self._changing = threading.Lock()

    def note(self, candle: Candle) -> None:
        """The site holds this candle."""
        ids, key = Ids(candle.runs), (candle.symbol, candle.start)
        with self._changing:
            self._ids.setdefault(candle.symbol, Ids()).update(ids)
            self._minutes[key] = ids
            self._minutes.move_to_end(key)
            if len(self._minutes) > self._limit:
                self._minutes.popitem(last=False)

    def elsewhere(self, candle: Candle, ids: Ids) -> Ids:
        """Those of some ids of a candle that the site holds, but not in this candle."""
        with self._changing:
            held = ids.common(self._ids.get(candle.symbol, Ids()))
            return held.minus(self.minute(candle))

    def minute(self, candle: Candle) -> Ids:
        """The ids of the site's candle of the same minute, as far as they are remembered."""
        return self._minutes.get((candle.symbol, candle.start), Ids())


class KnownStates:
    """States that one site holds, or held and has added to: a site forgets no trade.

    Used by several threads: the worst that a race does is to forget a state.
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
        """Those that the site may not hold."""
        return {
            key: state
            for key, state in wanted.items()
            if (self._recent.get(key) or self._older.get(key)) != state
        }

    def forget(self) -> None:
        """The site lost something after all."""
        self._recent, self._older = {}, {}
