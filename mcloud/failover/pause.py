"""Whether the guards, wherever they run, are to do nothing."""

from collections.abc import Mapping
from dataclasses import dataclass

from mcloud.clouds.ports import Site
from mcloud.documents import Kind
from mcloud.failover import notes


@dataclass(frozen=True)
class Pause(notes.Note):
    paused: bool
    by: str
    why: str


KIND, KEY = Kind("guard", Pause), "pause"


def tell(
    sites: Mapping[str, Site], *, paused: bool, by: str, why: str, at: float, seconds: float
) -> dict[str, str]:
    """Have all guards pause, or act again; returns the sites that were not told, and why."""
    note = Pause(paused=paused, by=by, why=why, at=at)
    return notes.write(sites, KIND, KEY, lambda before: note, seconds)


def paused(found: Mapping[str, Pause]) -> str:
    """By whom and why the guards pause, out of what ``notes`` read; empty where they do not."""
    note = found.get(KEY)
    if note is None or not note.paused:
        return ""
    return f"by {note.by}" + (f": {note.why}" if note.why else "")
