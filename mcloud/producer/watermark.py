"""What every site had some time ago, in a small file of its own that outlives a damaged spool.

An old one is as true as a new one, since nothing that was delivered goes away: it only makes the
cursor ask the exchange for more trades again.
"""

import json
import os
import zlib
from collections.abc import Sequence
from pathlib import Path

from mcloud.documents import Damaged, read_text
from mcloud.producer.cursor import Position


def write(path: Path, positions: Sequence[Position]) -> None:
    """Replace the file as a whole, or raise OSError and leave the old one."""
    text = json.dumps(positions)
    fresh = path.with_name(f"{path.name}.tmp")
    with fresh.open("w") as file:
        file.write(f"{_checksum(text)} {text}\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)


def read(path: Path) -> list[Position]:
    """What was written last; nothing where there is no file, or one that is not as written."""
    try:
        checksum, _, text = path.read_text(errors="replace").rstrip("\n").partition(" ")
    except FileNotFoundError:
        return []
    if checksum != _checksum(text):
        return []
    found = read_text(tuple[Position, ...], text, str(path))
    return [] if isinstance(found, Damaged) else list(found)


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"
