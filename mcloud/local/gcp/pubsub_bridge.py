"""A Cloud Storage subscription for a Pub/Sub that has none, such as Google's emulator.

The bridge pulls a usual subscription there and writes the objects that a Cloud Storage subscription
would write. A message is acknowledged when the object that contains it is complete. If the object
cannot be written, its messages are released and pulled again after a pause, so that they are kept
by Pub/Sub only.
"""

import asyncio
import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.json_format import ParseDict
from google.pubsub_v1.types import pubsub as types

from mcloud.backoff import grown
from mcloud.local.gcp.pubsub_export import Buckets, file_limits
from mcloud.local.gcp.pubsub_export_rules import complete_export, object_name
from mcloud.local.gcp.rpc import Refusal

POLL: Final = 0.2  # seconds between two pulls that find nothing
CALL_SECONDS: Final = 10.0  # timeout of a call
LEASE_SECONDS: Final = 60  # a lease that is not extended ends after this
EXTEND_SECONDS: Final = 20.0  # seconds between two extensions
PULLED: Final = 1_000  # maximum number of messages of a pull, and of acknowledgements in a call
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # seconds after a failure

_SUBSCRIBER: Final = "/google.pubsub.v1.Subscriber"


@dataclass(frozen=True)
class BridgeOptions:
    """Options of a bridge."""

    pubsub: str
    """Address of Pub/Sub, as HOST:PORT."""
    subscription: str
    """Full name of the subscription that is pulled."""
    config: dict[str, Any]
    """Fields of the ``CloudStorageConfig``, in the JSON of Google's API."""

    def encode(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> "BridgeOptions":
        return cls(**json.loads(text))


@dataclass(slots=True)
class _File:
    """The messages of one object; ``opened`` and ``extended`` are in seconds since the epoch."""

    opened: float
    extended: float
    messages: list[Any] = field(default_factory=list)
    ack_ids: list[str] = field(default_factory=list)
    size: int = 0


class Bridge:
    """The bridge of one subscription.

    Args:
        options: what to pull, and the objects to write.
        buckets: Where objects are written.
        clock: Seconds since the epoch.
        exported: Called for every written message; see ``PubSub``.
        longest: See ``PubSub``.
    """

    def __init__(
        self,
        options: BridgeOptions,
        buckets: Buckets,
        clock: Callable[[], float],
        exported: Callable[[str, Any], None],
        longest: float | None = None,
    ) -> None:
        self._name = options.subscription
        self._buckets = buckets
        self._clock = clock
        self._exported = exported
        self._config = ParseDict(options.config, types.CloudStorageConfig.pb()())
        complete_export(self._config)
        self._seconds, self._max_bytes = file_limits(self._config, longest)
        self._file: _File | None = None
        self._working = asyncio.Lock()
        channel = grpc.aio.insecure_channel(options.pubsub)
        self._pull = _call(channel, "Pull", types.PullRequest, types.PullResponse.pb())
        self._acknowledge = _call(channel, "Acknowledge", types.AcknowledgeRequest, Empty)
        self._modify = _call(channel, "ModifyAckDeadline", types.ModifyAckDeadlineRequest, Empty)

    async def run_forever(self) -> None:
        """Pull and write until cancelled."""
        failures = 0
        while True:
            pause = 0.0
            try:
                async with self._working:
                    found = await self._collect()
                    await self._finish_if_due()
                failures = 0
                pause = 0.0 if found else min(POLL, self._seconds)
            except (grpc.aio.AioRpcError, Refusal):
                failures += 1
                pause = grown(FIRST_PAUSE, failures - 1, LONGEST_PAUSE)
            await asyncio.sleep(pause)

    async def close(self) -> None:
        """Release what is not written, so that the next bridge can pull it at once."""
        file, self._file = self._file, None
        if file:
            with suppress(grpc.aio.AioRpcError):  # or the leases end by themselves
                await self._set_leases(file.ack_ids, 0)

    async def flush(self) -> None:
        """Write everything that was published before the call.

        Raises:
            Refusal: some messages could not be pulled or written.
        """
        async with self._working:
            try:
                while await self._collect():
                    continue
                await self._finish()
            except grpc.aio.AioRpcError as error:
                raise Refusal(
                    grpc.StatusCode.UNAVAILABLE,
                    f"{self._name} cannot be pulled: {error.details()}",
                ) from error

    async def _collect(self) -> int:
        """Pull once, and return the number of messages."""
        answer = await self._pull(
            types.PullRequest.pb()(
                subscription=self._name, max_messages=PULLED, return_immediately=True
            )
        )
        for received in answer.received_messages:
            size = len(received.message.data)
            if self._file and self._file.size + 1 + size > self._max_bytes:
                await self._finish()
            if not self._file:
                self._file = _File(self._clock(), self._clock())
            self._file.size += size + (1 if self._file.messages else 0)
            self._file.messages.append(received.message)
            self._file.ack_ids.append(received.ack_id)
            if len(self._file.messages) == self._config.max_messages:
                await self._finish()
        await self._extend_leases()
        return len(answer.received_messages)

    async def _extend_leases(self) -> None:
        if self._file and self._clock() - self._file.extended >= EXTEND_SECONDS:
            await self._set_leases(self._file.ack_ids, LEASE_SECONDS)
            self._file.extended = self._clock()

    async def _finish_if_due(self) -> None:
        if self._file and self._clock() - self._file.opened >= self._seconds:
            await self._finish()

    async def _finish(self) -> None:
        """Write the file, and settle its messages."""
        file, self._file = self._file, None
        if file is None:
            return
        name = object_name(self._config, file.opened, str(uuid.uuid4()))
        body = b"\n".join(message.data for message in file.messages)
        bucket = self._config.bucket
        status = await asyncio.to_thread(self._buckets.write, bucket, name, body)
        if not 200 <= status < 300:
            await self._set_leases(file.ack_ids, 0)
            raise Refusal(
                grpc.StatusCode.UNAVAILABLE,
                f"{self._name} could not write to the bucket {bucket}: HTTP {status}",
            )
        for ack_ids in _parts(file.ack_ids):
            await self._acknowledge(
                types.AcknowledgeRequest.pb()(subscription=self._name, ack_ids=ack_ids)
            )
        for message in file.messages:
            self._exported(self._name.rpartition("/")[2], message)

    async def _set_leases(self, ack_ids: Sequence[str], seconds: int) -> None:
        for part in _parts(ack_ids):
            await self._modify(
                types.ModifyAckDeadlineRequest.pb()(
                    subscription=self._name, ack_ids=part, ack_deadline_seconds=seconds
                )
            )


def _parts(ack_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for begin in range(0, len(ack_ids), PULLED):
        yield ack_ids[begin : begin + PULLED]


def _call(channel: Any, method: str, request: Any, response: Any) -> Callable[[Any], Any]:
    call = channel.unary_unary(
        f"{_SUBSCRIBER}/{method}",
        request_serializer=request.pb().SerializeToString,
        response_deserializer=response.FromString,
    )
    return lambda asked: call(asked, timeout=CALL_SECONDS)
