"""Opens the notifier that mcloud.toml configures."""

import logging
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from mcloud import files
from mcloud.clouds.ports import Site
from mcloud.config import Config
from mcloud.errors import McloudError
from mcloud.notify.channels import channels
from mcloud.notify.event import Event
from mcloud.notify.ledger import EventLedger
from mcloud.notify.memory import SentMemory
from mcloud.notify.notifier import Notifier
from mcloud.notify.silences import Silences


def open_notifier(config: Config) -> Notifier:
    """Return a notifier for all ``[channels.NAME]``. Without channels it sends nothing.

    Raises:
        ConfigError: a channel's table is invalid; the message names its line. A missing secret and
            an unavailable channel are not errors here. ``Notifier.failures`` reports them.
    """
    return Notifier(channels(config))


def send_once(config: Config, event: Event, seconds: float) -> list[str]:
    """Send an event to all channels, within ``seconds``. Return the failures.

    Raises:
        ConfigError: as ``open_notifier``.
    """
    notifier = open_notifier(config)
    notifier.send(event)
    notifier.close(seconds)
    return notifier.failures()


def open_shared(
    config: Config,
    sites: Mapping[str, Site],
    memory: Path,
    silences: Silences,
    log: logging.Logger,
) -> Notifier:
    """Return a notifier for a watcher, which shares the work with other watchers and obeys
    silences.

    Args:
        memory: path of a file with the last events sent, which lasts across restarts.

    Raises:
        ConfigError: a channel's table is invalid; the message names its line.
    """
    folder = _name_of(config.state)
    by = f"{folder} {os.getpid()} {os.urandom(3).hex()}"
    ledger = EventLedger(sites, folder, by, log=log)
    return Notifier(
        channels(config),
        SentMemory(memory),
        ledger=ledger,
        folder=folder,
        holds_back=silences.holds_back,
    )


def _name_of(state: Path) -> str:
    """Return the unique name of a ``.mcloud`` folder. Create it when it is first needed.

    On a disk that cannot be written, the name lasts as long as the process.
    """
    path = state / "folder"
    known = path.read_text(errors="replace").strip() if path.is_file() else ""
    if known:
        return known
    name = f"{socket.gethostname()[:60]} {os.urandom(4).hex()}"
    with suppress(McloudError):
        files.make_private(state)
        files.write(path, name)
    return name
