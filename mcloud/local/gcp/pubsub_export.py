"""Cloud Storage subscriptions, which collect messages in files and write each file as one object.

The server can write files earlier than a subscription demands, so that nobody has to wait for
minutes on a laptop.

As documented in https://cloud.google.com/pubsub/docs/cloudstorage, a message is acknowledged when
the object that contains it is complete. If the object cannot be written, its messages are delivered
again after a pause, as with pushes. A message may therefore be in two objects.
"""

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
from google.pubsub_v1.types import pubsub as types

from mcloud import http
from mcloud.errors import McloudError
from mcloud.local.gcp.protobuf_times import to_seconds
from mcloud.local.gcp.pubsub_backlog import Consumer, Owed
from mcloud.local.gcp.pubsub_export_rules import State, object_name
from mcloud.local.gcp.pubsub_subscription import Subscription
from mcloud.local.gcp.rpc import Refusal

# maximum size, because a file is kept in memory; Google also ends files early
MAX_FILE_BYTES: Final = 64 * 1024**2
TAKE: Final = 1_000  # maximum number of messages that are leased at once
UPLOAD: Final = http.HttpLimit(64 * http.KIB, 60.0)
UPLOAD_MARGIN: Final = 120.0  # seconds by which a lease outlasts the file
OUTAGE_PAUSE: Final = 1.0  # seconds until another attempt at a file while Pub/Sub is out

_REFUSALS: Final = {
    401: State.PERMISSION_DENIED,
    403: State.PERMISSION_DENIED,
    404: State.NOT_FOUND,
}


class Buckets:
    """Client of Cloud Storage with the calls that subscriptions use.

    Args:
        endpoint: URL of Cloud Storage. Requests are not signed, because there are no identities.
    """

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._http = http.HttpClient()

    def find(self, bucket: str) -> int:
        """Request a bucket's metadata, and return the status of the answer."""
        return self._ask("GET", f"/storage/v1/b/{bucket}")

    def write(self, bucket: str, name: str, body: bytes) -> int:
        """Write a new object, and return the status of the answer."""
        query = {"uploadType": "media", "name": name, "ifGenerationMatch": 0}
        return self._ask("POST", f"/upload/storage/v1/b/{bucket}/o", body, query)

    def _ask(self, method: str, path: str, body: bytes | None = None, query: Any = None) -> int:
        try:
            return self._http.ask(
                method,
                self._endpoint + path,
                UPLOAD,
                body=body,
                headers={"Content-Type": "text/plain; charset=utf-8"} if body is not None else None,
                query=query,
            ).status
        except McloudError:
            return 503


def file_limits(config: Any, longest: float | None) -> tuple[float, int]:
    """Return the seconds and the bytes after which a file is written, for a complete
    ``CloudStorageConfig``. For ``longest``, see ``PubSub``.
    """
    seconds = to_seconds(config.max_duration)
    if longest is not None:
        seconds = min(seconds, longest)
    return seconds, min(config.max_bytes or MAX_FILE_BYTES, MAX_FILE_BYTES)


@dataclass(slots=True)
class File:
    """The messages of one file; ``opened`` is in seconds since the epoch."""

    opened: float
    messages: list[Owed] = field(default_factory=list)
    size: int = 0

    def body(self) -> bytes:
        """Return the payloads, each on a line of its own."""
        return b"\n".join(owed.message.data for owed in self.messages)


