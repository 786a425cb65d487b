"""Times and durations of protobuf as numbers."""

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp


def to_seconds(time: Timestamp | Duration) -> float:
    """Return a duration, or a time since 1970, in seconds."""
    return float(time.seconds + time.nanos / 1e9)
