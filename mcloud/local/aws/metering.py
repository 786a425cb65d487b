"""Counts billed usage inside ministack.

The middleware counts requests. Their cost in DynamoDB depends on the affected items, and the
requests of Lambda's mapping to SQS do not pass the middleware, so both are counted here, inside
ministack.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from ministack.services import cloudwatch, dynamodb, dynamodb_streams, sqs

from mcloud.local.aws.bill import (
    message_size,
    read_halves,
    write_units,
)
from mcloud.local.meter import Meter
from mcloud.market.envelope import SQS_CHUNK

Handler = Callable[[dict[str, Any]], tuple[int, Any, Any]]

_SHAPING = {  # parameters with which a query returns less than it reads
    "FilterExpression", "ProjectionExpression", "AttributesToGet", "Select", "QueryFilter",
    "ScanFilter", "ConditionalOperator",
}  # fmt: skip


def install(meter: Meter) -> None:
    """Connect ministack's services to ``meter``."""
    _Tables(meter).install()
    _meter_mapping(meter)
    get_records, get_metric_data = dynamodb_streams._get_records, cloudwatch._get_metric_data

    def counted_records(data: dict[str, Any]) -> Any:
        meter.add("dynamodb_stream_reads", "")
        return get_records(data)

    def counted_metrics(params: Any, data: dict[str, Any], *encoding: Any) -> Any:
        wanted = [each for each in data.get("MetricDataQueries", ()) if "MetricStat" in each]
        meter.add("metric_reads", "", len(wanted))
        return get_metric_data(params, data, *encoding)

    dynamodb_streams._get_records = counted_records
    cloudwatch._get_metric_data = counted_metrics


