"""Push delivery: one POST per message, acknowledged by the status code.

The request is Pub/Sub's wrapped message, https://cloud.google.com/pubsub/docs/push#receive_push.
"""

import asyncio
import base64
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final

from mcloud import http
from mcloud.errors import McloudError
from mcloud.local.gcp.monitoring_distribution import Histogram
from mcloud.local.gcp.pubsub_backlog import Consumer, Owed
from mcloud.local.gcp.pubsub_subscription import Subscription

CONCURRENCY: Final = 16
ACCEPTED: Final = frozenset((102, 200, 201, 202, 204))
# The lease lasts longer than the request, so that a message is never posted twice at the same time.
_LEASE_MARGIN: Final = 5.0


class Pusher:
    """Posts the messages of one subscription to its endpoint, at most ``CONCURRENCY`` at a time."""

    def __init__(self, endpoint: str, subscription: Subscription) -> None:
        self.endpoint = endpoint
        self.consumer = Consumer(self._push_free, max_messages=CONCURRENCY)
        self._subscription = subscription
        self._is_closed = False
        self._http = http.HttpClient(keep=CONCURRENCY)
        self._threads = ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="push")
        self._pushes: set[asyncio.Task[None]] = set()

    def serves(self, settings: Any) -> bool:
        """Whether these settings push to the same endpoint."""
        return bool(settings.push_config.push_endpoint == self.endpoint)

    def close(self) -> None:
        """Start no more pushes. Those in progress still settle their message."""
        self._is_closed = True
        self._threads.shutdown(wait=False)

    def _push_free(self) -> None:
        # Google also slows failing pushes down: https://cloud.google.com/pubsub/docs/push
        if self._is_closed or self._subscription.is_out("function"):
            return
        seconds = self._subscription.settings.ack_deadline_seconds
        lease = seconds + _LEASE_MARGIN
        for owed in self._subscription.lease(self.consumer, CONCURRENCY, lease):
            push = asyncio.create_task(self._push(owed, seconds))
            # The event loop keeps only weak references to tasks.
            self._pushes.add(push)
            push.add_done_callback(self._pushes.discard)

    async def _push(self, owed: Owed, timeout: float) -> None:
        subscription = self._subscription
        ack_id = subscription.backlog.ack_id(owed)
        attempt = None if subscription.backlog.policy.max_attempts is None else owed.attempts
        if self._is_closed:
            subscription.modify_deadline([ack_id], 0)
            return
        loop = asyncio.get_running_loop()
        started = time.perf_counter()
        status = await loop.run_in_executor(
            self._threads, self._post, owed.message, attempt, timeout
        )
        subscription.pushed(subscription.name.rpartition("/")[2], owed.message)
        elapsed = (time.perf_counter() - started) * 1000
        subscription.latencies.setdefault(f"{status // 100}xx", Histogram()).add(elapsed)
        if status in ACCEPTED:
            subscription.acknowledge([ack_id])
        else:
            subscription.modify_deadline([ack_id], 0)

    def _post(self, message: Any, attempt: int | None, timeout: float) -> int:
        """Return the status of the answer or, without one, 504, as Cloud Run counts a timeout."""
        try:
            return self._http.ask(
                "POST",
                self.endpoint,
                replace(http.FUNCTION, seconds=timeout),
                body=push_body(message, self._subscription.name, attempt),
                headers={"Content-Type": "application/json", "User-Agent": "CloudPubSub-Google"},
            ).status
        except McloudError:
            return 504


def push_body(message: Any, subscription: str, attempt: int | None) -> bytes:
    """Return the JSON of a push. Ids and times appear under both of the names that Google sends."""
    published = message.publish_time.ToJsonString()
    wrapped: dict[str, Any] = {
        "data": base64.b64encode(message.data).decode("ascii"),
        "messageId": message.message_id,
        "message_id": message.message_id,
        "publishTime": published,
        "publish_time": published,
    }
    if message.attributes:
        wrapped["attributes"] = dict(message.attributes)
    if message.ordering_key:
        wrapped["orderingKey"] = message.ordering_key
    body: dict[str, Any] = {"message": wrapped, "subscription": subscription}
    if attempt is not None:
        body["deliveryAttempt"] = attempt
    return json.dumps(body, ensure_ascii=False).encode()
