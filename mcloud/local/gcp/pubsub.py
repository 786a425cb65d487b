"""The embedded Pub/Sub: its RPCs, for the real ``google-cloud-pubsub`` clients.

It supports topics, publish, subscriptions, pull, streaming pull, push and files in Cloud Storage,
with ack deadlines, backoff, dead letters, ordering keys, filters, exactly-once delivery, snapshots,
seek and schemas in Avro. Other features are refused with an error that names them. Delivery is at
least once and not in order, as on Google's service.
"""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.timestamp_pb2 import Timestamp
from google.pubsub_v1.types import Schema
from google.pubsub_v1.types import pubsub as types

from mcloud.local.gcp import pubsub_rules as rules
from mcloud.local.gcp.monitoring_distribution import Histogram
from mcloud.local.gcp.protobuf_times import to_seconds
from mcloud.local.gcp.pubsub_backlog import Consumer, Owed
from mcloud.local.gcp.pubsub_export import BucketExporter, Buckets
from mcloud.local.gcp.pubsub_flush import METHOD, SERVICE
from mcloud.local.gcp.pubsub_push import Pusher
from mcloud.local.gcp.pubsub_schemas import DELETED, Schemas
from mcloud.local.gcp.pubsub_snapshots import SavedBacklog, Snapshots
from mcloud.local.gcp.pubsub_stream import PullStream
from mcloud.local.gcp.pubsub_subscription import Delivery, Subscription
from mcloud.local.gcp.rpc import Handler, Refusal, Service, invalid, not_offered

PULL_WAIT: Final = 60.0  # seconds that a pull without a deadline waits for a first message
# seconds before its deadline at which a pull returns, as in Google's emulator
PULL_MARGIN: Final = 1.0
LOOK: Final = 0.1  # seconds between two checks of whether an outage has ended
# maximum number of messages in an answer, so that parallel streams get equal shares
STREAM_BATCH: Final = 100

_PublishResponse: Any = types.PublishResponse.pb()
_PubsubMessage: Any = types.PubsubMessage.pb()
_PullResponse: Any = types.PullResponse.pb()
_StreamingPullResponse: Any = types.StreamingPullResponse.pb()
_Schema: Any = Schema.pb()
_Snapshot: Any = types.Snapshot.pb()
_Subscription: Any = types.Subscription.pb()
_Topic: Any = types.Topic.pb()


@dataclass(frozen=True, slots=True)
class SubscriptionObservation:
    """Data on one subscription for Cloud Monitoring. Ages are in seconds, latencies in ms."""

    project: str
    subscription: str
    function: str
    undelivered: int
    oldest_age: float
    latencies: Mapping[str, Histogram]


@dataclass(slots=True)
class _TopicState:
    settings: Any
    subscriptions: dict[str, Subscription] = field(default_factory=dict)


