"""Finds documents that cannot be used, on the sites and on this machine, and repairs them.

A repair keeps the document as it was found under ``.mcloud/damaged``, or beside the file. It then
replaces the document by the valid one of the other sites, or removes it if no site has a valid one.
Documents that a newer mcloud wrote are only reported.
"""

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain
from operator import attrgetter
from pathlib import Path

from mcloud import errors, files
from mcloud.clouds.anomalies import ANOMALIES, UNTOLD_ANOMALIES
from mcloud.clouds.heartbeats import HEARTBEATS
from mcloud.clouds.ports import HEARTBEAT, ControlRecord, Heartbeat, Lag, Site
from mcloud.deadline import gather
from mcloud.documents import Damaged, Kind, damaged, decode, encode, read_file, set_aside
from mcloud.failover import debts, pause
from mcloud.failover.audit import ENTRIES, Audit, AuditEntry, own_entry
from mcloud.failover.journal import read_journal
from mcloud.failover.shared_notes import Note
from mcloud.market.candle import MINUTE
from mcloud.notify.ledger import RECORDS
from mcloud.notify.memory import read_told
from mcloud.notify.silences import SILENCES
from mcloud.processor.compaction import COMPACTIONS
from mcloud.processor.envelope_support import SUPPORT
from mcloud.run_states import STATES
from mcloud.runs import KINDS, runs_called

DEADLINE = 10.0  # seconds for a site to list its documents
FOLDER = "damaged"

_KINDS: Mapping[str, tuple[Kind[object], str]] = {
    kind.name: (kind, without)
    for kind, without in (
        (pause.KIND, "the guards act, unless `mcloud guard pause` is run again"),
        (
            debts.KIND,
            "whether that site needs a catch-up is then unknown; `mcloud verify --repair`"
            " compares the sites and copies what one lacks",
        ),
        (Kind("lag", Lag), "the replicator writes it again within seconds"),
        (
            HEARTBEATS,
            "the function writes a heartbeat of each symbol with its next trade, and counts from 0",
        ),
        (ENTRIES, "the log of this machine, audit.jsonl, stays as it is"),
        (ANOMALIES, "`mcloud anomalies scan SYMBOL` finds the anomaly again in the candles"),
        (UNTOLD_ANOMALIES, "nobody is notified of this anomaly"),
        (SUPPORT, "the function notes it again, at the latest in ten minutes"),
        (COMPACTIONS, "the compaction function writes it again within an hour"),
        (RECORDS, "an alert that was sent may be sent again"),
        (SILENCES, "nothing is silenced by it"),
    )
}
"""Kinds of documents, each with the consequence of deleting a document of that kind."""


_SHARED: tuple[Kind[object], ...] = (pause.KIND, debts.KIND, ENTRIES)
"""Kinds of documents that are the same on all sites."""


@dataclass(frozen=True)
class FoundDamage:
    """A damaged document, and its repair."""

    site: str
    """Name of the site; empty for a document on this machine."""
    damaged: Damaged
    plan: str
    """The effect of ``repair``, or the reason why there is none."""
    repair: Callable[[], None] | None
    """Function that repairs the document; None if it must be left unchanged."""
    is_lost_then: bool = False
    """Whether the repair loses a document that all sites share, because no site that answers has an
    intact copy."""

    @property
    def where(self) -> str:
        return f"{self.site}: {self.damaged.where}" if self.site else self.damaged.where

    @property
    def document(self) -> "FoundDamageDocument":
        return FoundDamageDocument(
            site=self.site or None,
            document=self.damaged.where,
            what=self.damaged.what,
            newer=self.damaged.is_newer,
            repair=self.plan if self.repair else None,
            why_none=None if self.repair else self.plan,
        )

    def repair_and_record(self, audit: Audit, at: float, away: Collection[str]) -> None:
        """Repair the document, and record that in the audit log and on all sites that are not
        ``away``.

        Raises:
            McloudError: the document cannot be repaired, or there is no repair.
        """
        if self.repair is None:
            raise errors.McloudError(f"{self.where} cannot be repaired: {self.plan}")
        was, became = {"document": self.where}, {"done": self.plan}
        entry = own_entry("repair document", self.damaged.what, at, before=was, after=became)
        # On this machine, the entry is written before its effect.
        audit.write(entry)
        self.repair()
        audit.note_on_sites(entry, away=away)


