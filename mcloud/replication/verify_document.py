"""The document of ``mcloud verify -o json``: the report, and the repair if there is one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mcloud.documents import OMITTED
from mcloud.market.candle import to_timestamp
from mcloud.market.ids import Run
from mcloud.replication.hour_digest import ALL_TIME
from mcloud.replication.repair import Repaired, RepairPlan
from mcloud.replication.verify_report import KINDS, Finding, FindingKind, VerifyReport


@dataclass(frozen=True)
class FindingDocument:
    kind: FindingKind
    symbol: str
    site: str | None
    """Name of the site. None if the finding concerns all sites."""
    timestamp: str
    """Start of the minute for a candle, otherwise of the hour."""
    ids: tuple[Run, ...]
    """Trade ids that the finding is about."""
    trades: int
    """Number of these ids."""
    object: str | None
    """Key of the raw object, if the finding is about one."""
    elsewhere: tuple[str, ...]
    """Names of the sites that have the data that is missing here."""
    why: str
    contents: tuple[str, ...]
    """Contents of the first id, one line for each; empty if there is no contradiction."""
    hours: tuple[str, ...]
    """Hours that hold ids with two contents."""


@dataclass(frozen=True)
class VerifiedSite:
    """The data of a site in the window, and the number of findings of each kind."""

    candles: int
    trades: int
    """Number of trades in the candles."""
    voids: int
    """Number of voids in the candles."""
    equal: int
    """Number of the candles that are correct."""
    raw_objects: int
    raw_bytes: int
    raw_blocks: int
    raw_pending: int
    """Number of objects whose trades compaction would put into blocks now."""
    raw_pending_since: str | None
    """The earliest hour with such an object."""
    raw_exporting: int
    """Number of trades in recent candles that an export service has not written yet."""
    raw_exporting_since: str | None
    """The earliest minute with such a trade."""
    foreign_objects: int
    """Number of objects in the archive that mcloud did not write."""
    missing: int
    different: int
    disputed: int
    misplaced: int
    wrong: int
    orphaned: int
    unarchived: int
    incomplete: int
    damaged: int
    unmarked: int
    misfiled: int


@dataclass(frozen=True)
class RepairPlanDocument:
    candles_to_merge: int
    candles_to_rewrite: int
    candles_to_write_again: int
    objects_to_copy: int
    bytes_to_copy: int
    objects_to_replace: int
    objects_to_move: int
    trades_to_fold: int
    trades_to_fetch: int
    exchange_requests: int
    beyond_repair: tuple[str, ...]
    """Findings that this plan cannot repair, with what can repair them."""


@dataclass(frozen=True)
class RepairDocument:
    exchange: str
    """Name and address of the exchange that missing trades come from."""
    exchange_s: float
    """Minimum number of seconds that its rate limit leaves for the requests of the plan."""
    plan: RepairPlanDocument
    done: Repaired | None = None
    """The outcome. None if the plan was only shown."""
    found: tuple[FindingDocument, ...] | None = field(default=None, metadata=OMITTED)
    """The findings before the repair. None if the plan was only shown."""


@dataclass(frozen=True)
class VerifyDocument:
    ok: bool
    what: tuple[str, ...]
    deep: bool
    start: str | None
    end: str | None
    symbols: tuple[str, ...]
    sites: Mapping[str, VerifiedSite]
    findings: tuple[FindingDocument, ...]
    repair: RepairDocument | None = field(default=None, metadata=OMITTED)
    left_out: Mapping[str, str] = field(default_factory=dict, metadata=OMITTED)
    """Sites that do not answer, and the reasons. They were not compared."""


def document(
    report: VerifyReport,
    repair: RepairDocument | None = None,
    left_out: Mapping[str, str] | None = None,
) -> VerifyDocument:
    """Return the document of a report. After a repair, ``report`` is the one that followed it."""
    start, end = report.window
    return VerifyDocument(
        ok=report.ok,
        what=report.what,
        deep=report.deep,
        start=None if start == ALL_TIME.start else to_timestamp(start),
        end=None if end == ALL_TIME.end else to_timestamp(end),
        symbols=report.symbols,
        sites={name: _site(report, name) for name in report.sites},
        findings=finding_documents(report.findings),
        repair=repair,
        left_out=left_out or {},
    )


def finding_documents(findings: Iterable[Finding]) -> tuple[FindingDocument, ...]:
    return tuple(
        FindingDocument(
            kind=each.kind,
            symbol=each.symbol,
            site=each.site or None,
            timestamp=to_timestamp(each.start),
            ids=each.runs,
            trades=each.trades,
            object=each.key or None,
            elsewhere=each.elsewhere,
            why=each.why,
            contents=each.contents,
            hours=tuple(map(to_timestamp, each.hours)),
        )
        for each in findings
    )


def plan_document(plan: RepairPlan) -> RepairPlanDocument:
    rewritten = {
        (each.site, each.symbol, each.start) for each in (*plan.settle, *plan.remake, *plan.rebuild)
    }
    return RepairPlanDocument(
        candles_to_merge=len(plan.merge),
        candles_to_rewrite=len(rewritten),
        candles_to_write_again=len(plan.write_again),
        objects_to_copy=sum(len(each.objects) + len(each.parts) for each in plan.copy),
        bytes_to_copy=sum(each.bytes for each in plan.copy),
        objects_to_replace=len(plan.replace),
        objects_to_move=len(plan.move),
        trades_to_fold=sum(each.trades for each in plan.fold),
        trades_to_fetch=sum(each.ids.count for each in plan.fetch),
        exchange_requests=sum(each.requests for each in plan.fetch),
        beyond_repair=tuple(plan.beyond),
    )


def _site(report: VerifyReport, name: str) -> VerifiedSite:
    tally = report.sites[name]
    since, exporting_since = tally.pending_since, tally.exporting_since
    return VerifiedSite(
        candles=tally.candles,
        trades=tally.trades,
        voids=tally.voids,
        equal=report.equal(name),
        raw_objects=tally.objects,
        raw_bytes=tally.bytes,
        raw_blocks=tally.blocks,
        raw_pending=tally.pending,
        raw_pending_since=None if since is None else to_timestamp(since),
        raw_exporting=tally.exporting,
        raw_exporting_since=None if exporting_since is None else to_timestamp(exporting_since),
        foreign_objects=tally.foreign,
        **{kind: len(report.of(kind, name)) for kind in KINDS},
    )
