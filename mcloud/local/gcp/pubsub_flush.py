"""A call of mcloud's own that makes Cloud Storage subscriptions write the messages that they have
collected.

Google's service has no such call: there a file ends only at its limits. Tests and the demo cannot
wait that long.
"""

from typing import Any, Final

import grpc
from google.protobuf.empty_pb2 import Empty

from mcloud.errors import LocalError

SERVICE: Final = "mcloud.local.Exports"
METHOD: Final = "Flush"
SECONDS: Final = 120.0  # longer than the server takes to write one object


def flush(endpoint: str) -> None:
    """Write everything that was published before the call to the buckets of the subscriptions.

    Args:
        endpoint: address of the embedded Pub/Sub, as HOST:PORT.

    Raises:
        LocalError: some messages could not be written, or the server does not answer.
    """
    with grpc.insecure_channel(endpoint) as channel:
        call: Any = channel.unary_unary(
            f"/{SERVICE}/{METHOD}",
            request_serializer=Empty.SerializeToString,
            response_deserializer=Empty.FromString,
        )
        try:
            call(Empty(), timeout=SECONDS, wait_for_ready=True)
        except grpc.RpcError as error:
            raise LocalError(
                f"the subscriptions of {endpoint} were not written: {error.details()}"
            ) from error
