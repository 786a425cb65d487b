"""The decision of a guard: a pure function of the current checks, the earlier ones and the rules.

A site is judged by whether it accepts trades. A queue that accepts nothing is an outage. If the
queue accepts trades and the function or a store behind it is down, there is a backlog: nothing is
lost, and it becomes an outage only when the oldest message is older than ``backlog_limit``. A guard
that gets no answer at all assumes that the fault is its own. Times are of a monotonic clock. A
check that is too old is ignored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Final, Literal

from mcloud.clouds.observation import DOWN, UNKNOWN, UP, Availability, Observation
from mcloud.clouds.ports import SERVICES, ControlRecord
from mcloud.failover.settings import GuardSettings

GradeLevel = Literal["good", "degraded", "bad", "unknown"]

GOOD: Final = "good"
DEGRADED: Final = "degraded"
BAD: Final = "bad"

GuardAction = Literal["nothing", "fail over", "fail back", "catch up"]

NOTHING: Final = "nothing"
FAIL_OVER: Final = "fail over"
FAIL_BACK: Final = "fail back"
CATCH_UP: Final = "catch up"

CANARY_USUAL = 20.0  # seconds until a canary arrives, including cold starts of the function


@dataclass(frozen=True)
class SiteObservation:
    """The latest data on each part of a site. A part that is missing was never checked."""

    services: Mapping[str, Observation[float]] = field(default_factory=dict)
    """Duration of the probe in seconds, by service."""
    waiting_since: float | None = None
    """Earliest time from which messages may be waiting, because a canary has been in transit, or
    the function or a store has been down, since then. None if neither is the case.
    """
    canary: float | None = None
    """Seconds that the last canary took."""
    lag: float | None = None
    """Replication lag of the site in seconds, when a replicator last reached the sites."""
    backlog: int | None = None
    """Messages in the queue."""


@dataclass(frozen=True)
class Debt:
    """Trades that only this site had, or that it lacked, when it was replaced as primary. They are
    copied before it becomes primary again.
    """

    site: str
    epoch: int
    """The epoch in which the site was replaced."""
    since: float
    """Time from which the sites received different trades, in seconds since 1970."""
    paid: bool = False
    may_return: bool = False
    """Whether the site was replaced because of an outage, and not by a person's choice."""


@dataclass(frozen=True)
class GuardObservation:
    """The sites and the shared notes, as one check of the guard found them."""

    sites: Mapping[str, SiteObservation]
    """The sites. The first one is the primary if there is no record."""
    record: ControlRecord | None = None
    record_read: float | None = None
    """Time when a site last reported its record, by the clock of the checks."""
    wall: float = 0.0
    """Seconds since 1970, by a clock that may jump. It is used once per epoch, for the age of the
    record.
    """
    paused: str = ""
    """Who paused the guards and why, or empty."""
    debts: Mapping[str, Debt] = field(default_factory=dict)
    moving: str = ""
    """The move in progress, or empty."""
    catching_up: str = ""
    """The site that is being caught up, or empty."""


@dataclass(frozen=True)
class SiteState:
    """The verdict on a site, and the checks in a row that led to it."""

    verdict: Availability = UNKNOWN
    since: float = 0.0
    """Time of the verdict, by the clock of the checks."""
    bad: int = 0
    """Number of bad checks in a row."""
    good: int = 0
    counted: float = -inf
    """Time of the last check that was counted."""
    bad_since: float | None = None
    """Time of the first bad check of these."""
    down_since: float | None = None
    """Time of the first of the bad checks for which the site counts as down. None if it does not.
    A throttled site has good checks in between."""
    lately: tuple[float | None, ...] = ()
    """The last checks: the time of each one that was bad, and None for the others."""

    @property
    def failures(self) -> list[float]:
        """Times of the bad ones among the last checks."""
        return [at for at in self.lately if at is not None]


@dataclass(frozen=True)
class DecisionState:
    """All that a decision keeps for the next one."""

    sites: Mapping[str, SiteState] = field(default_factory=dict)
    epoch: int | None = None
    """Epoch of the record. None before the first check."""
    epoch_since: float = 0.0
    """Time when the epoch was first seen. ``epoch_age`` is its age at that time."""
    epoch_age: float = inf
    epoch_read: float = 0.0
    """Time when the record was last read with this epoch."""

    def age(self, now: float) -> float:
        """Return the age of the record in seconds, or infinity if there is none."""
        return self.epoch_age + max(0.0, now - self.epoch_since)


