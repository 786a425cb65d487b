"""What ``[trace]`` in mcloud.toml may say."""

from dataclasses import dataclass

from mcloud.config import setting
from mcloud.producer.trail import ONE_IN


@dataclass(frozen=True)
class TraceSettings:
    one_in: int = setting(ONE_IN, least=0)
    """How many messages share one whose spans are recorded; 0: none are."""
    keep_mib: int = setting(64, least=1)
    """MiB on the disk, at most, for a producer's record of where its messages were."""
