"""The pause of all guards, on any machine."""

from collections.abc import Mapping
from dataclasses import dataclass

from mcloud.clouds.ports import Site
from mcloud.documents import Kind
from mcloud.failover import shared_notes


@dataclass(frozen=True)
class Pause(shared_notes.Note):
    paused: bool
    by: str
    why: str


KIND, KEY = Kind("guard", Pause), "pause"


def tell(
    sites: Mapping[str, Site], *, paused: bool, by: str, why: str, at: float, seconds: float
) -> dict[str, str]:
    """Pause or resume all guards. Return the sites that could not store it, and the reasons."""
    note = Pause(paused=paused, by=by, why=why, at=at)
    return shared_notes.write(sites, KIND, KEY, lambda before: note, seconds)


def paused(found: Mapping[str, Pause]) -> str:
    """Return who paused the guards and why, or an empty string if they are not paused. ``found`` is
    what ``shared_notes`` read.
    """
    note = found.get(KEY)
    if note is None or not note.paused:
        return ""
    return f"by {note.by}" + (f": {note.why}" if note.why else "")