@dataclass(frozen=True)
class Decision:
    """The next action, with the reasons for it."""

    action: GuardAction
    site: str
    """Site of the action, or empty for NOTHING."""
    reason: str
    lines: tuple[str, ...]
    """The grounds of the decision, with a line for each site and each rule."""
    state: DecisionState
    is_suspicious: bool = False
    """Whether the next check should follow soon."""


@dataclass(frozen=True)
class Grade:
    """The result of one check of a site."""

    level: GradeLevel
    why: str = ""
    """Reason for the level. Empty for GOOD."""


@dataclass(frozen=True)
class _Choice:
    """The action of a decision, with its reason and the lines of the rules that were applied."""

    action: GuardAction
    reason: str
    site: str = ""
    rules: Sequence[str] = ()


def decide(
    seen: GuardObservation, state: DecisionState, settings: GuardSettings, now: float
) -> Decision:
    """Return the next action and the reason. ``now`` is by the clock of the checks."""
    state = _note_record(seen, state, now)
    grades = {name: grade(each, settings, now) for name, each in seen.sites.items()}
    is_blind = _is_blind(grades)
    sites = {
        name: _count(
            state.sites.get(name, SiteState()), each, grades[name], settings, now, is_blind
        )
        for name, each in seen.sites.items()
    }
    state = replace(state, sites=sites)
    primary = seen.record.primary if seen.record else next(iter(seen.sites))
    lines = [
        _site_line(name, grades[name], sites[name], seen.sites[name], settings, name == primary)
        for name in seen.sites
    ]
    choice = _choose(seen, state, grades, primary, settings, now, is_blind)
    return Decision(
        choice.action,
        choice.site,
        choice.reason,
        (*lines, *choice.rules),
        state,
        any(_is_suspicious(each, grades[name]) for name, each in sites.items()),
    )


def grade(seen: SiteObservation, settings: GuardSettings, now: float) -> Grade:
    """Judge one check of a site."""
    queue = seen.services.get("queue")
    if queue is None or queue.tried is None:
        return Grade(UNKNOWN, "its queue has not been checked yet")
    age = now - queue.tried
    if not 0 <= age <= settings.stale:
        return Grade(UNKNOWN, f"the last check of its queue is {age:.0f} s old")
    if queue.state == UNKNOWN:
        return Grade(UNKNOWN, f"its queue cannot be judged: {queue.problem}")
    if queue.state == DOWN:
        return Grade(BAD, f"its queue accepts nothing: {queue.problem}")
    waited = max(0.0, now - seen.waiting_since) if seen.waiting_since is not None else 0.0
    down = [
        f"{service}: {seen.services[service].problem}"
        for service in SERVICES
        if service in seen.services and seen.services[service].state == DOWN
    ]
    why = "; ".join(down) or "a canary is under way"
    if waited > settings.backlog_limit:
        limit = f"the limit is {settings.backlog_limit:.0f} s"
        return Grade(BAD, f"its queue waits for {waited:.0f} s ({why}), {limit}")
    if down:
        return Grade(DEGRADED, f"a backlog for {waited:.0f} s: {why}")
    if waited > CANARY_USUAL:
        return Grade(DEGRADED, f"a canary was not stored after {waited:.0f} s")
    return Grade(GOOD)


def _is_suspicious(site: SiteState, graded: Grade) -> bool:
    """Return whether the verdict on the site may change soon."""
    is_returning = site.verdict == DOWN and site.good > 0
    was_bad = site.verdict != DOWN and bool(site.failures)
    return site.bad > 0 or was_bad or graded.level == DEGRADED or is_returning


def _note_record(seen: GuardObservation, state: DecisionState, now: float) -> DecisionState:
    epoch = seen.record.epoch if seen.record else 0
    read = now if seen.record_read is None else seen.record_read
    if epoch == state.epoch:
        return replace(state, epoch_read=read)
    age = max(0.0, seen.wall - seen.record.at) if seen.record else inf
    if state.epoch is not None:
        # The clock of the writer may be wrong, but the last read did not find this epoch.
        age = min(age, max(0.0, now - state.epoch_read))
    return replace(state, epoch=epoch, epoch_since=now, epoch_age=age, epoch_read=read)