class BucketExporter:
    """Writes the messages of one subscription to its bucket.

    Args:
        subscription: Its settings have a complete ``CloudStorageConfig``.
        buckets: Where objects are written.
        clock: Seconds since the epoch.
        exported: Called for every written message; see ``PubSub``.
        longest: See ``PubSub``.
    """

    def __init__(
        self,
        subscription: Subscription,
        buckets: Buckets,
        clock: Callable[[], float],
        exported: Callable[[str, Any], None],
        longest: float | None = None,
    ) -> None:
        self.consumer = Consumer(self._collect)
        self._subscription = subscription
        self._buckets = buckets
        self._clock = clock
        self._exported = exported
        self._config = _without_state(subscription.settings.cloud_storage_config)
        self._seconds, self._max_bytes = file_limits(self._config, longest)
        self._file: File | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._uploads: set[asyncio.Task[int]] = set()
        self._is_closed = False

    def serves(self, settings: Any) -> bool:
        """Return whether these settings result in the same files."""
        return bool(
            settings.HasField("cloud_storage_config")
            and _without_state(settings.cloud_storage_config) == self._config
        )

    def close(self) -> None:
        """Take no more messages, and write those that were collected."""
        self._is_closed = True
        self._finish()

    async def flush(self) -> None:
        """Write everything that was published before the call.

        Raises:
            Refusal: some messages could not be written.
        """
        self._subscription.backlog.rouse()
        self._collect()
        self._finish()
        statuses = await asyncio.gather(*self._uploads)
        failed = [status for status in statuses if not _is_written(status)]
        if failed:
            raise Refusal(
                grpc.StatusCode.UNAVAILABLE,
                f"{self._subscription.name} could not write to the bucket "
                f"{self._config.bucket}: HTTP {failed[0]}",
            )

    def _collect(self) -> None:
        if self._is_closed:
            return
        self._finish_if_due()
        lease = self._seconds + UPLOAD_MARGIN
        while self._subscription.backlog.has_free and (
            taken := self._subscription.lease(self.consumer, TAKE, lease)
        ):
            for owed in taken:
                self._append(owed)

    def _append(self, owed: Owed) -> None:
        size = len(owed.message.data)
        if self._file and self._file.size + 1 + size > self._max_bytes:
            self._finish()
        if not self._file:
            self._file = File(self._clock())
            self._set_timer(self._seconds)
        self._file.size += size + (1 if self._file.messages else 0)
        self._file.messages.append(owed)
        if len(self._file.messages) == self._config.max_messages:
            self._finish()

    def _finish_if_due(self) -> None:
        if not self._file:
            return
        remaining = self._file.opened + self._seconds - self._clock()
        if remaining > 0:
            self._set_timer(remaining)
        elif self._subscription.is_out("queue"):
            self._set_timer(OUTAGE_PAUSE)
        else:
            self._finish()

    def _set_timer(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._finish_if_due)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _finish(self) -> None:
        """End the file, and start to write it."""
        self._stop_timer()
        if self._file:
            upload = asyncio.create_task(self._write(self._file))
            self._file = None
            # The event loop keeps only weak references to tasks.
            self._uploads.add(upload)
            upload.add_done_callback(self._uploads.discard)

    async def _write(self, file: File) -> int:
        """Write a file, settle its messages, and return the status of the answer."""
        name = object_name(self._config, file.opened, str(uuid.uuid4()))
        status = await asyncio.to_thread(
            self._buckets.write, self._config.bucket, name, file.body()
        )
        self._note_state(status)
        ack_ids = [self._subscription.backlog.ack_id(owed) for owed in file.messages]
        if _is_written(status):
            self._subscription.acknowledge(ack_ids)
            for owed in file.messages:
                self._exported(self._subscription.name.rpartition("/")[2], owed.message)
        else:
            self._subscription.modify_deadline(ack_ids, 0)
        return status

    def _note_state(self, status: int) -> None:
        """Show in the settings whether the bucket takes files; a passing fault changes nothing."""
        settings = self._subscription.settings
        if not self.serves(settings):
            return
        if _is_written(status):
            settings.cloud_storage_config.state = State.ACTIVE
            settings.state = types.Subscription.State.ACTIVE
        elif status in _REFUSALS:
            settings.cloud_storage_config.state = _REFUSALS[status]
            settings.state = types.Subscription.State.RESOURCE_ERROR


def _without_state(config: Any) -> Any:
    copy = type(config)()
    copy.CopyFrom(config)
    copy.ClearField("state")
    return copy


def _is_written(status: int) -> bool:
    return 200 <= status < 300
