"""The watermark: positions up to which every site had all trades, in a file beside the spool.

It outlives a damaged spool. An old watermark is still true, because delivered trades stay
delivered. It only causes the cursor to fetch more trades again.
"""

import json
import zlib
from collections.abc import Sequence
from pathlib import Path

from mcloud import files
from mcloud.documents import Damaged, read_text
from mcloud.producer.cursor import Position


def write(path: Path, positions: Sequence[Position]) -> None:
    """Replace the file as a whole, or raise McloudError and leave the old file unchanged."""
    text = json.dumps(positions)
    files.write(path, f"{_checksum(text)} {text}\n")


def read(path: Path) -> list[Position]:
    """Return the positions that were last written, or none if the file is missing or damaged."""
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
