"""Sentences about a backfill: its files, its estimate, its progress and its result."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import groupby

from mcloud.backfill.dumps import Dump
from mcloud.backfill.estimate import BackfillEstimate
from mcloud.backfill.gaps import FilledGaps
from mcloud.backfill.libraries import FoundDump
from mcloud.backfill.run import DumpProblem, Outcome, Plan, Progress
from mcloud.cost.words import usd
from mcloud.durations import duration
from mcloud.market.ids import Ids
from mcloud.replication.verify_report import VerifyReport

NAMED = 20  # ranges of ids, rows and days that are named one by one


def plan_lines(plan: Plan, library: str) -> list[str]:
    """Return the files that are to be loaded."""
    size = sum(each.size for each in plan.load)
    lines = [f"{_files(plan.load)} to load, {_size(size)}, from {library}"]
    if plan.known:
        lines.append(f"{_files(plan.known)} loaded before")
    return lines


def estimate_lines(made: BackfillEstimate) -> list[str]:
    """Return the work that files of this size take, or nothing if there are none."""
    if not made.files:
        return []
    costs = "; ".join(
        f"{name} {usd(each.once)} once and {usd(each.monthly)} a month"
        for name, each in made.sites.items()
    )
    return [
        f"estimate: {made.trades:,} trades, up to {made.candles:,} candles,"
        f" {duration(made.seconds)} and the time of the downloads",
        f"estimate at list price, before free tiers: {costs}",
    ]


def progress_words(progress: Progress) -> str:
    """Return the progress of a backfill."""
    elapsed = time.monotonic() - progress.begun
    words = [f"{progress.files_done:,} of {progress.files:,} files"]
    if progress.trades:
        words.append(f"{progress.trades:,} trades, {progress.trades / elapsed:,.0f}/s")
    words.append(f"{_size(progress.bytes_done)} of {_size(progress.bytes)}")
    if progress.files_done:
        left = elapsed * (progress.files - progress.files_done) / progress.files_done
        words.append(f"about {duration(left)} left")
    return " · ".join(words)


@dataclass(frozen=True)
class BackfillResult:
    """The result of a backfill."""

    outcome: Outcome
    filled: FilledGaps = field(default_factory=FilledGaps)
    report: VerifyReport | None = None
    """The sites afterwards; None if there was nothing to verify."""


def outcome_lines(outcome: Outcome) -> list[str]:
    """Return what the files had, and what was written."""
    if not outcome.files:
        return []
    done = outcome.loaded
    lines = [f"files loaded: {outcome.files:,}, with {done.trades:,} trades"]
    for name in sorted({*done.candles, *done.blocks}):
        lines.append(
            f"{name}: {done.candles[name]:,} candles written, {done.blocks[name]:,} raw objects"
        )
    if outcome.unchecked:
        lines.append(f"files without a published checksum, not checked: {outcome.unchecked:,}")
    return lines


def problems(plan: Plan, result: BackfillResult | None, today: date | None = None) -> list[str]:
    """Return everything that was not loaded, or is in doubt."""
    found = [*_absent(plan.absent, today or datetime.now(UTC).date()), *_grouped(plan.problems)]
    if result is not None:
        loaded = result.outcome.loaded
        found += [*_grouped(result.outcome.problems), *loaded.disagreements]
        if more := loaded.disputed - len(loaded.disagreements):
            found.append(f"{more:,} more trades differ from those of a site")
        found += (f"left as it is: {each}" for each in loaded.unchanged)
        found += result.filled.problems
    return found


def result_lines(result: BackfillResult) -> list[str]:
    """Return what the exchange had, and the verdict on the sites."""
    lines = []
    if result.filled.fetched:
        lines.append(f"{result.filled.fetched:,} missing ids were fetched from the exchange")
    report = result.report
    if report is None:
        return ["no file was loaded, so there is nothing to verify"]
    if report.ok:
        return [*lines, "verified: the sites are equal, and no id is missing between their trades"]
    lacking = sum(each.trades for each in report.of("incomplete"))
    if lacking:
        lines.append(f"{lacking:,} ids are missing at all sites: {_named(report)}")
    others = sorted({each.kind for each in report.findings} - {"incomplete"})
    if others:
        lines.append(f"verification has found: {', '.join(others)}")
    if others == ["disputed"] and not lacking:
        first = report.findings[0]
        fix = f"`mcloud resolve {first.symbol} {first.runs[0][0]}` to choose between two contents"
    else:
        fix = "`mcloud verify --repair` to fix it"
    return [*lines, f"run `mcloud verify` to see everything, and {fix}"]


@dataclass(frozen=True)
class BackfillDocument:
    """A backfill as JSON."""

    files: int
    """Number of files that were to be loaded; ``bytes`` is their size."""
    bytes: int
    loaded_before: int
    estimated_trades: int
    estimated_candles: int
    estimated_seconds: float
    estimated_usd: Mapping[str, float]
    """Cost of the requests at each site."""
    estimated_usd_monthly: Mapping[str, float]
    """Cost of the storage at each site."""
    files_loaded: int | None
    """Number of files that were loaded. None if nothing was to be done."""
    trades: int | None
    candles_written: Mapping[str, int]
    objects_written: Mapping[str, int]
    fetched: int
    """Number of ids that were fetched from the exchange."""
    problems: Sequence[str]
    verified: bool | None
    """Whether the sites are equal and complete over these days; None if they were not verified."""


def document(plan: Plan, made: BackfillEstimate, result: BackfillResult | None) -> BackfillDocument:
    outcome = result.outcome if result else None
    done = outcome.loaded if outcome else None
    return BackfillDocument(
        files=len(plan.load),
        bytes=made.bytes,
        loaded_before=len(plan.known),
        estimated_trades=made.trades,
        estimated_candles=made.candles,
        estimated_seconds=round(made.seconds, 1),
        estimated_usd={name: float(each.once) for name, each in made.sites.items()},
        estimated_usd_monthly={name: float(each.monthly) for name, each in made.sites.items()},
        files_loaded=outcome.files if outcome else None,
        trades=done.trades if done else None,
        candles_written=dict(done.candles) if done else {},
        objects_written=dict(done.blocks) if done else {},
        fetched=result.filled.fetched if result else 0,
        problems=problems(plan, result),
        verified=result.report.ok if result and result.report else None,
    )


def _grouped(found: Iterable[DumpProblem]) -> Iterator[str]:
    """Yield one sentence for all files that have the same problem."""
    by_reason: dict[str, list[Dump]] = {}
    for each in found:
        by_reason.setdefault(each.reason, []).append(each.dump)
    for reason, dumps in by_reason.items():
        first, *others = sorted(dumps)
        more = f" and {len(others):,} more file{'s' * (len(others) != 1)}" if others else ""
        yield f"{first}{more}: {reason}"


def _absent(dumps: Iterable[Dump], today: date) -> Iterator[str]:
    for symbol, days in groupby(dumps, key=lambda dump: dump.stored_symbol):
        dates = Ids((each.first.toordinal(), each.first.toordinal()) for each in days)
        for first, last in dates.runs:
            when = f"{date.fromordinal(first)}"
            if last > first:
                when += f" to {date.fromordinal(last)} ({last - first + 1:,} days)"
            recent = today - timedelta(1) <= date.fromordinal(last)
            yield f"{symbol}: there is no file of {when}" + (
                "; it may not be published yet" if recent else ""
            )


def _named(report: VerifyReport) -> str:
    runs = [(each.symbol, *run) for each in report.of("incomplete") for run in each.runs]
    named = ", ".join(
        f"{symbol} {a}" if a == b else f"{symbol} {a} to {b}" for symbol, a, b in runs[:NAMED]
    )
    more = f" and {len(runs) - NAMED:,} more ranges" if len(runs) > NAMED else ""
    return f"{named}{more}"


def _files(found: Sequence[FoundDump]) -> str:
    return f"{len(found):,} file{'s' * (len(found) != 1)}"


def _size(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB"
