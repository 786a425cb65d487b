"""A site whose archive is a folder that several processes can use.

Each object records the process that wrote it.

``python -m replication.folder SOURCE TARGET`` copies forever with the help of other
processes, and prints their ids.
"""

import os
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast
from urllib.parse import quote

import psutil
from producer.sources import trades

from mcloud.archive.raw import Whole
from mcloud.clouds.ports import Site, StoredObject
from mcloud.errors import McloudError
from mcloud.market.archive import ArchiveObject, pack
from mcloud.replication.copier import TRANSFERS, Copier
from mcloud.workers import Workers

OBJECTS = 64


@dataclass
class FolderArchive:
    path: Path
    failing: Exception | None = None
    """Error that processes other than the first one get."""
    owner: int = field(default_factory=os.getpid)

    def get(self, key: str) -> bytes:
        if self.failing and os.getpid() != self.owner:
            raise self.failing
        return (self.path / quote(key, safe="")).read_bytes()

    def put(self, item: ArchiveObject) -> bool:
        file = self.path / quote(item.key, safe="")
        try:
            with file.open("xb") as out:
                out.write(item.body)
        except FileExistsError:
            return False
        file.with_suffix(f".{os.getpid()}").touch()
        return True

    def writers(self) -> set[int]:
        """Return the ids of the processes that wrote to the archive."""
        return {int(file.suffix[1:]) for file in self.path.iterdir() if file.suffix != ".gz"}


@dataclass
class FolderSite:
    of: FolderArchive
    opens_elsewhere: bool = True

    @property
    def archive(self) -> FolderArchive:
        if not self.opens_elsewhere and os.getpid() != self.of.owner:
            raise McloudError("no credentials here")
        return self.of


def filled(path: Path, failing: Exception | None = None) -> tuple[Site, list[Whole]]:
    """Return a site with some objects."""
    path.mkdir()
    archive = FolderArchive(path, failing)
    items = [item for n in range(OBJECTS) for item in pack(trades([n]))]
    for item in items:
        archive.put(item)
    stored = [Whole(StoredObject(item.key, len(item.body), "", None)) for item in items]
    return cast(Site, FolderSite(archive)), stored


def empty(path: Path) -> Site:
    path.mkdir()
    return cast(Site, FolderSite(FolderArchive(path)))


def helpers() -> set[int]:
    """Return the ids of the processes that copy for this one."""
    found = set()
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # the process has ended
            if "mcloud.replication.copier" in child.cmdline():
                found.add(child.pid)
    return found


def main(source: str, target: str) -> None:
    here, objects = filled(Path(source))
    there = empty(Path(target))
    copier = Copier(here, there, Workers(TRANSFERS), processes=1, alone=0)
    while True:
        copier.copy(objects)
        for pid in helpers():
            print(pid, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
