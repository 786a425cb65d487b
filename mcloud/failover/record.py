"""The control record across all sites: the record with the highest epoch is valid, and the next one
replaces it.

Two sites have no majority, so every writer reads the result again. If two writers wrote the same
epoch on two sites, every reader picks the same one of the two and writes it in the next epoch. An
old record, on a site that was away or is faulty, has a lower epoch and does not count.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from mcloud.clouds.ports import LAST_EPOCH, ControlRecord, Site
from mcloud.deadline import gather
from mcloud.documents import Damaged
from mcloud.errors import Contention, McloudError, Unavailable, reason_of

ATTEMPTS = 12  # number of lost races after which another cause is assumed
DEADLINE = 5.0  # seconds; a cold start of a cloud's client takes up to two

RecordAnswer = ControlRecord | Damaged | None | Exception
"""A site's copy of the record. None if the site has none yet."""


@dataclass(frozen=True)
class RecordView:
    """The control records of all sites, as they were last read."""

    by_site: Mapping[str, RecordAnswer]
    known: ControlRecord | None = None
    """The newest record that the caller has seen before, from whichever site."""

    @property
    def record(self) -> ControlRecord | None:
        """The valid record."""
        return max(self._records(), key=lambda record: record.rank, default=None)

    @property
    def is_split(self) -> bool:
        """Whether one epoch has two primaries."""
        top = self.record
        return top is not None and any(
            each.epoch == top.epoch and each.primary != top.primary for each in self._records()
        )

    @property
    def answered(self) -> list[str]:
        return [name for name, told in self.by_site.items() if not isinstance(told, Exception)]

    @property
    def readable(self) -> list[str]:
        """Sites that answered with a record that is not damaged, or with none."""
        return [name for name in self.answered if not isinstance(self.by_site[name], Damaged)]

    @property
    def behind(self) -> list[str]:
        """Sites that answered with an older record, or with none."""
        top = self.record
        return [name for name in self.readable if top and _epoch(self.by_site[name]) < top.epoch]

    def _records(self) -> Iterable[ControlRecord]:
        told = (each for each in self.by_site.values() if isinstance(each, ControlRecord))
        return (*told, *((self.known,) if self.known else ()))


@dataclass(frozen=True)
class Advanced:
    """Result of an attempt to write the next record."""

    before: ControlRecord | None
    record: ControlRecord
    """The valid record now."""
    is_ours: bool
    """Whether this attempt wrote it. False if nothing had to change, or another writer was
    first.
    """
    away: Mapping[str, str]
    """Sites without the record, and the reasons."""


def read(
    sites: Mapping[str, Site], seconds: float = DEADLINE, known: ControlRecord | None = None
) -> RecordView:
    """Read the record of all sites at once, within ``seconds``."""
    return RecordView(
        gather({n: partial(_read, site) for n, site in sites.items()}, seconds), known
    )


def advance(
    sites: Mapping[str, Site],
    make: Callable[[ControlRecord | None], ControlRecord | None],
    *,
    seconds: float = DEADLINE,
    known: ControlRecord | None = None,
) -> Advanced:
    """Write the record that ``make`` returns for the valid one, on every site that answers.

    ``make`` may be called several times. If it returns None, the record stays as it is. Its epoch
    is set here.

    Raises:
        Unavailable: no site answers, or none stores it.
        McloudError: the record of every site that answers is damaged, and stays as it is.
        Contention: every attempt lost its race.
    """
    ours: list[ControlRecord] = []
    reached = dict(sites)
    unwritten: dict[str, RecordAnswer] = {}
    first: ControlRecord | None = None
    for attempt in range(ATTEMPTS):
        view = read(reached, seconds, known)
        if not view.answered:
            why = "; ".join(f"{name}: {error}" for name, error in view.by_site.items())
            raise Unavailable(f"no site could report the control record: {why}")
        top = view.record
        first = top if attempt == 0 else first
        if not view.readable:
            why = "; ".join(f"{name}: {view.by_site[name]}" for name in view.answered)
            raise McloudError(f"no site has a control record that can be replaced: {why}")
        # Do not wait again for sites that did not answer. A damaged record stays.
        unwritten |= {n: told for n, told in view.by_site.items() if n not in view.readable}
        reached = {name: reached[name] for name in view.readable}
        # After two concurrent writes, one of the two has to be valid, and every reader writes the
        # same one. If this attempt wrote its record and another record followed, that one was
        # decided later.
        wanted = top if view.is_split else None if ours else make(top)
        if wanted is None:
            if top is None:
                raise ValueError("there is no record to accept")
            view = spread(reached, view, seconds)
            view = replace(view, by_site={**unwritten, **view.by_site})
            return Advanced(first, top, top in ours, _away(sites, view, top))
        if top is not None and top.epoch == LAST_EPOCH:
            raise McloudError(
                f"epoch {top.epoch} of the control record is the highest possible: it was edited",
                remedy="delete the record on every site, and run this again",
            )
        fresh = replace(wanted, epoch=(top.epoch if top else 0) + 1)
        answers = gather(
            {n: partial(s.control.write_record, fresh) for n, s in reached.items()}, seconds
        )
        if all(isinstance(answer, Exception) for answer in answers.values()):
            why = "; ".join(f"{name}: {error}" for name, error in answers.items())
            raise Unavailable(f"no site could store the control record: {why}")
        # A write without an answer in time may have succeeded.
        if any(answer is not False for answer in answers.values()):
            ours.append(fresh)
    raise Contention(f"the control record changed under each of {ATTEMPTS} attempts")


def spread(sites: Mapping[str, Site], view: RecordView, seconds: float = DEADLINE) -> RecordView:
    """Send the valid record to the sites that answered with an older one. Return the resulting
    view.

    The next check repeats failed writes.
    """
    top = view.record
    behind = [name for name in view.behind if name in sites]
    if top is None or not behind:
        return view
    calls = {name: partial(sites[name].control.write_record, top) for name in behind}
    answers = gather(calls, seconds)
    # A site that refuses has a newer record by now, which the next check finds.
    told = {n: top if answer is True else view.by_site[n] for n, answer in answers.items()}
    return replace(view, by_site={**view.by_site, **told})


def _away(sites: Mapping[str, Site], view: RecordView, top: ControlRecord) -> dict[str, str]:
    away = {}
    for name in sites:
        told = view.by_site.get(name)
        if name not in view.by_site:
            away[name] = "it does not answer"
        elif isinstance(told, Exception | Damaged):
            away[name] = str(told) if isinstance(told, Damaged) else reason_of(told)
        elif _epoch(told) < top.epoch:
            away[name] = f"it still has epoch {_epoch(told)}"
    return away


def _epoch(told: RecordAnswer) -> int:
    return told.epoch if isinstance(told, ControlRecord) else 0


def _read(site: Site) -> ControlRecord | Damaged | None:
    return site.control.record()
