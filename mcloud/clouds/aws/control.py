"""The control table in DynamoDB: partition key ``kind``, sort key ``key``."""

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from mcloud import errors
from mcloud.clouds import heartbeats
from mcloud.clouds.aws.client import translated
from mcloud.clouds.control import EARLIER_HEARTBEAT, VersionedControl
from mcloud.clouds.ports import HEARTBEAT, RECORD, ControlRecord, Heartbeat
from mcloud.documents import Damaged, decode, parse

MOST_DIGITS = 38  # maximum number of digits of a number in DynamoDB

_Attribute = dict[str, Any]
"""An attribute in boto3's form: ``{"S": "text"}``."""


class DynamoControl(VersionedControl[_Attribute]):
    def __init__(self, client: Any, table: str) -> None:
        super().__init__()
        self._client = client
        self._table = table

    def heartbeats(self) -> list[Heartbeat | Damaged]:
        documents = self.kept(heartbeats.HEARTBEATS.name)
        return heartbeats.read(documents, map(_heartbeat, self._all(EARLIER_HEARTBEAT)))

    def keep(self, kind: str, key: str, document: Mapping[str, Any]) -> None:
        with translated(f"DynamoDB {self._table}"):
            self._client.put_item(TableName=self._table, Item=_item(kind, key, document))

    def add(self, kind: str, key: str, document: Mapping[str, Any]) -> bool:
        return self._write(kind, key, document, None) is not None

    def kept(self, kind: str, after: str = "", limit: int | None = None) -> dict[str, Any]:
        items = islice(self._all(kind, after, limit), limit)
        return {item["key"]["S"]: _document(kind, item) for item in items}

    def forget(self, kind: str, key: str) -> None:
        with translated(f"DynamoDB {self._table}"):
            self._client.delete_item(TableName=self._table, Key=_key(kind, key))

    def record(self) -> ControlRecord | Damaged | None:
        item = self._get("control", "record")
        return None if item is None else decode(ControlRecord, _plain(item), RECORD)

    def write_record(self, record: ControlRecord) -> bool:
        stored = self.record()
        if isinstance(stored, Damaged):
            raise errors.DamagedData(f"DynamoDB {self._table}: {stored}")
        with translated(f"DynamoDB {self._table}"):
            try:
                self._client.put_item(
                    TableName=self._table,
                    Item={
                        **_key("control", "record"),
                        "epoch": {"N": str(record.epoch)},
                        "at": {"N": f"{record.at:.3f}"},
                        "primary": {"S": record.primary},
                        "mode": {"S": record.mode},
                        "reason": {"S": record.reason},
                        "by": {"S": record.by},
                    },
                    ConditionExpression="attribute_not_exists(epoch) OR epoch < :epoch",
                    ExpressionAttributeValues={":epoch": {"N": str(record.epoch)}},
                )
            except self._client.exceptions.ConditionalCheckFailedException:
                return False
        return True

    def forget_record(self) -> None:
        self.forget("control", "record")

    def _get(self, kind: str, key: str) -> dict[str, Any] | None:
        with translated(f"DynamoDB {self._table}"):
            answer = self._client.get_item(
                TableName=self._table, Key=_key(kind, key), ConsistentRead=True
            )
        item: dict[str, Any] | None = answer.get("Item")
        return item

    def _read(self, kind: str, key: str) -> tuple[Any, "_Attribute | None"]:
        """Return a document, and the attribute that holds it."""
        item = self._get(kind, key)
        return (None, None) if item is None else (_document(kind, item), item.get("document"))

    def _write(
        self, kind: str, key: str, document: Mapping[str, Any], before: "_Attribute | None"
    ) -> "_Attribute | None":
        """Write a document in place of the one in the attribute ``before``, or of none.

        Return the new attribute, or None if another writer was first.
        """
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(kind)"}
        if before is not None:
            condition = {
                "ConditionExpression": "#document = :before",
                "ExpressionAttributeNames": {"#document": "document"},
                "ExpressionAttributeValues": {":before": before},
            }
        item = _item(kind, key, document)
        with translated(f"DynamoDB {self._table}"):
            try:
                self._client.put_item(TableName=self._table, Item=item, **condition)
            except self._client.exceptions.ConditionalCheckFailedException:
                return None
        written: _Attribute = item["document"]
        return written

    def _all(
        self, kind: str, after: str = "", page_size: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yield the items of a kind. ``page_size`` is the number of items that a request reads."""
        request: dict[str, Any] = {
            "PaginationConfig": {"PageSize": page_size},
            "KeyConditionExpression": "kind = :kind",
            "ExpressionAttributeValues": {":kind": {"S": kind}},
        }
        if after:
            request["KeyConditionExpression"] += " AND #key > :after"
            # ``key`` is a reserved word of DynamoDB
            request["ExpressionAttributeNames"] = {"#key": "key"}
            request["ExpressionAttributeValues"][":after"] = {"S": after}
        pages = self._client.get_paginator("query").paginate(TableName=self._table, **request)
        with translated(f"DynamoDB {self._table}"):
            for page in pages:
                yield from page["Items"]


def _key(kind: str, key: str) -> dict[str, Any]:
    return {"kind": {"S": kind}, "key": {"S": key}}


def _item(kind: str, key: str, document: Mapping[str, Any]) -> dict[str, Any]:
    return {**_key(kind, key), "document": {"S": json.dumps(document)}}


def _document(kind: str, item: dict[str, Any]) -> Any:
    where, value = f"the {kind} {item['key']['S']}", _plain(item)
    if not isinstance(value.get("document"), str):
        return Damaged("document is not a text", where, found=value)
    return parse(value["document"], where)


def _heartbeat(item: dict[str, Any]) -> Heartbeat | Damaged:
    key = item["key"]["S"]
    return decode(Heartbeat, {**_plain(item), "symbol": key}, HEARTBEAT + key)


def _plain(item: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of an item as plain values. An attribute of a type that mcloud never
    writes becomes bytes, which no document contains.
    """
    return {name: _value(*next(iter(each.items()))) for name, each in item.items()}


def _value(kind: str, value: Any) -> Any:
    if kind in ("S", "BOOL"):
        return value
    if kind == "NULL":
        return None
    if kind != "N":
        return b""
    digits = value.removeprefix("-")
    return int(value) if digits.isdecimal() and len(digits) <= MOST_DIGITS else float(value)
