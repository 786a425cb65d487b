"""The pause of all guards, on any machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mcloud.clouds.ports import Site
from mcloud.documents import Kind
from mcloud.failover import shared_notes
from mcloud.failover.audit import AuditStep, audit_log, operator, own_entry


@dataclass(frozen=True)
class Pause(shared_notes.Note):
    """The note that the guards are paused, or active again."""

    paused: bool
    by: str
    why: str


KIND, KEY = Kind("guard", Pause), "pause"
DEADLINE = 3.0  # seconds that the sites may take to store it


@dataclass(frozen=True)
class PauseChange:
    """A pause, or its end, as ``mcloud guard`` reports it."""

    paused: bool
    by: str
    away: Mapping[str, str]
    """Sites that could not store it, and the reasons."""


def change(
    sites: Mapping[str, Site], *, paused: bool, by: str, why: str, at: float, seconds: float
) -> dict[str, str]:
    """Pause or resume all guards. Return the sites that could not store it, and the reasons."""
    note = Pause(paused=paused, by=by, why=why, at=at)
    return shared_notes.write(sites, KIND, KEY, lambda before: note, seconds)


def change_and_record(
    sites: Mapping[str, Site], state: Path, *, paused: bool, why: str, at: float
) -> PauseChange:
    """Pause or resume all guards in the name of this user, and record it in the audit log."""
    by = operator()
    away = change(sites, paused=paused, by=by, why=why, at=at, seconds=DEADLINE)
    step: AuditStep = "guard pause" if paused else "guard resume"
    audit_log(state, sites).note(own_entry(step, why, at), away=away)
    return PauseChange(paused, by, away)


def paused(found: Mapping[str, Pause]) -> str:
    """Return who paused the guards and why, or an empty string if they are not paused. ``found`` is
    what ``shared_notes`` read.
    """
    note = found.get(KEY)
    if note is None or not note.paused:
        return ""
    return f"by {note.by}" + (f": {note.why}" if note.why else "")
