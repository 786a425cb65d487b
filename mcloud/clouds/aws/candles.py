"""Candles in DynamoDB: partition key ``symbol``, sort key ``timestamp``, decimals as N."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mcloud.clouds import optimistic
from mcloud.clouds.aws.changes import DynamoChanges
from mcloud.clouds.aws.client import translated
from mcloud.clouds.ports import Changes, StoredCandle
from mcloud.market.candle import Candle, to_timestamp

_TEXTS = ("symbol", "timestamp", "fragments")
_VERSION = ("version", "fragments")
"""Attributes that together distinguish each state of an item from all others. The version alone is
not enough: another writer may have removed the attribute, or deleted the item, after which it
starts from 1 again.
"""

Item = dict[str, Any]
"""An item in boto3's form: ``{"symbol": {"S": "BTCUSDT"}, …}``."""


class DynamoCandles(optimistic.OptimisticCandles[Item]):
    def __init__(
        self, client: Any, table: str, make_streams: Callable[[], Any] = lambda: None
    ) -> None:
        """``make_streams`` creates a client of DynamoDB Streams, which ``tip`` and ``changes``
        need. The processor uses neither and omits it.
        """
        super().__init__()
        self._client = client
        client.meta.events.register(
            "before-parse.dynamodb.Query", _take_items, unique_id="mcloud-take-items"
        )
        self._table = table
        self._changes = DynamoChanges(client, make_streams, table, _decode)

    def create(self, candles: Sequence[Candle]) -> list[Candle]:
        # Candles are written one by one, because a batch of DynamoDB has no conditions and a
        # transaction costs twice as much.
        return [candle for candle in candles if self._write(candle, None) is None]

    def range(
        self,
        symbol: str,
        start: int,
        end: int,
        unmarked: Callable[[int, str], None] = lambda start, why: None,
    ) -> Iterator[Candle]:
        if end <= start:
            return
        # BETWEEN includes its upper end; keys are whole minutes, so one second less excludes it.
        first, last = {"S": to_timestamp(start)}, {"S": to_timestamp(end - 1000)}
        # The legacy form of a condition has the same meaning. The embedded DynamoDB parses an
        # expression again for each candle of the symbol, and takes five times as long.
        request = {
            "TableName": self._table,
            "KeyConditions": {
                "symbol": {"ComparisonOperator": "EQ", "AttributeValueList": [{"S": symbol}]},
                "timestamp": {"ComparisonOperator": "BETWEEN", "AttributeValueList": [first, last]},
            },
        }
        while True:
            with translated(f"DynamoDB {self._table}"):
                answer = self._client.query(**request)
            for item in answer["Items"]:
                candle = _decode(item)
                if not _version(item):
                    unmarked(candle.start, "the stored candle has no version")
                yield candle
            if "LastEvaluatedKey" not in answer:
                return
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def last(self, symbol: str) -> Candle | None:
        with translated(f"DynamoDB {self._table}"):
            answer = self._client.query(
                TableName=self._table,
                KeyConditionExpression="symbol = :symbol",
                ExpressionAttributeValues={":symbol": {"S": symbol}},
                ScanIndexForward=False,
                Limit=1,
            )
        return next(map(_decode, answer["Items"]), None)

    def tip(self) -> str:
        return self._changes.tip()

    def changes(self, position: str) -> Changes:
        return self._changes.changes(position)

    def _read(self, symbol: str, start: int) -> optimistic.Read[Item]:
        item = self._item(symbol, start)
        candle = Candle(symbol, start) if item is None else _decode(item)
        return optimistic.Read(candle, item)

    def _read_stored(self, symbol: str, start: int) -> tuple[StoredCandle, Item | None]:
        item = self._item(symbol, start)
        has_mark = _version(item) > 0
        return optimistic.stored(symbol, start, _plain(item or {}), has_mark), item

    def _item(self, symbol: str, start: int) -> Item | None:
        with translated(f"DynamoDB {self._table}"):
            answer = self._client.get_item(
                TableName=self._table, Key=_key(symbol, start), ConsistentRead=True
            )
        item: Item | None = answer.get("Item")
        return item

    def _write(self, candle: Candle, before: Item | None) -> Item | None:
        item = _encode(candle, _version(before) + 1)
        with translated(f"DynamoDB {self._table}"):
            try:
                self._client.put_item(TableName=self._table, Item=item, **_unchanged(before))
            except self._client.exceptions.ConditionalCheckFailedException:
                return None
        return item

    def _delete(self, candle: Candle, before: Item | None) -> bool:
        with translated(f"DynamoDB {self._table}"):
            try:
                self._client.delete_item(
                    TableName=self._table,
                    Key=_key(candle.symbol, candle.start),
                    **_unchanged(before),
                )
            except self._client.exceptions.ConditionalCheckFailedException:
                return False
        return True


def _unchanged(before: Item | None) -> dict[str, Any]:
    """Return the condition that an item has not changed since it was read."""
    if before is None:
        # The condition names a key attribute, because every item has it, even one that another
        # program wrote.
        return {"ConditionExpression": "attribute_not_exists(symbol)"}
    terms = [f"{each} = :{each}" if each in before else _absent(each) for each in _VERSION]
    values = {f":{each}": before[each] for each in _VERSION if each in before}
    condition: dict[str, Any] = {"ConditionExpression": " AND ".join(terms)}
    return {**condition, "ExpressionAttributeValues": values} if values else condition


def _absent(name: str) -> str:
    return f"attribute_not_exists({name})"


def _version(item: Item | None) -> int:
    """Return the version of an item, or 0 if it has none."""
    version = (item or {}).get("version", {}).get("N", "")
    return int(version) if version.isdecimal() else 0


def _key(symbol: str, start: int) -> Item:
    return {"symbol": {"S": symbol}, "timestamp": {"S": to_timestamp(start)}}


def _take_items(
    response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any
) -> None:
    """Remove the items from an answer before botocore parses it, because its parser copies them
    value by value.

    The result is the same, and reading a whole symbol takes half the time. botocore provides this
    event for the purpose: https://github.com/boto/botocore, ``endpoint.py``.
    """
    kind = response_dict["headers"].get("content-type", "")
    if response_dict["status_code"] >= 300 or not kind.startswith("application/x-amz-json"):
        return
    answer = json.loads(response_dict["body"])
    customized_response_dict["Items"] = answer.pop("Items", [])
    response_dict["body"] = json.dumps(answer).encode()


def _encode(candle: Candle, version: int) -> dict[str, dict[str, str]]:
    record = candle.to_record()
    numbers = {name: {"N": str(value)} for name, value in record.items() if name not in _TEXTS}
    texts = {name: {"S": str(record[name])} for name in _TEXTS}
    return {**texts, **numbers, "version": {"N": str(version)}}


def _decode(item: Item) -> Candle:
    return optimistic.read_record(_plain(item))


def _plain(item: Item) -> dict[str, Any]:
    return {name: value for name, typed in item.items() for value in typed.values()}
