"""Changes in the candle table, from its DynamoDB stream, which retains them for 24 hours."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any, NamedTuple

from mcloud.clouds.aws import shards
from mcloud.clouds.aws.client import translated
from mcloud.clouds.aws.shards import BEGINNING, FINISHED, ShardPosition, State, StreamShard
from mcloud.clouds.ports import Changes
from mcloud.clouds.positions import parse_position
from mcloud.errors import Refused, Trimmed
from mcloud.market.candle import Candle

PAGE = 1000  # maximum number of records in an answer about a shard
RETENTION = 23 * 3600  # seconds; DynamoDB documents 24 hours
REFRESH = 60.0  # seconds after which the list of shards is queried again
REFRESH_FOR_CHILDREN = 1.0  # seconds; DynamoDB limits DescribeStream to ten calls per second
# An answer may be empty although more records follow: "it might take multiple calls to get to a
# portion of the shard that contains stream records" (GetRecords). After this many empty answers in
# a row, the shard counts as read.
EMPTY = 5

_GONE = ("TrimmedDataAccessException", "ResourceNotFoundException")


class _ShardListing(NamedTuple):
    stream: str
    shards: Sequence[StreamShard]
    at: float
    """Monotonic time of the read."""


class _Cursor(NamedTuple):
    """AWS's iterator of a shard. It advances over stretches without records and expires after 15
    minutes.
    """

    since: State
    iterator: str
    empty: int
    """Number of empty answers in a row."""


class _Read(NamedTuple):
    records: Sequence[dict[str, Any]]
    state: State
    is_drained: bool
    now: float
    """AWS's time in seconds since 1970."""


