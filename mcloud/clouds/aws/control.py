"""The control table in DynamoDB: partition key ``kind``, sort key ``key``."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from mcloud.clouds.aws.client import translated
from mcloud.clouds.ports import ControlRecord, Heartbeat, Lag

_RECORD = {"kind": {"S": "control"}, "key": {"S": "record"}}


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
        with translated(f"DynamoDB {self._table}"):
            self._client.put_item(
                TableName=self._table,
                Item={
                    "kind": {"S": "lag"},
                    "key": {"S": f"{lag.source} {lag.target} {lag.part}"},
                    "lag": {"S": json.dumps(asdict(lag))},
                },
            )

    def lags(self) -> list[Lag]:
        return [Lag(**json.loads(item["lag"]["S"])) for item in self._all("lag")]

    def record(self) -> ControlRecord | None:
        with translated(f"DynamoDB {self._table}"):
            answer = self._client.get_item(TableName=self._table, Key=_RECORD, ConsistentRead=True)
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
                        **_RECORD,
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

    def _all(self, kind: str) -> list[dict[str, Any]]:
        with translated(f"DynamoDB {self._table}"):
            pages = self._client.get_paginator("query").paginate(
                TableName=self._table,
                KeyConditionExpression="kind = :kind",
                ExpressionAttributeValues={":kind": {"S": kind}},
            )
            return [item for page in pages for item in page["Items"]]

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
            Key={"kind": {"S": "heartbeat"}, "key": {"S": beat.symbol}},
            ExpressionAttributeNames={"#at": "at"},
            **request,
        )


def _decode(item: dict[str, Any]) -> Heartbeat:
    return Heartbeat(
        symbol=item["key"]["S"],
        last_trade_time=int(item["last_trade_time"]["N"]),
        trades=int(item["trades"]["N"]),
        messages=int(item["messages"]["N"]),
        at=float(item["at"]["N"]),
    )
