"""Pub/Sub's snapshots of subscriptions, and seeks to them and to times.

https://cloud.google.com/pubsub/docs/replay-overview
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.empty_pb2 import Empty
from google.protobuf.timestamp_pb2 import Timestamp
from google.pubsub_v1.types import pubsub as types

from mcloud.local.gcp import pubsub_rules as rules
from mcloud.local.gcp.pubsub_subscription import Subscription
from mcloud.local.gcp.rpc import Handler, Service, invalid

LIFE: Final = 7 * 24 * 3600  # seconds

_Snapshot: Any = types.Snapshot.pb()


@dataclass(frozen=True, slots=True)
class SavedBacklog:
    """The unacknowledged messages of a subscription at one moment, and those published since."""

    settings: Any
    messages: dict[str, Any] = field(default_factory=dict)


class Snapshots:
    """The snapshots of all projects.

    Args:
        timestamp: returns the present time.
        find: returns a subscription, or raises NOT_FOUND.
    """

    def __init__(
        self, timestamp: Callable[[], Timestamp], find: Callable[[str], Subscription]
    ) -> None:
        self._timestamp = timestamp
        self._find = find
        self.saved: dict[str, SavedBacklog] = {}

    def add_to(self, subscriber: Service) -> None:
        """Add the methods to the service ``Subscriber``."""
        handler: Handler
        for method, handler, request, response in (
            ("CreateSnapshot", self.create, types.CreateSnapshotRequest, types.Snapshot),
            ("GetSnapshot", self.get, types.GetSnapshotRequest, types.Snapshot),
            (
                "ListSnapshots",
                self.list_page,
                types.ListSnapshotsRequest,
                types.ListSnapshotsResponse,
            ),
            ("UpdateSnapshot", self.update, types.UpdateSnapshotRequest, types.Snapshot),
            ("Seek", self.seek, types.SeekRequest, types.SeekResponse),
        ):
            subscriber.unary(method, handler, request.pb(), response.pb())
        subscriber.unary("DeleteSnapshot", self.delete, types.DeleteSnapshotRequest.pb(), Empty)

    def publish(self, topic: str, message: Any) -> None:
        """Add a new message to the snapshots of its topic."""
        for each in self.saved.values():
            if each.settings.topic == topic:
                each.messages[message.message_id] = message

    async def create(self, request: Any, _context: Any) -> Any:
        """Save what a subscription has not acknowledged."""
        rules.check_name(request.name, "snapshots")
        subscription = self._find(request.subscription)
        if request.name in self.saved:
            raise rules.already_exists(request.name)
        settings = _Snapshot(
            name=request.name, topic=subscription.settings.topic, labels=request.labels
        )
        settings.expire_time.CopyFrom(self._timestamp())
        settings.expire_time.seconds += LIFE
        pending = subscription.backlog.pending()
        messages = {owed.message.message_id: owed.message for owed in pending}
        self.saved[request.name] = SavedBacklog(settings, messages)
        return settings

    async def get(self, request: Any, _context: Any) -> Any:
        """Return a snapshot, or raise NOT_FOUND."""
        return self._saved(request.snapshot).settings

    async def list_page(self, request: Any, _context: Any) -> Any:
        """Return one page of a project's snapshots, by name."""
        names, token = rules.page(self.saved, request.project, request)
        return types.ListSnapshotsResponse.pb()(
            snapshots=[self.saved[name].settings for name in names], next_page_token=token
        )

    async def update(self, request: Any, _context: Any) -> Any:
        """Change the labels or the expiry."""
        settings = self._saved(request.snapshot.name).settings
        if not request.update_mask.paths or set(request.update_mask.paths) - {
            "labels",
            "expire_time",
        }:
            raise invalid("Invalid update_mask provided in the UpdateSnapshotRequest.")
        request.update_mask.MergeMessage(request.snapshot, settings, True, True)
        return settings

    async def delete(self, request: Any, _context: Any) -> Any:
        """Delete a snapshot."""
        self._saved(request.snapshot)
        del self.saved[request.snapshot]
        return Empty()

    async def seek(self, request: Any, _context: Any) -> Any:
        """Acknowledge the messages before a time and bring back those after it, or bring back the
        backlog of a snapshot.
        """
        subscription = self._find(request.subscription)
        if request.snapshot:
            saved = self._saved(request.snapshot)
            if saved.settings.topic != subscription.settings.topic:
                raise invalid("The snapshot is of another topic than the subscription.")
            wanted = saved.messages
            subscription.backlog.seek(lambda each: each.message_id in wanted, wanted.values())
        else:
            since = request.time.ToNanoseconds()
            subscription.backlog.seek(lambda each: each.publish_time.ToNanoseconds() >= since)
        subscription.settle()
        return types.SeekResponse.pb()()

    def _saved(self, name: str) -> SavedBacklog:
        try:
            return self.saved[name]
        except KeyError:
            rules.check_name(name, "snapshots")
            raise rules.not_found(name) from None
