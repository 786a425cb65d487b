"""Notifications through Pub/Sub topics."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from mcloud.clouds.gcp.client import TIMEOUT, make_publisher, translated


class PubSubTopic:
    """Implementation of ``notify.Topic`` for Pub/Sub. It needs ``pubsub.topics.publish``."""

    def __init__(self, name: str, endpoint: str = "") -> None:
        self._name = name
        self._endpoint = endpoint

    def publish(self, subject: str, body: str, attributes: Mapping[str, str]) -> str:
        from google.pubsub_v1.types import PubsubMessage

        message = PubsubMessage(data=body.encode(), attributes=dict(attributes))
        with translated(f"Pub/Sub {self._name}"):
            answer = self._publisher.publish(
                topic=self._name, messages=[message], timeout=TIMEOUT, retry=None
            )
        return str(answer.message_ids[0])

    @cached_property
    def _publisher(self) -> Any:
        return make_publisher(self._endpoint)
