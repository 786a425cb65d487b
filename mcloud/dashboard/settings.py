"""The table ``[monitor]`` of mcloud.toml."""

from dataclasses import dataclass

from mcloud.config.settings import setting
from mcloud.dashboard.parts import FAST

QUICKEST, SLOWEST = 1.0, 3600.0  # seconds


@dataclass(frozen=True)
class MonitorSettings:
    interval: float = setting(FAST, least=QUICKEST, most=SLOWEST)
    """Seconds between two looks at what is quick to change."""
    port: int = setting(9464, least=1, most=65535)
    """Of ``mcloud metrics --serve``, on 127.0.0.1."""
