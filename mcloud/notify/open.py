"""The notifier that mcloud.toml describes."""

from pathlib import Path

from mcloud.config import Config
from mcloud.notify.channels import channels
from mcloud.notify.memory import Memory
from mcloud.notify.notifier import Notifier


def open_notifier(config: Config, memory: Path | None = None) -> Notifier:
    """One that sends through all ``[channels.NAME]``; without any it sends nowhere.

    Args:
        memory: a file that keeps what was told, for one who starts again and again; without it the
            process remembers by itself.

    Raises:
        ConfigError: a channel's table is not in order, with its line. A missing secret or a channel
            that is away is none: that is for ``Notifier.failures``.
    """
    return Notifier(channels(config), Memory(memory))