@dataclass(frozen=True)
class FoundDamageDocument:
    """A damaged document as JSON."""

    site: str | None
    """Name of the site. None for a document on this machine."""
    document: str
    what: str
    """The problem."""
    newer: bool
    """Whether a newer version of mcloud wrote the document."""
    repair: str | None
    """The effect of a repair. None if there is none."""
    why_none: str | None
    """Reason why there is no repair."""


@dataclass(frozen=True)
class _Broken:
    """A damaged document of a site."""

    kind: Kind[object]
    key: str
    damaged: Damaged


@dataclass(frozen=True)
class _Documents:
    """The documents of a site."""

    record: ControlRecord | Damaged | None
    heartbeats: tuple[tuple[Damaged, Heartbeat | None], ...]
    """Damaged heartbeats, each with its restored content."""
    broken: tuple[_Broken, ...]
    intact: Mapping[tuple[str, str], Note | AuditEntry]
    """Documents that all sites share, by kind and key."""


def on_sites(sites: Mapping[str, Site], state: Path) -> tuple[list[FoundDamage], dict[str, str]]:
    """Return the damaged documents of all sites that answer, and why the others do not.

    Args:
        state: the ``.mcloud`` folder, which keeps the documents that a repair replaces.
    """
    answers = gather({name: partial(_read, site) for name, site in sites.items()}, DEADLINE)
    told = {n: each for n, each in answers.items() if not isinstance(each, Exception)}
    away = {n: str(each) for n, each in answers.items() if isinstance(each, Exception)}
    found: list[FoundDamage] = []
    for name, documents in told.items():
        save = partial(_save, state / FOLDER, name)
        found += _record(sites[name], documents, told, save)
        found += [_broken(each, sites[name], told, save) for each in documents.broken]
        found += [_heartbeat(sites[name], *each, save) for each in documents.heartbeats]
    return [_judged(each, away) for each in found], away


def _judged(found: FoundDamage, away: Mapping[str, str]) -> FoundDamage:
    """Return the damage without its repair if this mcloud must not repair it, or cannot repair it
    yet."""
    if found.damaged.is_newer:
        return replace(found, repair=None, plan="none: upgrade this mcloud")
    if found.is_lost_then and away:
        silent = f"{', '.join(away)} {'does' if len(away) == 1 else 'do'} not answer"
        why = f"none yet: {silent}, and may have the valid document"
        return replace(found, repair=None, plan=why)
    return found


def on_disk(state: Path) -> list[FoundDamage]:
    """Return the damaged files under a ``.mcloud`` folder that are read by more than one run."""
    found = [
        FoundDamage(
            "",
            each,
            f"rename it to {Path(each.where).name}.damaged-DATE; mcloud continues without it",
            partial(_move, Path(each.where)),
        )
        for each in damaged(chain(_states(state), files_beside(state)))
    ]
    return [_judged(each, {}) for each in found]


def files_beside(state: Path) -> Iterator[object]:
    """Decode the files of runs and moves, except for ``state.json``."""
    for run in runs_called(state, None, *KINDS):
        yield read_told(run.folder / "told.json")
    for path in sorted((state / "failover").glob("*/*.json")):
        yield read_journal(path)


def _states(state: Path) -> Iterator[object]:
    return (read_file(run.path, STATES[run.kind]) for run in runs_called(state, None, *KINDS))


def _move(path: Path) -> None:
    set_aside(path)


def _read(site: Site) -> _Documents:
    broken: list[_Broken] = []
    intact: dict[tuple[str, str], Note | AuditEntry] = {}
    for kind, _ in _KINDS.values():
        for key, stored in kind.read_all(site.control.kept(kind.name)).items():
            if isinstance(stored.value, Damaged):
                broken.append(_Broken(kind, key, stored.value))
            elif kind in _SHARED and isinstance(stored.value, Note | AuditEntry):
                intact[kind.name, key] = stored.value
    return _Documents(
        site.control.record(),
        tuple(
            (each, restored(site, each))
            for each in damaged(site.control.heartbeats())
            if each.where.startswith(HEARTBEAT)
        ),
        tuple(broken),
        intact,
    )


