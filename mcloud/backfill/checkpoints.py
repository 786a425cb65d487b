"""The files that have been loaded into each site, so that a backfill continues where it stopped."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from mcloud import files
from mcloud.backfill.dumps import Dump
from mcloud.documents import Damaged, encode, read_text


@dataclass(frozen=True)
class LoadedDump:
    """A file that was loaded into a site."""

    name: str
    """Name of the file, and the symbol in the form that shows its market."""
    content: str
    """Identifies the content of the file: its SHA-256, or its size and tag."""
    site: str
    """Identifies the site: the digest of the names of its resources."""


class Checkpoints:
    """The files that were loaded, one line each. Lines that cannot be read are ignored."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._loaded: dict[tuple[str, str], LoadedDump] = {}
        for line in path.read_text(errors="replace").splitlines() if path.exists() else ():
            found = read_text(LoadedDump, line, str(path))
            if not isinstance(found, Damaged):
                self._loaded[found.name, found.site] = found

    def has(self, dump: Dump, content: str, site: str) -> bool:
        """Return whether this content of a file was loaded into a site."""
        found = self._loaded.get((_name(dump), site))
        return found is not None and found.content == content

    def note(self, dump: Dump, content: str, site: str) -> None:
        """Note that a file was loaded into a site."""
        loaded = LoadedDump(_name(dump), content, site)
        files.append(self._path, f"{json.dumps(encode(loaded))}\n")
        self._loaded[loaded.name, site] = loaded


def identity(resources: object) -> str:
    """Return a short text that changes with the resources of a site."""
    return hashlib.sha256(str(resources).encode()).hexdigest()[:16]


def _name(dump: Dump) -> str:
    return f"{dump.stored_symbol} {dump.name}"
