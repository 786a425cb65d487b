"""A DynamoDB stream whose shards split, merge, close and disappear when a test says so.

To a reader it behaves like DynamoDB: some answers before the records are empty, shards are listed
in pages, iterators expire, and records are trimmed after a day.
"""

from datetime import UTC, datetime
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError

DAY = 86_400.0
NOON = 1_723_118_400.0


class ExpiredIteratorException(ClientError):
    pass


class Stream:
    """The client of the table and that of the stream in one."""

    exceptions = SimpleNamespace(ExpiredIteratorException=ExpiredIteratorException)

    def __init__(self, keys: int, *, empty: int, page: int) -> None:
        self.arn = "arn:1"
        self.status = "ENABLED"
        self.now = NOON
        self.calls = 0
        self._empty = empty
        """Number of empty answers before a record."""
        self._page = page
        """Number of shards in a page."""
        self._numbers = 0
        self._shards: dict[str, dict[str, Any]] = {}
        self._expired = 0
        self._keys = {f"k{n}": self._open("") for n in range(keys)}
        self.versions = dict.fromkeys(self._keys, 0)

    def write(self, key: str) -> None:
        self.versions[key] += 1
        self._shards[self._keys[key]]["records"].append(
            {
                "eventName": "MODIFY",
                "dynamodb": {
                    "Keys": {"symbol": {"S": key}, "timestamp": {"S": ""}},
                    "NewImage": {"key": key, "version": self.versions[key]},
                    "SequenceNumber": self._number(),
                    "ApproximateCreationDateTime": datetime.fromtimestamp(self.now, UTC),
                },
            }
        )

    def roll(self, key: str, *, split: bool) -> None:
        """Close the shard of a key. Its keys continue in one or two new shards."""
        old = self._keys[key]
        self._shards[old]["closed"] = True
        self._shards[old]["closed_at"] = self.now
        children = [self._open(old) for _ in range(2 if split else 1)]
        moved = [each for each, shard in self._keys.items() if shard == old]
        for number, each in enumerate(moved):
            self._keys[each] = children[number % len(children)]

    def age(self, seconds: float) -> None:
        """Let time pass, and remove records older than a day."""
        self.now += seconds
        for name, shard in list(self._shards.items()):
            kept = [each for each in shard["records"] if _time(each) > self.now - DAY]
            shard["trimmed"] += len(shard["records"]) - len(kept)
            shard["records"] = kept
            if shard["closed"] and shard["closed_at"] <= self.now - DAY:
                del self._shards[name]

    def expire(self) -> None:
        """Expire all existing iterators."""
        self._expired = self._numbers

    def describe_table(self, TableName: str) -> dict[str, Any]:
        return {"Table": {"LatestStreamArn": self.arn}}

    def describe_stream(self, StreamArn: str, ExclusiveStartShardId: str = "") -> dict[str, Any]:
        assert StreamArn == self.arn
        names = [name for name in sorted(self._shards) if name > ExclusiveStartShardId]
        description: dict[str, Any] = {
            "StreamStatus": self.status,
            "Shards": [self._described(name) for name in names[: self._page]],
        }
        if len(names) > self._page:
            description["LastEvaluatedShardId"] = names[self._page - 1]
        return self._answer(StreamDescription=description)

    def get_shard_iterator(
        self, StreamArn: str, ShardId: str, ShardIteratorType: str, SequenceNumber: str = ""
    ) -> dict[str, Any]:
        assert StreamArn == self.arn
        if ShardId not in self._shards:
            raise _error(ClientError, "ResourceNotFoundException")
        shard = self._shards[ShardId]
        offset = shard["trimmed"]
        if ShardIteratorType == "AFTER_SEQUENCE_NUMBER":
            numbers = [each["dynamodb"]["SequenceNumber"] for each in shard["records"]]
            if SequenceNumber not in numbers:
                raise _error(ClientError, "TrimmedDataAccessException")
            offset += numbers.index(SequenceNumber) + 1
        return self._answer(ShardIterator=self._iterator(ShardId, offset, 0))

    def get_records(self, ShardIterator: str, Limit: int) -> dict[str, Any]:
        self.calls += 1
        made, name, offset, empty = ShardIterator.split("|")
        if int(made) <= self._expired:
            raise _error(ExpiredIteratorException, "ExpiredIteratorException")
        if name not in self._shards:
            raise _error(ClientError, "ResourceNotFoundException")
        shard = self._shards[name]
        if int(offset) < shard["trimmed"]:
            raise _error(ClientError, "TrimmedDataAccessException")
        begin = int(offset) - shard["trimmed"]
        waiting = shard["records"][begin : begin + Limit]
        if int(empty) < self._empty:
            following = self._iterator(name, int(offset), int(empty) + 1)
            return self._answer(Records=[], NextShardIterator=following)
        end = int(offset) + len(waiting)
        if shard["closed"] and end == shard["trimmed"] + len(shard["records"]):
            return self._answer(Records=waiting)
        following = self._iterator(name, end, 0 if waiting else self._empty)
        return self._answer(Records=waiting, NextShardIterator=following)

    def _described(self, name: str) -> dict[str, Any]:
        shard = self._shards[name]
        numbers = {"StartingSequenceNumber": "0"}
        if shard["closed"]:
            numbers["EndingSequenceNumber"] = "9"
        parent = {"ParentShardId": shard["parent"]} if shard["parent"] else {}
        return {"ShardId": name, "SequenceNumberRange": numbers, **parent}

    def _open(self, parent: str) -> str:
        name = f"shard-{self._number()}"
        self._shards[name] = {"parent": parent, "records": [], "trimmed": 0, "closed": False}
        return name

    def _iterator(self, name: str, offset: int, empty: int) -> str:
        return f"{self._number()}|{name}|{offset}|{empty}"

    def _number(self) -> str:
        self._numbers += 1
        return f"{self._numbers:09d}"

    def _answer(self, **parts: Any) -> dict[str, Any]:
        date = format_datetime(datetime.fromtimestamp(self.now, UTC), usegmt=True)
        return {**parts, "ResponseMetadata": {"HTTPHeaders": {"date": date}}}


def _time(record: dict[str, Any]) -> float:
    moment: float = record["dynamodb"]["ApproximateCreationDateTime"].timestamp()
    return moment


def _error(kind: type[ClientError], code: str) -> ClientError:
    return kind({"Error": {"Code": code, "Message": "said DynamoDB"}}, "GetRecords")
