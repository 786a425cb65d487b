"""The table ``[trace]`` of mcloud.toml."""

from dataclasses import dataclass

from mcloud.config import setting
from mcloud.producer.message_log import ONE_IN


@dataclass(frozen=True)
class TraceSettings:
    one_in: int = setting(ONE_IN, least=0)
    """Sampling rate: the spans of one message in this many are recorded. 0 records none."""
    keep_mib: int = setting(64, least=1)
    """Maximum size in MiB of a producer's record of its messages on the disk."""
