"""Changes in the candle collection, found by the timestamp that Firestore stores in each candle."""

import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from mcloud.clouds.gcp.client import TIMEOUT, retry, translated
from mcloud.clouds.ports import Changes
from mcloud.clouds.positions import parse_position
from mcloud.errors import Refused
from mcloud.market.candle import Candle

STAMP = "updated"
PAGE = 300  # candles
SECOND = 1_000_000  # µs
# Firestore stamps a candle when the write begins, and shows it when the write has finished. A write
# with an earlier stamp may finish later. The timeout of every write of mcloud is a few seconds.
OVERLAP = 60 * SECOND
SWEEP = 60 * SECOND  # time between two repeated reads of the overlap
CLOCK_GOOD_FOR = 60.0  # seconds until Firestore's time is queried again

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class QueryPosition(NamedTuple):
    """Position of the next page, and how far the changes are completely read. Times are in µs since
    1970."""

    stamp: int
    name: str
    """Name of the candle with that stamp after which the page begins. If empty, the page begins
    with the first candle of that stamp.
    """
    settled: int
    """Stamp before which no unread candle can appear any more."""
    seen: int
    """Time up to which every completed write has been read."""
    began: int
    """New value of ``seen`` at the end of the current pass."""
    as_of: int
    """``as_of`` of ``ports.Changes``. A repeated read of older changes does not move it back."""

    def to_text(self) -> str:
        return json.dumps(self._asdict(), separators=(",", ":"))


class ChangeRow(NamedTuple):
    stamp: int
    name: str
    written: int
    """Time of the write."""


def begin(now: int) -> QueryPosition:
    """Return a position that misses no write after ``now``."""
    return QueryPosition(now - OVERLAP, "", now - OVERLAP, now, now, now)


def advance(
    position: QueryPosition, rows: Sequence[ChangeRow], now: int, *, is_end: bool
) -> tuple[QueryPosition, bool]:
    """Return the position after a page, and whether no further changes are waiting.

    Args:
        rows: the page, by stamp and name.
        now: time at which the page was read, or an earlier time.
        is_end: whether the page reaches the newest candle.
    """
    stamp, name = (rows[-1].stamp, rows[-1].name) if rows else position[:2]
    settled, began = position.settled, position.began
    if settled >= position.stamp:
        # Nothing is missing up to here, so a pass that begins here misses nothing.
        began = now
        settled = max(settled, now - OVERLAP if is_end else min(stamp, now - OVERLAP))
    seen = began if is_end else position.seen
    as_of = max(position.as_of, now if is_end else stamp)
    if is_end and stamp > settled and now - OVERLAP - settled >= SWEEP:
        return QueryPosition(settled, "", settled, seen, began, as_of), False
    return QueryPosition(stamp, name, settled, seen, began, as_of), is_end


class FirestoreChanges:
    """Changes in a Firestore collection of candles, as in ``ports.Candles.changes``.

    A poll without changes costs one document read, and one more per minute for the time. While
    candles change, those of the last two minutes are read again every minute, and only
    the changes that were not seen are returned. ``as_of`` is the time of the read, although a write
    that took unusually long may only be found by the next of these repeated reads.

    Changes are never trimmed: Firestore keeps the last state of each candle permanently.
    """

    def __init__(self, collection: Any, what: str, decode: Callable[[Any], Candle]) -> None:
        self._collection = collection
        self._what = what
        self._decode = decode
        self._clock = (0, float("-inf"))
        """Firestore's time in µs, and the monotonic time at which it was received."""

    def tip(self) -> str:
        return begin(self._ask_time()).to_text()

    def changes(self, position: str) -> Changes:
        before = parse_position(QueryPosition, position, "a Firestore collection")
        now = self._time()
        with translated(self._what):
            found = list(self._query(before).stream(timeout=TIMEOUT, retry=retry()))
        if found:
            now = self._heard(found[0].read_time)
        rows = [
            ChangeRow(_micros(each.get(STAMP)), each.id, _micros(each.update_time))
            for each in found
        ]
        after, is_last = advance(before, rows, now, is_end=len(found) < PAGE)
        candles, damaged = [], []
        for row, snapshot in zip(rows, found, strict=True):
            if row.written >= before.seen:
                try:
                    candles.append(self._decode(snapshot))
                except Refused as error:
                    damaged.append(str(error))
        return Changes(candles, after.to_text(), after.as_of / SECOND, is_last, damaged)

    def _query(self, position: QueryPosition) -> Any:
        from google.cloud.firestore_v1.base_query import FieldFilter

        # The query uses the automatic index of this field, in which equal stamps are ordered by
        # name. The filter restricts it to timestamps. With a cursor alone, the query would continue
        # into values of other types that another program wrote.
        stamp = _EPOCH + timedelta(microseconds=position.stamp)
        query = (
            self._collection.where(filter=FieldFilter(STAMP, ">=", stamp))
            .order_by(STAMP)
            .order_by("__name__")
            .limit(PAGE)
        )
        if not position.name:
            return query
        return query.start_after([stamp, self._collection.document(position.name)])

    def _time(self) -> int:
        """Return a time that has passed on Firestore's clock, because this machine's clock may be
        wrong.
        """
        told, heard = self._clock
        since = time.monotonic() - heard
        if since > CLOCK_GOOD_FOR:
            return self._ask_time()
        return told + int(since * SECOND)

    def _ask_time(self) -> int:
        with translated(self._what):
            # No document has this name. The answer includes the read time anyway.
            return self._heard(
                self._collection.document("time").get(timeout=TIMEOUT, retry=retry()).read_time
            )

    def _heard(self, read_time: datetime) -> int:
        now = _micros(read_time)
        self._clock = (now, time.monotonic())
        return now


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)
