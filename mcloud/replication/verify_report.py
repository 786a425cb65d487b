"""The report of a comparison of sites."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from mcloud.market.ids import Ids, Run
from mcloud.replication.hour_digest import HourWindow

FindingKind = Literal[
    "missing",  # a candle that the site lacks and another site has
    "different",  # a candle with fewer trades than another site has for that minute
    "disputed",  # trade ids with two contents, and nothing proves which is right
    "misplaced",  # a candle with trades that belong to another minute, as the raw trades prove
    "wrong",  # a candle that contradicts its raw trades
    "orphaned",  # raw trades that are in no candle
    "unarchived",  # trades that the site's raw archive lacks
    "incomplete",  # trades that no site has, neither raw nor in a candle
    "damaged",  # a candle or raw object that cannot be read or does not match its name
    "unmarked",  # a candle without the version or the time that its store keeps with it
    "misfiled",  # a raw object in the folder of another hour or symbol than that of its trades
]
KINDS: tuple[FindingKind, ...] = get_args(FindingKind)


@dataclass(frozen=True)
class Finding:
    """A difference or an error that a comparison found."""

    kind: FindingKind
    symbol: str
    site: str = ""
    """Name of the site; empty if the finding concerns all sites."""
    start: int = 0
    """Start of the minute for a candle, otherwise of the hour, in ms since 1970."""
    runs: tuple[Run, ...] = ()
    """Trade ids that the finding is about."""
    key: str = ""
    """Key of the raw object, if the finding is about one."""
    elsewhere: tuple[str, ...] = ()
    """Names of the sites that have the data that is missing here."""
    why: str = ""
    contents: tuple[str, ...] = ()
    """Contents of the first id, one line for each; empty if there is no contradiction."""
    hours: tuple[int, ...] = ()
    """Starts of the hours that hold ids with two contents, in ms since 1970."""

    @property
    def trades(self) -> int:
        return Ids(self.runs).count


@dataclass
class Tally:
    """Number and size of what a site has in the window."""

    candles: int = 0
    objects: int = 0
    bytes: int = 0
    blocks: int = 0
    """Number of objects that are blocks."""
    pending: int = 0
    """Number of objects whose trades compaction would put into blocks now."""
    pending_since: int | None = None
    """Start of the earliest hour with such an object, in ms since 1970."""
    exporting: int = 0
    """Number of trades in recent candles that an export service has not written yet."""
    exporting_since: int | None = None
    """Start of the earliest of these candles, in ms since 1970."""
    foreign: int = 0
    """Number of objects in the archive that mcloud did not write. They are left unchanged."""
    trades: int = 0
    """Number of trades in the candles."""
    voids: int = 0
    """Number of voids in the candles."""


@dataclass(frozen=True)
class VerifyReport:
    """The result of ``mcloud verify``."""

    what: tuple[str, ...]
    window: HourWindow
    deep: bool
    symbols: tuple[str, ...]
    sites: Mapping[str, Tally]
    findings: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.findings

    def of(self, kind: FindingKind, site: str | None = None) -> list[Finding]:
        """Return the findings of a kind. If a site is given, return only those that concern it."""
        return [
            each
            for each in self.findings
            if each.kind == kind and (site is None or each.site in ("", site))
        ]

    def equal(self, site: str) -> int:
        """Return the number of the site's candles that are correct."""
        kinds = ("different", "disputed", "misplaced", "wrong")
        off = {
            (each.symbol, each.start)
            for each in self.findings
            if each.kind in kinds and each.site in ("", site)
        }
        return self.sites[site].candles - len(off)


def confirmed(first: Iterable[Finding], second: Iterable[Finding]) -> list[Finding]:
    """Return the findings of both of two surveys. Other findings were data still in transit."""
    again = {_identity(each): Ids(each.runs) for each in second}
    found = []
    for each in first:
        if _identity(each) not in again:
            continue
        runs = tuple(Ids(each.runs).common(again[_identity(each)]).runs)
        if runs or not each.runs:
            found.append(replace(each, runs=runs))
    return found


def _identity(finding: Finding) -> tuple[str, str, str, int, str]:
    return finding.kind, finding.symbol, finding.site, finding.start, finding.key