def _record(
    site: Site, mine: _Documents, told: Mapping[str, _Documents], save: Callable[[Damaged], None]
) -> list[FoundDamage]:
    broken = mine.record
    if not isinstance(broken, Damaged):
        return []
    records = [each.record for each in told.values() if isinstance(each.record, ControlRecord)]
    good = max(records, key=lambda record: record.rank, default=None)
    plan = f"delete it; the first site, {next(iter(told))}, leads until the next failover"
    if good is not None:
        plan = f"replace it with epoch {good.epoch}, in which {good.primary} leads"

    def repair() -> None:
        save(broken)
        site.control.forget_record()
        if good is not None:
            site.control.write_record(good)

    return [FoundDamage(site.name, broken, plan, repair, is_lost_then=good is None)]


def _broken(
    broken: _Broken, site: Site, told: Mapping[str, _Documents], save: Callable[[Damaged], None]
) -> FoundDamage:
    good = _elsewhere(broken, told)
    if good is None:
        plan = f"delete it; {_KINDS[broken.kind.name][1]}"
    else:
        plan = "replace it with the valid document of the other sites"

    def repair() -> None:
        save(broken.damaged)
        site.control.forget(broken.kind.name, broken.key)
        if good is not None:
            site.control.add(broken.kind.name, broken.key, encode(good))

    is_lost = good is None and broken.kind in _SHARED
    return FoundDamage(site.name, broken.damaged, plan, repair, is_lost)


def _elsewhere(broken: _Broken, told: Mapping[str, _Documents]) -> Note | AuditEntry | None:
    """Return the other sites' copy of a document, if all sites keep the same documents."""
    place = (broken.kind.name, broken.key)
    copies = [each.intact[place] for each in told.values() if place in each.intact]
    notes = [each for each in copies if isinstance(each, Note)]
    if notes:
        return max(notes, key=attrgetter("rank"))
    return next(iter(copies), None)


def restored(site: Site, broken: Damaged) -> Heartbeat | None:
    """Return a damaged heartbeat with its valid fields, and the others from the candles.

    Lost counts begin at 0. Return None if the site has no candle of the symbol.
    """
    symbol = broken.where.removeprefix(HEARTBEAT)
    try:
        last = site.candles.last(symbol)
    except errors.DamagedData:
        return None
    if last is None:
        return None
    written = min((last.start + MINUTE) / 1000, time.time())
    found = decode(Heartbeat, asdict(Heartbeat(symbol, last.start, 0, 0, written)), broken.where)
    fields = broken.found.items() if isinstance(broken.found, Mapping) else ()
    for name, value in fields:
        if isinstance(found, Heartbeat) and name != "symbol":
            changed = decode(Heartbeat, {**asdict(found), name: value}, broken.where)
            found = found if isinstance(changed, Damaged) else changed
    return found if isinstance(found, Heartbeat) else None


def _heartbeat(
    site: Site, broken: Damaged, good: Heartbeat | None, save: Callable[[Damaged], None]
) -> FoundDamage:
    def repair() -> None:
        save(broken)
        site.control.forget_heartbeat(broken.where.removeprefix(HEARTBEAT))
        if good is not None:
            site.control.beat([good])

    plan = "delete it; the function writes one with the next trade, and its counts begin at 0"
    if good is not None:
        plan = (
            "keep its valid fields, and take the others from the newest candle; lost counts "
            "begin at 0"
        )
    return FoundDamage(site.name, broken, plan, repair)


def _save(folder: Path, site: str, broken: Damaged) -> None:
    """Keep a document before it is replaced.

    Raises:
        McloudError: it cannot be kept; then it must stay.
    """
    try:
        text = json.dumps(broken.found, default=ascii)
    except (TypeError, ValueError, RecursionError):
        text = ascii(broken.found)
    what = {"site": site, "document": broken.where, "what": broken.what, "found": text}
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    name = "".join(each if each.isalnum() else "-" for each in f"{site} {broken.where}")
    files.make_private(folder)
    files.write(folder / f"{stamp}-{name[:100]}.json", json.dumps(what, indent=2) + "\n")
