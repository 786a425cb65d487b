"""A local backup of everything that mcloud removes from a site, written before the removal.

The file holds one JSON line for each item: ``{"site", "key", "body"}`` for a raw object, with its
bytes in base64, and ``{"site", "candle"}`` for a candle, with its stored fields.
"""

import base64
import json
import os
import threading
import time
from pathlib import Path

from mcloud import files
from mcloud.clouds.ports import StoredCandle


class Backup:
    """A backup file, which the first line creates. Several threads can write to it.

    Args:
        folder: folder of the file. The file is named after the time.
    """

    def __init__(self, folder: Path, clock: float | None = None) -> None:
        at = time.time() if clock is None else clock
        stamp = time.strftime("%Y-%m-%dT%H%M%SZ", time.gmtime(at))
        self.path = folder / f"{stamp}-{os.getpid()}.jsonl"
        self.count = 0
        self._changing = threading.Lock()

    def object(self, site: str, key: str, body: bytes) -> None:
        """Write a raw object to the file.

        Raises:
            McloudError: the file cannot be written; the caller must not remove anything.
        """
        text = base64.b64encode(body).decode("ascii")
        self._write(json.dumps({"site": site, "key": key, "body": text}))

    def candle(self, site: str, stored: StoredCandle) -> None:
        """Write the stored fields of a candle to the file. Raises the same errors as ``object``."""
        self._write(json.dumps({"site": site, "candle": dict(stored.record)}, default=str))

    def _write(self, line: str) -> None:
        with self._changing:
            files.make_private(self.path.parent)
            files.append(self.path, f"{line}\n")
            self.count += 1
