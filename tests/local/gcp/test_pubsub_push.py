"""The body of a push. Tests of the delivery are in tests/conformance."""

import base64
import json
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from google.pubsub_v1.types import PubsubMessage

from mcloud.local.gcp.pubsub_push import push_body


def _message(**fields: Any) -> Any:
    message = PubsubMessage.pb()(message_id="7", **fields)
    message.publish_time.CopyFrom(Timestamp(seconds=1_723_161_259, nanos=5_000_000))
    return message


def test_the_wrapped_message() -> None:
    message = _message(data=b"\x00\xff", attributes={"symbol": "BTCUSDT"}, ordering_key="k")
    body = json.loads(push_body(message, "projects/p/subscriptions/s", 3))
    assert body == {
        "deliveryAttempt": 3,
        "subscription": "projects/p/subscriptions/s",
        "message": {
            "data": base64.b64encode(b"\x00\xff").decode(),
            "attributes": {"symbol": "BTCUSDT"},
            "messageId": "7",
            "message_id": "7",
            "orderingKey": "k",
            "publishTime": "2024-08-08T23:54:19.005Z",
            "publish_time": "2024-08-08T23:54:19.005Z",
        },
    }


def test_unset_fields_are_omitted() -> None:
    body = json.loads(push_body(_message(data=b"x"), "s", None))
    assert "deliveryAttempt" not in body
    assert {"attributes", "orderingKey"}.isdisjoint(body["message"])