def _is_blind(grades: Mapping[str, Grade]) -> bool:
    """Return whether no site answers at all, so that the cause is more likely on this side."""
    levels = {graded.level for graded in grades.values()}
    return BAD in levels and not levels & {GOOD, DEGRADED}


def _count(
    site: SiteState,
    seen: SiteObservation,
    graded: Grade,
    settings: GuardSettings,
    now: float,
    is_blind: bool,
) -> SiteState:
    """Count a check that was not counted yet, and update the verdict."""
    if now - site.counted > settings.stale:
        # After a suspension, or a long time without data, earlier checks no longer count.
        site = replace(site, bad=0, good=0, bad_since=None, lately=())
    at = seen.services["queue"].tried if "queue" in seen.services else None
    if graded.level == UNKNOWN or is_blind or at is None or at <= site.counted:
        return site
    is_bad = graded.level == BAD
    site = replace(site, lately=(*site.lately, at if is_bad else None)[-settings.window :])
    if is_bad:
        since = at if site.bad_since is None else site.bad_since
        site = replace(site, counted=at, bad=site.bad + 1, good=0, bad_since=since)
        if site.verdict == DOWN:
            return site
        if site.bad >= settings.fails:
            return replace(site, verdict=DOWN, since=now, down_since=since)
        if len(site.failures) >= settings.most_bad:  # a throttled site accepts some calls
            first = site.failures[0]
            return replace(site, verdict=DOWN, since=now, bad_since=first, down_since=first)
        return site
    site = replace(site, counted=at, bad=0, bad_since=None)
    if graded.level == DEGRADED:
        return replace(site, good=0)
    site = replace(site, good=site.good + 1)
    needed = settings.goods if site.verdict == DOWN else settings.fails
    if site.good >= needed and site.verdict != UP:
        return replace(site, verdict=UP, since=now, down_since=None, lately=())
    return site


def _choose(
    seen: GuardObservation,
    state: DecisionState,
    grades: Mapping[str, Grade],
    primary: str,
    settings: GuardSettings,
    now: float,
    is_blind: bool,
) -> _Choice:
    if seen.paused:
        return _Choice(NOTHING, f"the guards are paused: {seen.paused}")
    if seen.moving:
        return _Choice(NOTHING, seen.moving)
    if is_blind:
        return _Choice(NOTHING, "no site answers: the fault may be in this machine or its network")
    if primary not in seen.sites:
        return _Choice(NOTHING, f"the primary {primary} is not one of the watched sites")
    if state.sites[primary].verdict == DOWN:
        return _leave(seen, state, grades, primary, settings, now)
    if seen.catching_up:
        return _Choice(NOTHING, f"{primary} is the primary; {seen.catching_up} is being caught up")
    for site, debt in seen.debts.items():
        is_ready = site in state.sites and _is_ready(state.sites[site], grades[site])
        others = all(_is_ready(each, grades[name]) for name, each in state.sites.items())
        if not debt.paid and is_ready and others:
            why = f"{site} was replaced in epoch {debt.epoch} and is healthy: it can catch up"
            return _Choice(CATCH_UP, why, site)
    return _return(seen, state, grades, primary, settings, now)


def _leave(
    seen: GuardObservation,
    state: DecisionState,
    grades: Mapping[str, Grade],
    primary: str,
    settings: GuardSettings,
    now: float,
) -> _Choice:
    """Return the decision for a primary that is down."""
    why = (
        grades[primary].why or f"{state.sites[primary].good} of {settings.goods} good probes since"
    )
    what = f"{primary} is down ({why})"
    rules = [
        _rule(f"{primary} has been the primary for {_age(state.age(now))}", "dwell", settings.dwell)
    ]
    if state.age(now) < settings.dwell:
        return _Choice(
            NOTHING,
            f"{what}, and has been the primary for less than the dwell of {settings.dwell:g} s",
            rules=rules,
        )
    is_automatic = seen.record is not None and seen.record.mode == "automatic"
    if is_automatic:
        words = f"the last move was automatic, {_age(state.age(now))} ago"
        rules.append(_rule(words, "cooldown", settings.cooldown))
        if state.age(now) < settings.cooldown:
            reason = f"{what}, and the last automatic move is within the cooldown"
            return _Choice(NOTHING, f"{reason} of {settings.cooldown:g} s", rules=rules)
    fit = []
    for name in seen.sites:
        if name == primary:
            continue
        problem = _unfit(name, seen, state, grades, settings)
        rules.append(f"{name} cannot take over: {problem}" if problem else f"{name} can take over")
        if not problem:
            fit.append(name)
    if not fit:
        return _Choice(NOTHING, f"{what}, and no other site can take over", rules=rules)
    # Choose the site with the smallest known lag.
    best = min(fit, key=lambda name: _or(seen.sites[name].lag, inf))
    left = state.sites[primary]
    bad = f"{left.bad} probes in a row"
    if left.bad < settings.fails:
        bad = f"{len(left.failures)} of the last {len(left.lately)} probes"
    reason = f"{what}, {bad}; {best} is healthy"
    return _Choice(FAIL_OVER, reason, best, rules)


