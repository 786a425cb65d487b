"""The audit log of moves: who moved the traffic, when, why, from which site to which. Append-only.

On this machine, a line of ``audit.jsonl`` is on the disk before its step is complete. If the disk
refuses the line, it is kept in memory and written with the next entry that the disk accepts. Each
site that answers stores every entry under its own key, and keeps the newest ones.
"""

import getpass
import json
import os
import socket
import time
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from mcloud import best_effort, files
from mcloud.clouds.ports import Control, ControlRecord, Site
from mcloud.deadline import gather
from mcloud.documents import OTHER_TEXTS, Damaged, Kind, Time, decode, parse, sound
from mcloud.failover.journal import MoveStep

DEADLINE = 5.0  # seconds
KEPT = 1000
"""Number of entries on a site, for some 150 moves. Copying missing entries between the sites reads
all of them, which takes a second.
"""
AT_ONCE = 50
"""Maximum number of old entries deleted at once. A move adds far fewer."""

AuditStep = (
    MoveStep
    | Literal[
        "begin",
        "catch up",
        "forget debt",
        "guard pause",
        "guard resume",
        "repair document",
        "resolve",
        "silence",
        "unsilence",
    ]
)


@dataclass(frozen=True)
class AuditEntry:
    """One step of a move or of a manual change, in the audit log."""

    id: str
    """Id of the move that the step belongs to."""
    step: Annotated[AuditStep, OTHER_TEXTS]
    by: str
    why: str
    at: Time
    """Time of the entry, in seconds since 1970."""
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)

    @property
    def record(self) -> ControlRecord | None:
        """The control record that the step wrote, or None."""
        found = decode(ControlRecord, self.after.get("record"), "the record")
        return None if isinstance(found, Damaged) else found

    @property
    def key(self) -> str:
        """Key of the entry on a site. All attempts of one step of a move have the same key."""
        return f"{self.id} {self.step}"


ENTRIES = Kind("audit", AuditEntry)
KIND = ENTRIES.name


class Audit:
    """The audit log of a state folder and of these sites; see ``audit_log``."""

    def __init__(self, path: Path, sites: Mapping[str, Site]) -> None:
        self._path = path
        self._sites = sites
        self._unwritten: list[AuditEntry] = []
        """Entries that the disk has not accepted, the oldest first."""

    def write(self, entry: AuditEntry) -> None:
        """Append an entry to the file, with those that the disk refused before."""
        entries = [*self._unwritten, entry]
        is_written = best_effort.attempt(self._path, lambda: self._append(entries))
        self._unwritten = [] if is_written else entries[-KEPT:]

    def share(self, entries: "list[AuditEntry]", sites: "list[str]") -> dict[str, str]:
        """Store the entries on these sites. Return the sites that failed, and the reasons."""

        def keep(site: Site) -> None:
            for entry in entries:
                site.control.add(KIND, entry.key, asdict(entry))
            _forget_oldest(site.control)

        answers = gather({name: partial(keep, self._sites[name]) for name in sites}, DEADLINE)
        return {name: str(each) for name, each in answers.items() if isinstance(each, Exception)}

    def note(self, entry: AuditEntry, *, away: Collection[str] = ()) -> dict[str, str]:
        """Write an entry on this machine, and store it on all sites except those that are ``away``.
        Return the sites that failed, and the reasons.
        """
        self.write(entry)
        return self.note_on_sites(entry, away=away)

    def note_on_sites(self, entry: AuditEntry, *, away: Collection[str] = ()) -> dict[str, str]:
        """Store an entry, which is already written here, as ``note`` does."""
        return self.share([entry], [name for name in self._sites if name not in away])

    def read(self, last: int) -> list[AuditEntry]:
        """Return the last entries of this machine, the oldest first, without damaged lines."""
        return sound(self.found(last))

    def found(self, last: int) -> list[AuditEntry | Damaged]:
        """Return the last entries of this machine, with the damage of each line that cannot be
        read.
        """
        try:
            lines = self._path.read_text(errors="replace").split("\n")
        except FileNotFoundError:
            lines = []
        except OSError as error:
            best_effort.note_refusal(self._path, error, "read")
            lines = []
        numbered = [(number, line) for number, line in enumerate(lines, 1) if line][-last:]
        entries = [_entry(line, f"{self._path}:{number}") for number, line in numbered]
        return [*entries, *self._unwritten][-last:]

    def _append(self, entries: list[AuditEntry]) -> None:
        files.make_private(self._path.parent)
        lines = "".join(json.dumps(asdict(each), sort_keys=True) + "\n" for each in entries)
        files.append(self._path, lines)


def audit_log(state: Path, sites: Mapping[str, Site]) -> Audit:
    """Return the audit log of a ``.mcloud`` folder, and of these sites."""
    return Audit(state / "audit.jsonl", sites)


def own_entry(
    step: AuditStep,
    why: str,
    at: float,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> AuditEntry:
    """Return an entry for a step of this user, which is no part of a move."""
    return AuditEntry(new_id(at), step, operator(), why, at, before or {}, after or {})


def operator() -> str:
    """Return the user and the machine, as the author of an entry."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def level(sites: Mapping[str, Site]) -> None:
    """Copy the entries that any of the sites has to all of them, for a site that was away.

    Raises:
        Unavailable, Refused: one of them does not answer.
    """
    kept = {name: site.control.kept(KIND) for name, site in sites.items()}
    everything = {
        key: each
        for of in kept.values()
        for key, each in of.items()
        if not isinstance(ENTRIES.decode(key, each), Damaged)
    }
    newest = set(sorted(everything)[-KEPT:])  # deleted entries must not return from another site
    for name, site in sites.items():
        for key in newest - kept[name].keys():
            site.control.add(KIND, key, everything[key])


def _entry(line: str, where: str) -> AuditEntry | Damaged:
    return decode(AuditEntry, parse(line, where), where)


def _forget_oldest(control: Control) -> None:
    """Delete the oldest entries of a site. Keys begin with the time."""
    oldest = list(control.kept(KIND, limit=KEPT + AT_ONCE))
    for key in oldest[: max(0, len(oldest) - KEPT)]:
        control.forget(KIND, key)


def new_id(at: float) -> str:
    """Return the id of a move. Ids sort by time, and two ids of one moment differ."""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(at))} {os.urandom(3).hex()}"
