"""Candles in Firestore: document ``BTCUSDT_2024-08-08T23:54:00Z``, decimals as strings."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mcloud.clouds import optimistic
from mcloud.clouds.gcp import conditional
from mcloud.clouds.gcp.changes import STAMP, FirestoreChanges
from mcloud.clouds.gcp.client import TIMEOUT, passing_errors, retry, translated
from mcloud.clouds.ports import Changes, StoredCandle
from mcloud.errors import DamagedData, Unavailable
from mcloud.market.candle import MINUTE, Candle, to_timestamp

BATCH = 500  # maximum number of writes in a request


class FirestoreCandles(optimistic.OptimisticCandles[Any]):
    def __init__(
        self, client: Any, collection: str, pace: Callable[[int], None] = lambda writes: None
    ) -> None:
        """``pace`` is called with the number of bulk writes, and waits until they may be sent."""
        super().__init__()
        self._client = client
        self._pace = pace
        self._collection = client.collection(collection)
        self._what = f"Firestore {collection}"
        self._changes = FirestoreChanges(self._collection, self._what, _decode)

    def create(self, candles: Sequence[Candle]) -> list[Candle]:
        """See ``ports.Candles.create``."""
        left: list[Candle] = []
        for begin in range(0, len(candles), BATCH):
            left += self._create(candles[begin : begin + BATCH])
        return left

    def range(
        self,
        symbol: str,
        start: int,
        end: int,
        unmarked: Callable[[int, str], None] = lambda start, why: None,
    ) -> Iterator[Candle]:
        # The client does not retry a stream that is interrupted, for example by its deadline. The
        # query is therefore repeated from the last candle that was read.
        while True:
            begin = start
            try:
                for candle in self._stream(symbol, start, end, unmarked):
                    start = candle.start + MINUTE
                    yield candle
            except Unavailable:
                if start == begin:
                    raise
            else:
                return

    def last(self, symbol: str) -> Candle | None:
        from google.cloud.firestore_v1 import Query
        from google.cloud.firestore_v1.base_query import FieldFilter

        # The query needs the composite index (symbol, timestamp descending), because Firestore has
        # no descending index of document names.
        query = (
            self._collection.where(filter=FieldFilter("symbol", "==", symbol))
            .order_by("timestamp", direction=Query.DESCENDING)
            .limit(1)
        )
        with translated(self._what):
            return next(map(_decode, query.stream(timeout=TIMEOUT, retry=retry())), None)

    def tip(self) -> str:
        return self._changes.tip()

    def changes(self, position: str) -> Changes:
        return self._changes.changes(position)

    def _stream(
        self, symbol: str, start: int, end: int, unmarked: Callable[[int, str], None]
    ) -> Iterator[Candle]:
        from google.cloud.firestore_v1.base_query import FieldFilter
        from google.cloud.firestore_v1.types import RunQueryRequest, RunQueryResponse

        # The order by document name is the order of time, and needs no composite index. A range of
        # names alone is not enough: BTCUSDT_250926_2024-… is between BTCUSDT_2024-… and
        # BTCUSDT_9999-….
        query = (
            self._collection.where(filter=FieldFilter("symbol", "==", symbol))
            .where(filter=FieldFilter("__name__", ">=", self._key(symbol, start)))
            .where(filter=FieldFilter("__name__", "<", self._key(symbol, end)))
            .order_by("__name__")
        )
        # The query's own stream() would take four times as long to build snapshots from the same
        # bytes.
        request = RunQueryRequest(
            parent=self._collection._parent_info()[0], structured_query=query._to_protobuf()
        )
        with translated(self._what):
            for answer in self._client._firestore_api.run_query(
                request=request,
                metadata=self._client._rpc_metadata,
                timeout=TIMEOUT,
                retry=retry(),
            ):
                message = RunQueryResponse.pb(answer)
                if message.HasField("document"):
                    candle = optimistic.read_record(_record(message.document))
                    if STAMP not in message.document.fields:
                        why = f"the stored candle has no field {STAMP!r}; replicators do not see it"
                        unmarked(candle.start, why)
                    yield candle

    def _create(self, candles: Sequence[Candle]) -> list[Candle]:
        """Create the candles of one request, and return those that already exist.

        Firestore returns a status for each document. Candles with a temporary error are sent again.
        """
        from google.api_core.exceptions import AlreadyExists, from_grpc_status

        left: list[Candle] = []
        waiting = list(candles)
        with translated(self._what):
            for _ in optimistic.attempts():
                failed = []
                for candle, status in zip(waiting, self._batch_write(waiting), strict=True):
                    if status.code == AlreadyExists.grpc_status_code.value[0]:
                        left.append(candle)
                    elif status.code:
                        failed.append((candle, from_grpc_status(status.code, status.message)))
                if not failed:
                    return left
                for _, error in failed:
                    if not isinstance(error, passing_errors()):
                        raise error
                waiting = [candle for candle, _ in failed]
            raise failed[0][1]

    def _batch_write(self, candles: Sequence[Candle]) -> Any:
        """Send one request, and return the status of each document."""
        from google.cloud.firestore_v1.types import BatchWriteRequest

        # A commit would fail as a whole if one of the candles already exists. The client's
        # BulkWriteBatch takes four times as long to build the same bytes.
        request = BatchWriteRequest(database=self._client._database_string)
        writes = BatchWriteRequest.pb(request).writes
        folder = self._collection._parent_info()[1]
        for candle in candles:
            _fill(writes.add(), f"{folder}/{candle.symbol}_{candle.timestamp}", candle)
        self._pace(len(candles))
        return self._client._firestore_api.batch_write(
            request=request, metadata=self._client._rpc_metadata, timeout=TIMEOUT, retry=retry()
        ).status

    def _key(self, symbol: str, start: int) -> Any:
        return self._collection.document(f"{symbol}_{to_timestamp(start)}")

    def _read(self, symbol: str, start: int) -> optimistic.Read[Any]:
        with translated(self._what):
            snapshot = self._key(symbol, start).get(timeout=TIMEOUT, retry=retry())
        if not snapshot.exists:
            return optimistic.Read(Candle(symbol, start), None)
        candle = _decode(snapshot)
        if (candle.symbol, candle.start) != (symbol, start):
            raise DamagedData(
                f"the stored candle {snapshot.id} is damaged: its content is of {candle.symbol}"
                f" {candle.timestamp}"
            )
        return optimistic.Read(candle, snapshot.update_time)

    def _read_stored(self, symbol: str, start: int) -> tuple[StoredCandle, Any]:
        with translated(self._what):
            snapshot = self._key(symbol, start).get(timeout=TIMEOUT, retry=retry())
        record = snapshot.to_dict() or {}
        plain = {
            name: value if isinstance(value, (str, int)) else str(value)
            for name, value in record.items()
        }
        stored = optimistic.stored(symbol, start, plain, STAMP in record)
        return stored, snapshot.update_time if snapshot.exists else None

    def _write(self, candle: Candle, update_time: Any) -> Any:
        document = self._key(candle.symbol, candle.start)
        with translated(self._what):
            return conditional.write(self._client, document, _encode(candle), update_time)

    def _delete(self, candle: Candle, update_time: Any) -> bool:
        from google.api_core.exceptions import Aborted, FailedPrecondition, NotFound

        option = self._client.write_option(last_update_time=update_time)
        with translated(self._what):
            try:
                self._key(candle.symbol, candle.start).delete(
                    option=option, timeout=TIMEOUT, retry=retry()
                )
            except (Aborted, FailedPrecondition, NotFound):
                return False
        return True


def _fill(write: Any, name: str, candle: Candle) -> None:
    """Fill a raw protobuf with the write that creates a document of the fields that ``_encode``
    returns.
    """
    from google.cloud.firestore_v1.types import DocumentTransform

    write.update.name = name
    write.current_document.exists = False
    for field, value in candle.to_record().items():
        if isinstance(value, int):
            write.update.fields[field].integer_value = value
        else:
            write.update.fields[field].string_value = value
    stamp = write.update_transforms.add()
    stamp.field_path = STAMP
    stamp.set_to_server_value = DocumentTransform.FieldTransform.ServerValue.REQUEST_TIME


def _record(document: Any) -> dict[str, Any]:
    """Return the fields of a raw protobuf."""
    return {
        name: getattr(value, value.WhichOneof("value_type") or "null_value")
        for name, value in document.fields.items()
    }


def _encode(candle: Candle) -> dict[str, Any]:
    from google.cloud.firestore import SERVER_TIMESTAMP

    return {**candle.to_record(), STAMP: SERVER_TIMESTAMP}


def _decode(snapshot: Any) -> Candle:
    return optimistic.read_record(snapshot.to_dict())