def _unfit(
    name: str,
    seen: GuardObservation,
    state: DecisionState,
    grades: Mapping[str, Grade],
    settings: GuardSettings,
) -> str:
    """Return why a site may not become primary now, or an empty string if it may."""
    if state.sites[name].verdict != UP:
        return f"it has not been healthy for long enough ({state.sites[name].good} good probes)"
    if grades[name].level != GOOD:
        return grades[name].why
    lag = seen.sites[name].lag
    if lag is None and settings.require_lag:
        return "its replication lag is not known, and require_lag is on"
    if lag is not None and lag > settings.max_lag:
        return f"its replicas are {lag:.0f} s behind, max_lag is {settings.max_lag:g} s"
    return ""


def _return(
    seen: GuardObservation,
    state: DecisionState,
    grades: Mapping[str, Grade],
    primary: str,
    settings: GuardSettings,
    now: float,
) -> _Choice:
    """Return the decision for a primary that is not down, when no debt can be paid now."""
    usual = f"the primary {primary} is {state.sites[primary].verdict}"
    if grades[primary].why:
        usual = f"{usual}: {grades[primary].why}"
    paid = [
        name
        for name, debt in seen.debts.items()
        if debt.paid and debt.may_return and name in seen.sites
    ]
    if not paid or primary in paid:
        owed = [name for name, debt in seen.debts.items() if not debt.paid]
        more = (
            f"; the catch-up of {', '.join(owed)} is due once all sites are healthy" if owed else ""
        )
        return _Choice(NOTHING, usual + more)
    site = paid[0]
    if not settings.failback:
        return _Choice(NOTHING, f"{usual}; {site} has caught up, and failback is off")
    rules = [_rule(f"the last move was {_age(state.age(now))} ago", "cooldown", settings.cooldown)]
    problem = _unfit(site, seen, state, grades, settings)
    steady = now - state.sites[site].since
    rules.append(_rule(f"{site} has been healthy for {_age(steady)}", "dwell", settings.dwell))
    if state.age(now) < settings.cooldown:
        problem = "the last move is within the cooldown"
    elif not problem and steady < settings.dwell:
        problem = "it has been healthy for less than the dwell"
    if problem:
        return _Choice(
            NOTHING,
            f"{usual}; {site} does not become the primary again yet: {problem}",
            rules=rules,
        )
    return _Choice(FAIL_BACK, f"{site} is back, caught up and verified", site, rules)


def _is_ready(site: SiteState, graded: Grade) -> bool:
    return site.verdict == UP and graded.level == GOOD


def _site_line(
    name: str,
    graded: Grade,
    site: SiteState,
    seen: SiteObservation,
    settings: GuardSettings,
    leads: bool,
) -> str:
    counts = f"bad {site.bad} of {settings.fails}"
    if site.verdict == DOWN:
        counts = f"bad {site.bad} in a row, good {site.good} of {settings.goods}"
    facts = [f"{graded.level} now", counts]
    queue = seen.services.get("queue")
    if queue is not None and queue.state == UP and queue.value is not None:
        facts.append(f"queue {queue.value * 1000:.0f} ms")
    if seen.canary is not None:
        facts.append(f"canary {seen.canary:.1f} s")
    if seen.backlog is not None:
        facts.append(f"backlog {seen.backlog:,}")
    if seen.lag is not None:
        facts.append(f"replicas {seen.lag:.1f} s behind")
    head = f"{name}{' (primary)' if leads else ''}: {site.verdict}"
    return f"{head}; {', '.join(facts)}{f'; {graded.why}' if graded.why else ''}"


def _rule(words: str, name: str, limit: float) -> str:
    return f"{words} ({name}: {limit:g} s)"


def _age(seconds: float) -> str:
    return "as long as is known" if seconds == inf else f"{seconds:.0f} s"


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
