"""The control table in DynamoDB: partition key ``kind``, sort key ``key``."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from itertools import islice
from typing import Any

from mcloud.clouds.aws.client import translated
from mcloud.clouds.ports import ControlRecord, Heartbeat, Lag, read_json


class DynamoControl:
    def __init__(self, client: Any, table: str) -> None:
        self._client = client
        self._table = table

    def beat(self, beats: Iterable[Heartbeat]) -> None:
        for beat in beats:
            with translated(f"DynamoDB {self._table}"):
                # An update expression has no max(): the condition makes one.
                try:
                    self._add(beat, with_time=True)
                except self._client.exceptions.ConditionalCheckFailedException:
                    self._add(beat, with_time=False)

    def heartbeats(self) -> list[Heartbeat]:
        return [_decode(item) for item in self._all("heartbeat")]

    def note_lag(self, lag: Lag) -> None:
        self.keep("lag", lag.key, asdict(lag))

    def lags(self) -> list[Lag]:
        return [Lag.read(key, lag) for key, lag in self.kept("lag").items()]

    def keep(self, kind: str, key: str, document: Mapping[str, Any]) -> None:
        with translated(f"DynamoDB {self._table}"):
            self._client.put_item(TableName=self._table, Item=_item(kind, key, document))

    def add(self, kind: str, key: str, document: Mapping[str, Any]) -> bool:
        with translated(f"DynamoDB {self._table}"):
            try:
                self._client.put_item(
                    TableName=self._table,
                    Item=_item(kind, key, document),
                    ConditionExpression="attribute_not_exists(kind)",
                )
            except self._client.exceptions.ConditionalCheckFailedException:
                return False
        return True

    def replace(
        self, kind: str, key: str, document: Mapping[str, Any], before: Mapping[str, Any]
    ) -> bool:
        with translated(f"DynamoDB {self._table}"):
            try:
                self._client.put_item(
                    TableName=self._table,
                    Item=_item(kind, key, document),
                    ConditionExpression="#document = :before",
                    ExpressionAttributeNames={"#document": "document"},
                    ExpressionAttributeValues={":before": {"S": json.dumps(before)}},
                )
            except self._client.exceptions.ConditionalCheckFailedException:
                return False
        return True

    def get(self, kind: str, key: str) -> Any:
        with translated(f"DynamoDB {self._table}"):
            answer = self._client.get_item(
                TableName=self._table, Key=_key(kind, key), ConsistentRead=True
            )
        item = answer.get("Item")
        return None if item is None else read_json(item.get("document", {}).get("S"))

    def kept(self, kind: str, after: str = "", limit: int | None = None) -> dict[str, Any]:
        items = islice(self._all(kind, after), limit)
        return {item["key"]["S"]: _document(item) for item in items}

    def forget(self, kind: str, key: str) -> None:
        with translated(f"DynamoDB {self._table}"):
            self._client.delete_item(TableName=self._table, Key=_key(kind, key))

    def record(self) -> ControlRecord | None:
        with translated(f"DynamoDB {self._table}"):
            answer = self._client.get_item(
                TableName=self._table, Key=_key("control", "record"), ConsistentRead=True
            )
        item = answer.get("Item")
        if item is None:
            return None
        return ControlRecord(
            epoch=int(item["epoch"]["N"]),
            at=float(item["at"]["N"]),
            **{name: item[name]["S"] for name in ("primary", "mode", "reason", "by")},
        )

    def write_record(self, record: ControlRecord) -> bool:
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

    def _all(self, kind: str, after: str = "") -> Iterator[dict[str, Any]]:
        request: dict[str, Any] = {
            "KeyConditionExpression": "kind = :kind",
            "ExpressionAttributeValues": {":kind": {"S": kind}},
        }
        if after:
            request["KeyConditionExpression"] += " AND #key > :after"
            request["ExpressionAttributeNames"] = {"#key": "key"}  # a reserved word
            request["ExpressionAttributeValues"][":after"] = {"S": after}
        pages = self._client.get_paginator("query").paginate(TableName=self._table, **request)
        with translated(f"DynamoDB {self._table}"):
            for page in pages:
                yield from page["Items"]

    def _add(self, beat: Heartbeat, *, with_time: bool) -> None:
        request: dict[str, Any] = {
            "UpdateExpression": "ADD trades :trades, messages :messages SET #at = :at",
            "ExpressionAttributeValues": {
                ":trades": {"N": str(beat.trades)},
                ":messages": {"N": str(beat.messages)},
                ":at": {"N": f"{beat.at:.3f}"},
            },
        }
        if with_time:
            request["UpdateExpression"] += ", last_trade_time = :time"
            request["ExpressionAttributeValues"][":time"] = {"N": str(beat.last_trade_time)}
            request["ConditionExpression"] = (
                "attribute_not_exists(last_trade_time) OR last_trade_time <= :time"
            )
        self._client.update_item(
            TableName=self._table,
            Key=_key("heartbeat", beat.symbol),
            ExpressionAttributeNames={"#at": "at"},
            **request,
        )


def _key(kind: str, key: str) -> dict[str, Any]:
    return {"kind": {"S": kind}, "key": {"S": key}}


def _item(kind: str, key: str, document: Mapping[str, Any]) -> dict[str, Any]:
    return {**_key(kind, key), "document": {"S": json.dumps(document)}}


def _document(item: dict[str, Any]) -> Any:
    """Empty where an earlier version wrote it in another way."""
    return json.loads(item["document"]["S"]) if "document" in item else {}


def _decode(item: dict[str, Any]) -> Heartbeat:
    return Heartbeat(
        symbol=item["key"]["S"],
        last_trade_time=int(item["last_trade_time"]["N"]),
        trades=int(item["trades"]["N"]),
        messages=int(item["messages"]["N"]),
        at=float(item["at"]["N"]),
    )
