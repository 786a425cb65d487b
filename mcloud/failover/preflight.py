"""Checks before the traffic is moved by hand, and an estimate of the move's effects."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial

from mcloud.canary import Canary, Flight
from mcloud.clock import AHEAD
from mcloud.clouds.access import FAULT, OK, UNKNOWN, WARNING, AccessFinding, CheckState
from mcloud.clouds.observation import prepare, probe_seconds
from mcloud.clouds.ports import SERVICES, ControlRecord, Depth, Lag, Site
from mcloud.config import unknown
from mcloud.deadline import gather
from mcloud.documents import sound
from mcloud.durations import duration
from mcloud.errors import McloudError, reason_of
from mcloud.failover.decide import Debt
from mcloud.failover.newest import compare_newest
from mcloud.failover.settings import GuardSettings

DEADLINE = 8.0  # seconds; a cold start of a cloud's client takes up to two
CANARY = 20.0  # seconds that a canary may take
MINUTE = 60.0
LONGEST = 3600.0  # maximum seconds of candles that are compared

CHECKS = ("health", "canary", "lag", "backlog", "quotas", "debt")
"""Names of the checks that can be overridden."""


@dataclass(frozen=True)
class PreflightCheck:
    check: str
    """One of CHECKS, perhaps with a subject: ``health queue``."""
    state: CheckState
    text: str

    @property
    def subject(self) -> str:
        return self.check.partition(" ")[0]


Quotas = Mapping[str, Callable[[], AccessFinding]]
Answer = float | Flight | Depth | AccessFinding | PreflightCheck
"""Answer to a check: seconds of a probe, a canary, the depth of a queue, a quota, or the check."""


@dataclass(frozen=True)
class MoveEstimate:
    seconds: float
    """Number of seconds for which trades arrive later than usual."""
    messages_behind: int | None
    """Number of messages in the queue of the old site. None if unknown."""


@dataclass(frozen=True)
class Preflight:
    target: str
    primary: str
    """The current primary."""
    epoch: int
    checks: tuple[PreflightCheck, ...]
    away: Mapping[str, str]
    """Sites that do not answer, and the reasons. They get the record when they answer again."""
    estimate: MoveEstimate

    def failed(self, forced: Sequence[str]) -> list[PreflightCheck]:
        """Return the failed checks that prevent the move."""
        return [c for c in self.checks if c.state == FAULT and c.subject not in forced]

    def with_verdict(self, forced: Sequence[str]) -> "JudgedPreflight":
        """Return these checks with their verdict, for a dry run."""
        own = (getattr(self, each.name) for each in fields(self))
        return JudgedPreflight(*own, would_move=not self.failed(forced))


@dataclass(frozen=True, kw_only=True)
class JudgedPreflight(Preflight):
    would_move: bool


def parse_forced(text: str | None) -> tuple[str, ...]:
    """Return the checks named in ``--force``. Raise UsageError for an unknown name."""
    names = tuple(text.replace(",", " ").split()) if text else ()
    for name in names:
        if name not in CHECKS:
            raise unknown("check", name, CHECKS)
    return names


def preflight(
    sites: Mapping[str, Site],
    target: str,
    record: ControlRecord | None,
    away: Mapping[str, str],
    debts: Mapping[str, Debt],
    settings: GuardSettings,
    quotas: Quotas,
    following: float,
) -> Preflight:
    """Run all checks at once, within DEADLINE and CANARY seconds.

    ``following`` is the number of seconds until producers notice the new primary.
    """
    primary = record.primary if record else next(iter(sites))
    site = sites[target]
    calls: dict[str, Callable[[], Answer]] = {
        f"health {each}": partial(probe_seconds, site, each, DEADLINE) for each in SERVICES
    }
    calls["lag"] = partial(_replicas, site, primary, sites.get(primary), settings)
    calls["backlog"] = lambda: site.queue.depth()
    calls |= {f"quotas {name}": ask for name, ask in quotas.items()}
    if primary in sites and primary != target:
        calls["left"] = lambda: sites[primary].queue.depth()
    calls["canary"] = lambda: Canary(site).fly(CANARY)
    gather({"clients": partial(prepare, site)}, DEADLINE / 2)
    answers = gather(calls, CANARY + 1)
    checks = [_check(name, answers[name], settings) for name in calls if name != "left"]
    if target in debts and not debts[target].paid:
        text = "it is a former primary, and is caught up first; --force debt skips that"
        checks.append(PreflightCheck("debt", WARNING, text))
    behind = _messages(answers.get("left"))
    canary = answers["canary"]
    seconds = following + ((canary.seconds or 0.0) if isinstance(canary, Flight) else 0.0)
    epoch = record.epoch if record else 0
    estimate = MoveEstimate(seconds, behind)
    return Preflight(target, primary, epoch, tuple(checks), away, estimate)


def _messages(answer: Answer | Exception | None) -> int | None:
    if not isinstance(answer, Depth) or answer.ready is None:
        return None
    return answer.ready + (answer.in_flight or 0)


def _check(name: str, answer: Answer | Exception, settings: GuardSettings) -> PreflightCheck:
    if isinstance(answer, Exception):
        is_fault = name.partition(" ")[0] in ("health", "canary")
        return PreflightCheck(name, FAULT if is_fault else UNKNOWN, reason_of(answer))
    if isinstance(answer, float):
        return PreflightCheck(name, OK, f"answers in {answer * 1000:.0f} ms")
    if isinstance(answer, Flight):
        if answer.arrived is None:
            why = answer.reason or f"the canary was not stored within {CANARY:g} s"
            return PreflightCheck(name, FAULT, f"no trade was stored: {why}")
        return PreflightCheck(name, OK, f"a trade is stored after {answer.seconds:.1f} s")
    if isinstance(answer, Depth):
        return _backlog(answer)
    if isinstance(answer, AccessFinding):
        return PreflightCheck(name, answer.state, answer.text)
    return answer


def _replicas(
    site: Site, primary: str, leader: Site | None, settings: GuardSettings
) -> PreflightCheck:
    """Compare the site with the primary. If that does not answer, use the last report of a
    replicator.
    """
    if leader is None:
        return _reported(sound(site.control.lags()), primary, settings)
    if leader is site:
        return PreflightCheck("lag", OK, "it is the primary")
    minutes = min(LONGEST, settings.max_lag + MINUTE)
    try:
        found = compare_newest(leader, site, minutes)
    except McloudError:  # of either site; its control records may still be read
        return _reported(sound(site.control.lags()), primary, settings)
    count = f"{found.symbols} symbol{'s' * (found.symbols != 1)}"
    compared = f"the newest {minutes / 60:.0f} minutes of {count} were compared"
    if not found.missing:
        said = "nothing is missing" if found.symbols else f"{primary} has no trades"
        return PreflightCheck("lag", OK, f"{compared}: {said}")
    text = (
        f"it lacks {found.missing:,} trades of {primary}, the oldest from {found.behind_s:.0f} s"
        f" before the newest ({compared})"
    )
    if found.behind_s > settings.max_lag:
        text = f"{text}, max_lag is {settings.max_lag:g} s; `mcloud replicate --once` copies them"
        return PreflightCheck("lag", FAULT, text)
    return PreflightCheck("lag", OK, text)


def _reported(lags: Sequence[Lag], primary: str, settings: GuardSettings) -> PreflightCheck:
    """Judge the last lag of a replicator from the primary, which no longer answers."""
    now = time.time()
    known = [
        lag
        for lag in lags
        if lag.source == primary and lag.candles_s is not None and now - lag.at >= -AHEAD
    ]
    gone = f"{primary} cannot be compared"
    if not known:
        return PreflightCheck("lag", WARNING, f"{gone}; no replicator has reported its lag")
    last = max(known, key=lambda lag: lag.at)
    behind, ago = last.candles_s or 0.0, duration(max(0.0, now - last.at))
    text = f"{gone}; it was {behind:.0f} s behind when a replicator last reported, {ago} ago"
    if behind > settings.max_lag:
        return PreflightCheck("lag", FAULT, f"{text}, max_lag is {settings.max_lag:g} s")
    return PreflightCheck("lag", WARNING, text)


def _backlog(depth: Depth) -> PreflightCheck:
    if depth.ready is None:
        return PreflightCheck("backlog", UNKNOWN, "its queue does not report its depth at present")
    age = time.time() - depth.as_of
    return PreflightCheck(
        "backlog", OK, f"{depth.ready:,} messages wait in its queue, {age:.0f} s ago"
    )