class PubSub:
    """All projects of one server.

    Args:
        clock: seconds since the epoch.
        is_out: returns whether the ``queue`` delivers nothing now, or the ``function`` is not
            reached.
        pushed: called after every push with the subscription's short name and the message.
        exported: called in the same way for every message that was written to a bucket.
        buckets: Cloud Storage for subscriptions that write there, if there is one.
        longest: seconds after which a file is written there, if the subscription allows more.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        is_out: Callable[[str], bool] = lambda service: False,
        pushed: Callable[[str, Any], None] = lambda subscription, message: None,
        exported: Callable[[str, Any], None] = lambda subscription, message: None,
        buckets: Buckets | None = None,
        longest: float | None = None,
    ) -> None:
        self._clock = clock
        self._buckets = buckets
        self._longest = longest
        self._flushed_also: list[Callable[[], Awaitable[None]]] = []
        self._is_out = is_out
        self._pushed = pushed
        self._exported = exported
        self._topics: dict[str, _TopicState] = {}
        self._subscriptions: dict[str, Subscription] = {}
        self._schemas = Schemas(self._now, self._forget_schema)
        self._snapshots = Snapshots(self._now, self._subscription)
        # Ids also grow across restarts, so that an old ack id never matches a new message.
        self._last_id = int(clock() * 1_000_000)

    def services(self) -> list[Service]:
        """The gRPC services to put on a server."""
        handler: Handler
        publisher = Service("google.pubsub.v1.Publisher", "Pub/Sub")
        for method, handler, request, response in (
            ("CreateTopic", self.create_topic, types.Topic, types.Topic),
            ("GetTopic", self.get_topic, types.GetTopicRequest, types.Topic),
            ("ListTopics", self.list_topics, types.ListTopicsRequest, types.ListTopicsResponse),
            (
                "ListTopicSubscriptions",
                self.list_topic_subscriptions,
                types.ListTopicSubscriptionsRequest,
                types.ListTopicSubscriptionsResponse,
            ),
            ("UpdateTopic", self.update_topic, types.UpdateTopicRequest, types.Topic),
            ("DeleteTopic", self.delete_topic, types.DeleteTopicRequest, Empty),
            ("Publish", self.publish, types.PublishRequest, types.PublishResponse),
        ):
            publisher.unary(method, handler, _raw(request), _raw(response))
        subscriber = Service("google.pubsub.v1.Subscriber", "Pub/Sub")
        for method, handler, request, response in (
            (
                "CreateSubscription",
                self.create_subscription,
                types.Subscription,
                types.Subscription,
            ),
            (
                "GetSubscription",
                self.get_subscription,
                types.GetSubscriptionRequest,
                types.Subscription,
            ),
            (
                "ListSubscriptions",
                self.list_subscriptions,
                types.ListSubscriptionsRequest,
                types.ListSubscriptionsResponse,
            ),
            (
                "UpdateSubscription",
                self.update_subscription,
                types.UpdateSubscriptionRequest,
                types.Subscription,
            ),
            (
                "DeleteSubscription",
                self.delete_subscription,
                types.DeleteSubscriptionRequest,
                Empty,
            ),
            ("ModifyPushConfig", self.modify_push_config, types.ModifyPushConfigRequest, Empty),
            ("Pull", self.pull, types.PullRequest, types.PullResponse),
            ("Acknowledge", self.acknowledge, types.AcknowledgeRequest, Empty),
            (
                "ModifyAckDeadline",
                self.modify_ack_deadline,
                types.ModifyAckDeadlineRequest,
                Empty,
            ),
        ):
            subscriber.unary(method, handler, _raw(request), _raw(response))
        subscriber.streaming(
            "StreamingPull",
            self.streaming_pull,
            _raw(types.StreamingPullRequest),
            _StreamingPullResponse,
            client_streams=True,
        )
        self._snapshots.add_to(subscriber)
        exports = Service(SERVICE, "Pub/Sub")
        exports.unary(METHOD, self.flush_exports, Empty, Empty)
        return [publisher, subscriber, self._schemas.service(), exports]

    def flush_also(self, flush: Callable[[], Awaitable[None]]) -> None:
        """Add something to write when clients flush the exports."""
        self._flushed_also.append(flush)

    def close(self) -> None:
        """End the open streams, so that the server can stop. Their clients will retry."""
        for subscription in self._subscriptions.values():
            subscription.close(Refusal(grpc.StatusCode.UNAVAILABLE, "The server is stopping."))

    async def wake_forever(self) -> None:
        """Deliver messages that waited for the end of an outage, until cancelled."""
        before = False
        while True:
            now = self._is_out("queue") or self._is_out("function")
            if before and not now:
                for subscription in tuple(self._subscriptions.values()):
                    subscription.settle()
            before = now
            await asyncio.sleep(LOOK)

    def observe(self) -> list[SubscriptionObservation]:
        """Return the state of every subscription, for Cloud Monitoring."""
        now = self._clock()
        observed = []
        for name, subscription in self._subscriptions.items():
            _, project, _, short = name.split("/")
            oldest = subscription.backlog.oldest()
            observed.append(
                SubscriptionObservation(
                    project=project,
                    subscription=short,
                    function=subscription.settings.labels.get("function", short),
                    undelivered=len(subscription.backlog),
                    oldest_age=max(0.0, now - to_seconds(oldest.message.publish_time))
                    if oldest
                    else 0.0,
                    latencies=subscription.latencies,
                )
            )
        return observed

    def dump(self) -> dict[str, Any]:
        """Return topics, subscriptions and their backlogs. Leases end with the process."""
        messages: dict[str, str] = {}

        def ids(several: Iterable[Any]) -> list[str]:
            """Return the ids of messages, and add these to ``messages``."""
            found = []
            for message in several:
                found.append(message.message_id)
                if message.message_id not in messages:
                    messages[message.message_id] = _encode(message)
            return found

        subscriptions = []
        for subscription in self._subscriptions.values():
            pending = list(subscription.backlog.pending())
            attempts = [owed.attempts for owed in pending]
            subscriptions.append(
                {
                    "settings": _encode(subscription.settings),
                    "pending": list(
                        zip(ids(owed.message for owed in pending), attempts, strict=True)
                    ),
                    "acknowledged": ids(subscription.backlog.acknowledged()),
                }
            )
        return {
            "last_id": self._last_id,
            "topics": [_encode(topic.settings) for topic in self._topics.values()],
            "subscriptions": subscriptions,
            "snapshots": [
                {"settings": _encode(saved.settings), "messages": ids(saved.messages.values())}
                for saved in self._snapshots.saved.values()
            ],
            "schemas": [
                _encode(revision)
                for revisions in self._schemas.revisions.values()
                for revision in revisions
            ],
            "messages": messages,
        }

    def load(self, dump: dict[str, Any]) -> None:
        """Load the result of ``dump``. This has to run on the event loop, because pushes start
        immediately.
        """
        self._last_id = max(self._last_id, dump["last_id"])
        for encoded in dump["topics"]:
            topic = _decode(_Topic, encoded)
            self._topics[topic.name] = _TopicState(topic)
        messages = {
            message_id: _decode(_PubsubMessage, encoded)
            for message_id, encoded in dump["messages"].items()
        }
        for saved in dump["subscriptions"]:
            subscription = self._add_subscription(_decode(_Subscription, saved["settings"]))
            for message_id, attempts in saved["pending"]:
                message = messages[message_id]
                subscription.offer(message, message.ByteSize(), attempts)
            for message_id in saved.get("acknowledged", ()):
                subscription.backlog.retain(messages[message_id])
        # A state of an earlier version has neither of these two.
        for saved in dump.get("snapshots", ()):
            settings = _decode(_Snapshot, saved["settings"])
            kept = {message_id: messages[message_id] for message_id in saved["messages"]}
            self._snapshots.saved[settings.name] = SavedBacklog(settings, kept)
        for encoded in dump.get("schemas", ()):
            self._schemas.load(_decode(_Schema, encoded))
        for subscription in self._subscriptions.values():
            subscription.settle()

    async def create_topic(self, request: Any, _context: Any) -> Any:
        """Create a topic, or raise ALREADY_EXISTS."""
        rules.check_topic(request)
        self._schemas.check_settings(request)
        if request.name in self._topics:
            raise rules.already_exists(request.name)
        self._topics[request.name] = _TopicState(request)
        return request

    async def get_topic(self, request: Any, _context: Any) -> Any:
        """Return a topic's settings, or raise NOT_FOUND."""
        return self._topic(request.topic).settings

    async def list_topics(self, request: Any, _context: Any) -> Any:
        """Return one page of a project's topics, by name."""
        names, token = rules.page(self._topics, request.project, request)
        return _raw(types.ListTopicsResponse)(
            topics=[self._topics[name].settings for name in names], next_page_token=token
        )

    async def list_topic_subscriptions(self, request: Any, _context: Any) -> Any:
        """Return one page of the names of a topic's subscriptions."""
        names, token = rules.page(self._topic(request.topic).subscriptions, "projects", request)
        return _raw(types.ListTopicSubscriptionsResponse)(
            subscriptions=names, next_page_token=token
        )

    async def update_topic(self, request: Any, _context: Any) -> Any:
        """Change the masked fields."""
        topic = self._topic(request.topic.name)
        settings = rules.updated_topic(topic.settings, request.topic, request.update_mask)
        self._schemas.check_settings(settings)
        topic.settings = settings
        return settings

    async def delete_topic(self, request: Any, _context: Any) -> Any:
        """Delete a topic. Its subscriptions keep their backlog, with ``_deleted-topic_`` as
        topic."""
        topic = self._topic(request.topic)
        del self._topics[request.topic]
        for subscription in topic.subscriptions.values():
            subscription.settings.topic = rules.DELETED_TOPIC
        return Empty()

    async def publish(self, request: Any, _context: Any) -> Any:
        """Add messages to every subscription of a topic."""
        topic = self._topic(request.topic)
        rules.check_publish(request)
        self._schemas.mark_messages(topic.settings, request.messages)
        return _PublishResponse(message_ids=self._deliver(topic, request.messages))

    async def create_subscription(self, request: Any, _context: Any) -> Any:
        """Create a subscription, which gets the messages that are published from now on."""
        rules.complete_subscription(request)
        if request.name in self._subscriptions:
            raise rules.already_exists(request.name)
        self._topic(request.topic)
        self._check_dead_letter_topic(request)
        await self._check_bucket(request)
        if request.name in self._subscriptions:  # made while the bucket was asked for
            raise rules.already_exists(request.name)
        return self._add_subscription(request).settings

    async def get_subscription(self, request: Any, _context: Any) -> Any:
        """Return a subscription's settings, or raise NOT_FOUND."""
        return self._subscription(request.subscription).settings

    async def list_subscriptions(self, request: Any, _context: Any) -> Any:
        """Return one page of a project's subscriptions, by name."""
        names, token = rules.page(self._subscriptions, request.project, request)
        return _raw(types.ListSubscriptionsResponse)(
            subscriptions=[self._subscriptions[name].settings for name in names],
            next_page_token=token,
        )

    async def update_subscription(self, request: Any, _context: Any) -> Any:
        """Change the masked fields."""
        subscription = self._subscription(request.subscription.name)
        settings = rules.updated_subscription(
            subscription.settings, request.subscription, request.update_mask
        )
        self._check_dead_letter_topic(settings)
        if "cloud_storage_config" in request.update_mask.paths:
            await self._check_bucket(settings)
        subscription.configure(settings)
        return settings

    async def delete_subscription(self, request: Any, _context: Any) -> Any:
        """Delete a subscription and its backlog. Its streams end with NOT_FOUND."""
        subscription = self._subscription(request.subscription)
        del self._subscriptions[subscription.name]
        topic = self._topics.get(subscription.settings.topic)
        if topic:
            del topic.subscriptions[subscription.name]
        subscription.close(rules.not_found(subscription.name))
        return Empty()

    async def modify_push_config(self, request: Any, _context: Any) -> Any:
        """Switch to push, to another endpoint or, with an empty one, to pull."""
        subscription = self._subscription(request.subscription)
        rules.check_push_config(request.push_config)
        subscription.settings.push_config.CopyFrom(request.push_config)
        subscription.configure(subscription.settings)
        return Empty()

    async def pull(self, request: Any, context: Any) -> Any:
        """Return some messages. Wait for the first one until shortly before the client's
        deadline.
        """
        subscription = self._subscription(request.subscription)
        if request.max_messages <= 0:
            raise invalid(
                "The value for max_messages is too small. You passed "
                f"{request.max_messages} in the request, but the minimum value is 1."
            )
        limit = min(request.max_messages, rules.MAX_MESSAGES)
        seconds = subscription.settings.ack_deadline_seconds
        woken = asyncio.Event()
        consumer = Consumer(woken.set)
        subscription.consumers.add(consumer)
        try:
            async with asyncio.timeout(_pull_wait(request, context)):
                while not (taken := subscription.take(consumer, limit, seconds)):
                    woken.clear()
                    await woken.wait()
        except TimeoutError:
            return _PullResponse()
        finally:
            subscription.consumers.discard(consumer)
        return subscription.received(taken, _PullResponse())

    async def streaming_pull(self, requests: Any, _context: Any) -> AsyncIterator[Any]:
        """Send messages as they arrive, until the client ends the stream."""
        first = await anext(aiter(requests), None)
        if first is None:
            return
        subscription = self._subscription(first.subscription)
        subscription.check_pullable()
        rules.check_ack_deadline(first.stream_ack_deadline_seconds)
        stream = PullStream(subscription, first)
        reader = asyncio.create_task(stream.read(requests))
        reader.add_done_callback(lambda _: stream.woken.set())
        subscription.consumers.add(stream.consumer)
        try:
            stream.apply(first)
            while not reader.done():
                stream.woken.clear()
                while taken := subscription.take(stream.consumer, STREAM_BATCH, stream.seconds):
                    yield subscription.received(taken, stream.response())
                if not reader.done():
                    await stream.woken.wait()
            reader.result()
        finally:
            subscription.consumers.discard(stream.consumer)
            reader.cancel()

    async def acknowledge(self, request: Any, _context: Any) -> Any:
        """Acknowledge messages."""
        subscription = self._subscription(request.subscription)
        _check_has_ack_ids(request)
        subscription.acknowledge(request.ack_ids)
        return Empty()

    async def modify_ack_deadline(self, request: Any, _context: Any) -> Any:
        """Extend leases, or release the messages with 0 seconds."""
        subscription = self._subscription(request.subscription)
        _check_has_ack_ids(request)
        rules.check_extension(request.ack_deadline_seconds)
        subscription.modify_deadline(request.ack_ids, request.ack_deadline_seconds)
        return Empty()

    async def flush_exports(self, _request: Any, _context: Any) -> Any:
        """Write all messages of Cloud Storage subscriptions; not a call of Google's."""
        for subscription in tuple(self._subscriptions.values()):
            if isinstance(subscription.delivery, BucketExporter):
                await subscription.delivery.flush()
        for flush in self._flushed_also:
            await flush()
        return Empty()

    async def _check_bucket(self, settings: Any) -> None:
        """Refuse a Cloud Storage subscription whose bucket cannot be read.

        https://cloud.google.com/pubsub/docs/create-cloudstorage-subscription#bucket_name
        """
        if not settings.HasField("cloud_storage_config"):
            settings.ClearField("state")
            return
        if self._buckets is None:
            raise not_offered("Pub/Sub", "Cloud Storage subscriptions without a Cloud Storage")
        bucket = settings.cloud_storage_config.bucket
        status = await asyncio.to_thread(self._buckets.find, bucket)
        if status == 404:
            raise rules.not_found(bucket)
        if status in (401, 403):
            raise Refusal(
                grpc.StatusCode.PERMISSION_DENIED,
                f"Pub/Sub may not read the metadata of the bucket {bucket}.",
            )
        if status != 200:
            raise Refusal(
                grpc.StatusCode.UNAVAILABLE, f"The bucket {bucket} cannot be checked: {status}."
            )
        settings.cloud_storage_config.state = types.CloudStorageConfig.State.ACTIVE
        settings.state = types.Subscription.State.ACTIVE

    def _topic(self, name: str) -> _TopicState:
        try:
            return self._topics[name]
        except KeyError:
            rules.check_name(name, "topics")
            raise rules.not_found(name) from None

    def _subscription(self, name: str) -> Subscription:
        try:
            return self._subscriptions[name]
        except KeyError:
            rules.check_name(name, "subscriptions")
            raise rules.not_found(name) from None

    def _check_dead_letter_topic(self, settings: Any) -> None:
        if settings.HasField("dead_letter_policy"):
            self._topic(settings.dead_letter_policy.dead_letter_topic)

    def _delivery(self, subscription: Subscription) -> Delivery | None:
        settings = subscription.settings
        if settings.push_config.push_endpoint:
            return Pusher(settings.push_config.push_endpoint, subscription)
        if settings.HasField("cloud_storage_config") and self._buckets is not None:
            return BucketExporter(
                subscription, self._buckets, self._clock, self._exported, self._longest
            )
        return None

    def _add_subscription(self, settings: Any) -> Subscription:
        subscription = Subscription(
            settings, self._clock, self._bury, self._delivery, self._is_out, self._pushed
        )
        self._subscriptions[settings.name] = subscription
        topic = self._topics.get(settings.topic)
        if topic:
            topic.subscriptions[settings.name] = subscription
        return subscription

    def _deliver(self, topic: _TopicState, messages: Iterable[Any]) -> list[str]:
        published = self._now()
        subscriptions = topic.subscriptions.values()
        ids = []
        for message in messages:
            self._last_id += 1
            message.message_id = str(self._last_id)
            message.publish_time.CopyFrom(published)
            size = message.ByteSize()
            for subscription in subscriptions:
                subscription.offer(message, size)
            self._snapshots.publish(topic.settings.name, message)
            ids.append(message.message_id)
        for subscription in subscriptions:
            subscription.settle()
        return ids

    def _now(self) -> Any:
        return _timestamp(self._clock())

    def _forget_schema(self, name: str) -> None:
        """Mark the topics of a deleted schema."""
        for topic in self._topics.values():
            if topic.settings.schema_settings.schema == name:
                topic.settings.schema_settings.schema = DELETED

    def _bury(self, subscription: Subscription, owed: Owed) -> bool:
        """Publish a message to the dead-letter topic:
        https://cloud.google.com/pubsub/docs/dead-letter-topics#how_dead_letter_topics_work
        """
        topic = self._topics.get(subscription.settings.dead_letter_policy.dead_letter_topic)
        if not topic:
            return False
        _, project, _, short = subscription.name.split("/")
        message = _PubsubMessage()
        message.CopyFrom(owed.message)
        prefix = "CloudPubSubDeadLetterSource"
        message.attributes[f"{prefix}DeliveryCount"] = str(owed.attempts)
        message.attributes[f"{prefix}Subscription"] = short
        message.attributes[f"{prefix}SubscriptionProject"] = project
        message.attributes[f"{prefix}TopicPublishTime"] = owed.message.publish_time.ToJsonString()
        self._deliver(topic, [message])
        return True


def _pull_wait(request: Any, context: Any) -> float:
    """Return the number of seconds that a pull may wait for the first message."""
    if request.return_immediately:
        return 0.0
    remaining = context.time_remaining()
    return PULL_WAIT if remaining is None else max(0.0, remaining - PULL_MARGIN)


def _check_has_ack_ids(request: Any) -> None:
    if not request.ack_ids:
        raise invalid("No ack ids specified.")


def _raw(message: Any) -> Any:
    """Return the raw protobuf message of a proto-plus one."""
    return message.pb() if hasattr(message, "pb") else message


def _timestamp(seconds: float) -> Any:
    whole = int(seconds)
    # Google's publish times have a precision of milliseconds.
    return Timestamp(seconds=whole, nanos=int((seconds - whole) * 1000) * 1_000_000)


def _encode(message: Any) -> str:
    return base64.b64encode(message.SerializeToString()).decode("ascii")


def _decode(kind: Any, encoded: str) -> Any:
    return kind.FromString(base64.b64decode(encoded))