class DynamoChanges:
    """Changes in a DynamoDB table of candles, as in ``ports.Candles.changes``.

    A poll without changes costs a GetRecords call for each open shard. A small table has one to
    four of them.

    A position records how far each shard was read. AWS's iterators are kept in memory only, and
    each can be recreated from the position.
    """

    def __init__(
        self,
        dynamodb: Any,
        make_streams: Callable[[], Any],
        table: str,
        decode: Callable[[dict[str, Any]], Candle],
    ) -> None:
        self._dynamodb = dynamodb
        self._make_streams = make_streams
        self._table = table
        self._decode = decode
        self._what = f"the stream of DynamoDB {table}"
        self._listing: _ShardListing | None = None
        self._cursors: dict[str, _Cursor] = {}
        self._lock = threading.Lock()

    def tip(self) -> str:
        listing, now = self._list()
        return ShardPosition(listing.stream, now, shards.begin(listing.shards)).to_text()

    def changes(self, position: str) -> Changes:
        before = parse_position(ShardPosition, position, "a DynamoDB stream")
        listing, is_new = self._known(before)
        states = shards.follow(before.shards, listing.shards)
        images: dict[tuple[str, str], dict[str, Any]] = {}
        nows: list[float] = []
        behind: list[float] = []
        if not is_new and shards.awaits_children(states, listing.shards):
            behind.append(before.as_of)
        for shard in shards.readable(states, listing.shards):
            read = self._read(before.stream, shard, states[shard])
            states[shard] = read.state
            nows.append(read.now)
            if not read.is_drained:
                behind.append(_time_of(read.records[-1]) if read.records else before.as_of)
            for record in read.records:
                self._take(record, images)
        if nows and max(nows) - before.as_of > RETENTION:
            # Reading a trimmed shard from its beginning succeeds, so the missing records would go
            # unnoticed.
            raise Trimmed(
                f"{self._what}: the position is older than the records that DynamoDB keeps"
            )
        as_of = max(before.as_of, min(behind or nows or [before.as_of]))
        candles, damaged = self._candles(images)
        after = ShardPosition(before.stream, as_of, states)
        return Changes(candles, after.to_text(), as_of, is_last=not behind, damaged=damaged)

    @cached_property
    def _streams(self) -> Any:
        return self._make_streams()

    def _known(self, position: ShardPosition) -> tuple[_ShardListing, bool]:
        """Return the list of shards, and whether this call queried it."""
        listing = self._listing
        is_new = listing is None or not self._is_good(listing, position)
        if listing is None or is_new:
            listing, _ = self._list()
        if listing.stream != position.stream:
            raise Trimmed(f"{self._what}: the table now has another stream, {listing.stream}")
        return listing, is_new

    def _is_good(self, listing: _ShardListing, position: ShardPosition) -> bool:
        age = time.monotonic() - listing.at
        if age >= REFRESH or not position.shards.keys() <= {shard.id for shard in listing.shards}:
            return False
        states = shards.follow(position.shards, listing.shards)
        return age < REFRESH_FOR_CHILDREN or not shards.awaits_children(states, listing.shards)

    def _list(self) -> tuple[_ShardListing, float]:
        """Return all shards of the table's current stream, and AWS's time."""
        found: list[StreamShard] = []
        with translated(f"DynamoDB {self._table}"):
            table = self._dynamodb.describe_table(TableName=self._table)["Table"]
            if "LatestStreamArn" not in table:
                raise Refused(
                    f"DynamoDB {self._table} has no stream", remedy="deploy the site again"
                )
            request = {"StreamArn": table["LatestStreamArn"]}
            while True:
                answer = self._streams.describe_stream(**request)
                description = answer["StreamDescription"]
                if description["StreamStatus"].startswith("DISABL"):
                    raise Refused(f"{self._what} is switched off", remedy="deploy the site again")
                found += map(_shard, description["Shards"])
                if "LastEvaluatedShardId" not in description:
                    break
                request["ExclusiveStartShardId"] = description["LastEvaluatedShardId"]
        self._listing = _ShardListing(table["LatestStreamArn"], found, time.monotonic())
        return self._listing, _now(answer)

    def _read(self, stream: str, shard: str, since: State) -> _Read:
        with self._lock:
            cursor = self._cursors.pop(shard, None)
        with self._not_trimmed():
            if cursor is None or cursor.since != since:
                cursor = _Cursor(since, self._iterator(stream, shard, since), 0)
            while True:
                try:
                    answer = self._streams.get_records(ShardIterator=cursor.iterator, Limit=PAGE)
                except self._streams.exceptions.ExpiredIteratorException:
                    cursor = _Cursor(since, self._iterator(stream, shard, since), 0)
                    continue
                records = answer["Records"]
                following = answer.get("NextShardIterator")
                if records:
                    since = records[-1]["dynamodb"]["SequenceNumber"]
                if following is None:
                    return _Read(records, FINISHED, False, _now(answer))
                cursor = _Cursor(since, following, 0 if records else cursor.empty + 1)
                if records or cursor.empty >= EMPTY:
                    break
        with self._lock:
            self._cursors[shard] = cursor
        return _Read(records, since, not records, _now(answer))

    def _iterator(self, stream: str, shard: str, since: State) -> str:
        place: dict[str, str] = {"ShardIteratorType": "TRIM_HORIZON"}
        if since != BEGINNING:
            assert since is not FINISHED
            place = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": since}
        answer = self._streams.get_shard_iterator(StreamArn=stream, ShardId=shard, **place)
        iterator: str = answer["ShardIterator"]
        return iterator

    @contextmanager
    def _not_trimmed(self) -> Iterator[None]:
        from botocore.exceptions import ClientError

        with translated(self._what):
            try:
                yield
            except ClientError as error:
                if error.response["Error"]["Code"] in _GONE:
                    raise Trimmed(f"{self._what}: {error}") from error
                raise

    def _take(self, record: dict[str, Any], images: dict[tuple[str, str], dict[str, Any]]) -> None:
        """Keep the last state of each item."""
        keys = record["dynamodb"]["Keys"]
        key = keys["symbol"]["S"], keys["timestamp"]["S"]
        if record["eventName"] == "REMOVE":  # nothing in mcloud deletes a valid candle
            images.pop(key, None)
            return
        image = record["dynamodb"].get("NewImage")
        if image is None:
            raise Refused(f"{self._what} does not hold new images", remedy="deploy the site again")
        images[key] = image

    def _candles(
        self, images: dict[tuple[str, str], dict[str, Any]]
    ) -> tuple[list[Candle], list[str]]:
        candles, damaged = [], []
        for image in images.values():
            try:
                candles.append(self._decode(image))
            except Refused as error:
                damaged.append(str(error))
        return candles, damaged


def _shard(description: dict[str, Any]) -> StreamShard:
    return StreamShard(
        description["ShardId"],
        description.get("ParentShardId", ""),
        "EndingSequenceNumber" in description["SequenceNumberRange"],
    )


def _time_of(record: dict[str, Any]) -> float:
    time_: float = record["dynamodb"]["ApproximateCreationDateTime"].timestamp()
    return time_


def _now(answer: dict[str, Any]) -> float:
    """Return AWS's time from the date of an answer, because this machine's clock may be wrong."""
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    return parsedate_to_datetime(date).timestamp() if date else time.time()
