"""Candles in Firestore: document ``BTCUSDT_2024-08-08T23:54:00Z``, decimals as strings."""

from collections.abc import Callable, Iterator
from typing import Any

from mcloud.clouds import optimistic
from mcloud.clouds.gcp.client import TIMEOUT, retry, translated
from mcloud.market.candle import Candle, Folded, to_timestamp


class FirestoreCandles:
    def __init__(self, client: Any, collection: str) -> None:
        self._client = client
        self._collection = client.collection(collection)
        self._what = f"Firestore {collection}"

    def update(self, symbol: str, start: int, change: Callable[[Candle], Folded]) -> Folded:
        return optimistic.update(lambda: self._read(symbol, start), self._write, change)

    def range(self, symbol: str, start: int, end: int) -> Iterator[Candle]:
        from google.cloud.firestore_v1.base_query import FieldFilter

        # By document name: ordered by symbol and time, and served without a composite index.
        query = (
            self._collection.where(filter=FieldFilter("__name__", ">=", self._key(symbol, start)))
            .where(filter=FieldFilter("__name__", "<", self._key(symbol, end)))
            .order_by("__name__")
        )
        with translated(self._what):
            for snapshot in query.stream(timeout=TIMEOUT, retry=retry()):
                yield _decode(snapshot)

    def last(self, symbol: str) -> Candle | None:
        from google.cloud.firestore_v1 import Query
        from google.cloud.firestore_v1.base_query import FieldFilter

        # Wants the composite index (symbol, timestamp descending): names have no descending one.
        query = (
            self._collection.where(filter=FieldFilter("symbol", "==", symbol))
            .order_by("timestamp", direction=Query.DESCENDING)
            .limit(1)
        )
        with translated(self._what):
            return next(map(_decode, query.stream(timeout=TIMEOUT, retry=retry())), None)

    def _key(self, symbol: str, start: int) -> Any:
        return self._collection.document(f"{symbol}_{to_timestamp(start)}")

    def _read(self, symbol: str, start: int) -> optimistic.Read[Any]:
        with translated(self._what):
            snapshot = self._key(symbol, start).get(timeout=TIMEOUT, retry=retry())
        if not snapshot.exists:
            return optimistic.Read(Candle(symbol, start), None)
        return optimistic.Read(_decode(snapshot), snapshot.update_time)

    def _write(self, candle: Candle, update_time: Any) -> bool:
        from google.api_core.exceptions import (
            Aborted,
            AlreadyExists,
            FailedPrecondition,
            NotFound,
        )

        document = self._key(candle.symbol, candle.start)
        with translated(self._what):
            try:
                if update_time is None:
                    document.create(candle.to_record(), timeout=TIMEOUT, retry=retry())
                else:
                    option = self._client.write_option(last_update_time=update_time)
                    document.update(
                        candle.to_record(), option=option, timeout=TIMEOUT, retry=retry()
                    )
            except (Aborted, AlreadyExists, FailedPrecondition, NotFound):
                return False
        return True


def _decode(snapshot: Any) -> Candle:
    return optimistic.read_record(snapshot.to_dict())