def _meter_mapping(meter: Meter) -> None:
    """Count the requests that Lambda makes for a mapping: a receive and a delete for each batch.

    Lambda also polls empty queues every few seconds. ministack does not, so these requests are not
    counted.
    """
    receive, delete = sqs._receive_messages_for_esm, sqs._delete_messages_for_esm

    def counted_receive(url: str, most: int) -> Any:
        batch = receive(url, most)
        if batch:
            size = sum(
                message_size(each["body"], each.get("message_attributes") or {}) for each in batch
            )
            meter.add("sqs_requests", url.rpartition("/")[2], max(1, -(-size // SQS_CHUNK)))
        return batch

    def counted_delete(url: str, handles: set[str]) -> None:
        if handles:
            meter.add("sqs_requests", url.rpartition("/")[2])
        delete(url, handles)

    sqs._receive_messages_for_esm, sqs._delete_messages_for_esm = counted_receive, counted_delete


class _Tables:
    """Read and write units of DynamoDB, by DynamoDB's own rules.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def install(self) -> None:
        self._add_consumed = dynamodb._add_consumed_capacity
        self._check_failed = dynamodb._conditional_check_failed
        self._accumulate = dynamodb._accumulate_write_capacity
        dynamodb._add_consumed_capacity = self._consumed
        dynamodb._conditional_check_failed = self._failed
        dynamodb._accumulate_write_capacity = self._accumulated
        dynamodb._batch_get_item = self._batch_reading(dynamodb._batch_get_item)
        dynamodb._transact_get_items = self._transact_reading(dynamodb._transact_get_items)
        dynamodb._transact_write_items = self._transact_writing(dynamodb._transact_write_items)

    def _consumed(
        self, result: Any, data: dict[str, Any], name: str, *rest: Any, **more: Any
    ) -> None:
        """Count the units at the end of each put, update, delete, get, query and scan."""
        self._add_consumed(result, data, name, *rest, **more)
        if more.get("write"):
            self._write(name, more.get("old_item"), more.get("new_item"))
        elif "Key" in data:
            self._read(name, self._item(name, data["Key"]), data.get("ConsistentRead", False))
        elif _SHAPING.isdisjoint(data):
            size = sum(map(_size, result["Items"]))
            halves = read_halves(size, consistent=data.get("ConsistentRead", False))
            self._meter.add("dynamodb_half_reads", name, halves)
        else:
            # A query is billed by the items that it reads, not by those that it returns, so the
            # same query without a filter is counted.
            is_query = "KeyConditionExpression" in data or "KeyConditions" in data
            (dynamodb._query if is_query else dynamodb._scan)(_unshaped(data))

    def _failed(self, data: dict[str, Any], item: Any, *rest: Any) -> Any:
        """Count a failed condition, which costs a write of the stored item."""
        if data.get("TableName"):
            self._write(dynamodb._normalize_table_name(data["TableName"]), item, None)
        return self._check_failed(data, item, *rest)

    def _accumulated(self, units: Any, table: dict[str, Any], old: Any, new: Any) -> None:
        """Count each item of a batch write."""
        self._accumulate(units, table, old, new)
        self._write(table["TableName"], old, new)

    def _batch_reading(self, handler: Handler) -> Handler:
        def read(data: dict[str, Any]) -> Any:
            answer = handler(data)
            if answer[0] == 200:
                for name, asked in data["RequestItems"].items():
                    for key in asked["Keys"]:
                        table = dynamodb._normalize_table_name(name)
                        item = self._item(table, key)
                        self._read(table, item, asked.get("ConsistentRead", False))
            return answer

        return read

    def _transact_reading(self, handler: Handler) -> Handler:
        def read(data: dict[str, Any]) -> Any:
            answer = handler(data)
            if answer[0] == 200:
                for each in data["TransactItems"]:
                    name = dynamodb._normalize_table_name(each["Get"]["TableName"])
                    item = self._item(name, each["Get"]["Key"])
                    for _ in range(2):  # once to prepare, and once to commit
                        self._read(name, item, consistent=True)
            return answer

        return read

    def _transact_writing(self, handler: Handler) -> Handler:
        def write(data: dict[str, Any]) -> Any:
            before = list(self._transacted(data))
            answer = handler(data)
            if answer[0] == 200:
                after = self._transacted(data)
                for (name, old), (_, new) in zip(before, after, strict=True):
                    for _ in range(2):
                        self._write(name, old, new)
            return answer

        return write

    def _transacted(self, data: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        """Yield the table and the current item of each member of a transaction."""
        for each in data.get("TransactItems", ()):
            ((_, member),) = each.items()
            name = dynamodb._normalize_table_name(member["TableName"])
            table = dynamodb._tables.get(name)
            if table is not None:
                yield name, self._item(name, member.get("Key") or member["Item"])

    def _item(self, name: str, key: dict[str, Any]) -> Any:
        return dynamodb._get_item_by_key(dynamodb._tables[name], key)

    def _read(self, name: str, item: Any, consistent: bool) -> None:
        halves = read_halves(_size(item), consistent=consistent)
        self._meter.add("dynamodb_half_reads", name, halves)

    def _write(self, name: str, old: Any, new: Any) -> None:
        units = write_units(max(_size(old), _size(new)))
        table = dynamodb._tables.get(name) or {}
        for kind in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes"):
            for index in table.get(kind) or ():
                units += int(dynamodb._index_write_units(table, index, old, new))
        self._meter.add("dynamodb_writes", name, units)


def _size(item: Any) -> int:
    return int(dynamodb._item_size_bytes(item)) if item else 0


def _unshaped(data: dict[str, Any]) -> dict[str, Any]:
    """Return a query or scan of all items that are read. Unused names are removed, because they
    would be refused.
    """
    plain = {name: value for name, value in data.items() if name not in _SHAPING}
    used = set(re.findall(r"[#:]\w+", data.get("KeyConditionExpression", "")))
    for names in ("ExpressionAttributeNames", "ExpressionAttributeValues"):
        kept = {name: value for name, value in plain.pop(names, {}).items() if name in used}
        if kept:
            plain[names] = kept
    return plain
