"""Candles in DynamoDB: partition key ``symbol``, sort key ``timestamp``, decimals as N."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mcloud.clouds import optimistic
from mcloud.clouds.aws.changes import DynamoChanges
from mcloud.clouds.aws.client import translated
from mcloud.clouds.ports import Changes
from mcloud.errors import Damaged
from mcloud.market.candle import Candle, Folded, to_timestamp

_TEXTS = ("symbol", "timestamp", "fragments")


class DynamoCandles:
    def __init__(
        self, client: Any, table: str, make_streams: Callable[[], Any] = lambda: None
    ) -> None:
        """``make_streams`` makes a client of DynamoDB Streams; without it there is no ``tip`` and
        no ``changes``, which the processor does not use."""
        self._client = client
        client.meta.events.register(
            "before-parse.dynamodb.Query", _take_items, unique_id="mcloud-take-items"
        )
        self._table = table
        self._changes = DynamoChanges(client, make_streams, table, _decode)

    def update(self, symbol: str, start: int, change: Callable[[Candle], Folded]) -> Folded:
        return optimistic.update(lambda: self._read(symbol, start), self._write, change)

    def create(self, candles: Sequence[Candle]) -> list[Candle]:
        # One by one: a batch of DynamoDB has no conditions, and a transaction costs twice as much.
        return [candle for candle in candles if not self._write(candle, None)]

    def range(self, symbol: str, start: int, end: int) -> Iterator[Candle]:
        if end <= start:
            return
        # BETWEEN includes its upper end; keys are whole minutes, so one second less excludes it.
        first, last = {"S": to_timestamp(start)}, {"S": to_timestamp(end - 1000)}
        # In the older form of a condition. Both say the same, but the embedded DynamoDB parses an
        # expression anew for every candle of the symbol, which takes it five times as long.
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
            yield from map(_decode, answer["Items"])
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

    def _read(self, symbol: str, start: int) -> optimistic.Read[int | None]:
        with translated(f"DynamoDB {self._table}"):
            answer = self._client.get_item(
                TableName=self._table,
                Key={"symbol": {"S": symbol}, "timestamp": {"S": to_timestamp(start)}},
                ConsistentRead=True,
            )
        item = answer.get("Item")
        if item is None:
            return optimistic.Read(Candle(symbol, start), None)
        candle = _decode(item)
        version = item.get("version", {}).get("N")
        if version is None:
            raise Damaged(
                f"the stored candle {symbol} {candle.timestamp} is damaged: it has no version"
            )
        return optimistic.Read(candle, int(version))

    def _write(self, candle: Candle, version: int | None) -> bool:
        # By a key, which whatever somebody else wrote there has as well.
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(symbol)"}
        if version is not None:
            condition = {
                "ConditionExpression": "version = :version",
                "ExpressionAttributeValues": {":version": {"N": str(version)}},
            }
        with translated(f"DynamoDB {self._table}"):
            try:
                self._client.put_item(
                    TableName=self._table, Item=_encode(candle, (version or 0) + 1), **condition
                )
            except self._client.exceptions.ConditionalCheckFailedException:
                return False
        return True


def _take_items(
    response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any
) -> None:
    """Take the items out of an answer before botocore reads it, which copies them value by value.

    What comes out is the same, in half of the time that a whole symbol takes. The event is
    botocore's own for such a thing: https://github.com/boto/botocore, ``endpoint.py``.
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


def _decode(item: dict[str, dict[str, str]]) -> Candle:
    return optimistic.read_record(
        {name: value for name, typed in item.items() for value in typed.values()}
    )
