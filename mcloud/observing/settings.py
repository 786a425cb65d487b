"""The table ``[monitor]`` of mcloud.toml."""

from dataclasses import dataclass

from mcloud.config import setting
from mcloud.observing.queries import FAST

QUICKEST, SLOWEST = 1.0, 3600.0  # seconds


@dataclass(frozen=True)
class MonitorSettings:
    interval: float = setting(FAST, least=QUICKEST, most=SLOWEST)
    """Seconds between two reads of the figures that change quickly."""
    port: int = setting(9464, least=1, most=65535)
    """Port of ``mcloud metrics --serve``, on 127.0.0.1."""
