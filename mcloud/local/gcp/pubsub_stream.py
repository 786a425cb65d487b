"""The client's side of a streaming pull."""

import asyncio
from typing import Any

from google.pubsub_v1.types import pubsub as types

from mcloud.local.gcp import pubsub_rules as rules
from mcloud.local.gcp.pubsub_backlog import Consumer
from mcloud.local.gcp.pubsub_subscription import Subscription
from mcloud.local.gcp.rpc import invalid

_Response: Any = types.StreamingPullResponse.pb()


class PullStream:
    """The limits of one stream, its deadline, and the acknowledgements that are sent on it."""

    def __init__(self, subscription: Subscription, first: Any) -> None:
        self.woken = asyncio.Event()
        self.seconds: int = first.stream_ack_deadline_seconds
        self.consumer = Consumer(
            self.woken.set,
            first.max_outstanding_messages if first.max_outstanding_messages > 0 else None,
            first.max_outstanding_bytes if first.max_outstanding_bytes > 0 else None,
        )
        self._subscription = subscription

    def response(self) -> Any:
        """Return an answer without messages. It says how the client has to acknowledge them."""
        settings = self._subscription.settings
        return _Response(
            subscription_properties={
                "exactly_once_delivery_enabled": settings.enable_exactly_once_delivery,
                "message_ordering_enabled": settings.enable_message_ordering,
            }
        )

    async def read(self, requests: Any) -> None:
        """Apply the client's requests until it closes its side of the stream."""
        async for request in requests:
            if request.max_outstanding_messages or request.max_outstanding_bytes:
                raise invalid("The flow control of a stream is set by its first request.")
            self.apply(request)

    def apply(self, request: Any) -> None:
        """Apply one request: a deadline for the stream, acknowledgements, deadlines of messages."""
        if request.stream_ack_deadline_seconds:
            rules.check_ack_deadline(request.stream_ack_deadline_seconds)
            self.seconds = request.stream_ack_deadline_seconds
        if len(request.modify_deadline_ack_ids) != len(request.modify_deadline_seconds):
            raise invalid("modify_deadline_ack_ids and modify_deadline_seconds differ in length.")
        if request.ack_ids:
            self._subscription.acknowledge(request.ack_ids)
        for ack_id, seconds in zip(
            request.modify_deadline_ack_ids, request.modify_deadline_seconds, strict=True
        ):
            rules.check_extension(seconds)
            self._subscription.modify_deadline([ack_id], seconds)
