"""The problems of a snapshot: one line each. With any of them, ``mcloud status`` exits with 3."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from mcloud.alerts.watch import FiringAlert, WatcherState
from mcloud.clouds.observation import DOWN
from mcloud.clouds.ports import SERVICES
from mcloud.durations import duration, utc
from mcloud.failover.statement import GuardState
from mcloud.observing.machine import Machine
from mcloud.observing.snapshot import SiteSnapshot, Snapshot
from mcloud.producer.breaker import OPEN
from mcloud.producer.reported_state import ProducerState
from mcloud.replication.progress import ReplicatorState
from mcloud.runs import Running, RunState, silence


def problems(snapshot: Snapshot) -> list[str]:
    """Return a line for each service that is down, part without news, damaged document, function
    with other code, dead letter, hole, unpaid debt, and process on this machine in trouble.

    Failed calls of a function and a growing queue are not included: they recover on their own, or
    an alert with a duration reports them.
    """
    sites = snapshot.sites.values()
    views = (_down, _silent, _broken, _outdated, _lacking, _uncompacted)
    lines = [line for view in views for site in sites for line in view(site)]
    lines += _owed(snapshot)
    lines += _damaged(snapshot)
    machine = snapshot.machine.value or Machine()
    lines += _unwritten(machine)
    lines += _broken_here(machine)
    for producer in machine.producers:
        lines += _producer(producer, snapshot.at)
    for replicator in machine.replicators:
        lines += _replicator(replicator, snapshot.at)
    for guard in machine.guards:
        lines += _guard(guard, snapshot.at)
    for watcher in machine.alerts:
        lines += _hanging(watcher, snapshot.at)
        lines += [f"alert: {alert}" for alert in firing(watcher)]
    return lines


def firing(watcher: Running[WatcherState]) -> list[str]:
    """Return the alerts that fire, as worded by a watcher; none if the watcher does not run."""
    return [_words(each) for each in _firing(watcher)]


def silenced(watcher: Running[WatcherState]) -> list[str]:
    """Return the firing alerts for which nobody is notified."""
    return [_words(each) for each in _firing(watcher) if each.silenced]


def _firing(watcher: Running[WatcherState]) -> tuple[FiringAlert, ...]:
    return watcher.state.firing if watcher.runs and watcher.state else ()


def _words(alert: FiringAlert) -> str:
    silence = alert.silenced
    return f"{alert.title}, silenced until {utc(silence.until)}" if silence else alert.title


def _down(site: SiteSnapshot) -> Iterator[str]:
    for reason, names in site.down.items():
        yield f"{site.name}: {_all(names)} down: {reason}"


def _silent(site: SiteSnapshot) -> Iterator[str]:
    if not site.down:
        for reason, names in site.silent.items():
            yield f"{site.name}: no news of {', '.join(names)}: {reason}"


def _broken(site: SiteSnapshot) -> Iterator[str]:
    for each in site.damaged:
        yield f"{site.name}: {each}"


def _outdated(site: SiteSnapshot) -> Iterator[str]:
    code = site.code.value
    if code is None:
        return
    if code.failure:
        yield (
            f"{site.name}: the last update of the function's code failed: {code.failure}; run"
            f" `mcloud deploy {site.name}`"
        )
    elif code.is_current is False:
        yield (
            f"{site.name}: the function runs other code than this mcloud deploys; see `mcloud plan"
            f" {site.name}`, then run `mcloud deploy {site.name}`"
        )


def _broken_here(machine: Machine) -> Iterator[str]:
    for kind in machine.by_kind.values():
        for each in kind:
            if each.damaged:
                yield f"{each.name}: {each.damaged}"
    yield from machine.damaged


def _lacking(site: SiteSnapshot) -> Iterator[str]:
    dead = site.dead_letters.value
    if dead is not None and dead.ready:
        letters = f"{dead.ready:,} dead letter{'s' * (dead.ready != 1)}"
        yield f"{site.name}: {letters}; see `mcloud dlq list {site.name}`"
    for recent in site.recent.value or ():
        if recent.missing:
            first, last = recent.holes[0][0], recent.holes[-1][1]
            yield (
                f"{site.name}: {recent.symbol} lacks {recent.missing:,} trades between {first} and "
                f"{last}; see `mcloud verify`"
            )


def _uncompacted(site: SiteSnapshot) -> Iterator[str]:
    last = site.compaction.value
    if last is not None and last.problems:
        yield (
            f"{site.name}: the compaction function could not compact {last.problems:,} objects of"
            f" the raw archive: {last.named[0] if last.named else 'see its log'}"
        )


def _owed(snapshot: Snapshot) -> Iterator[str]:
    leads = snapshot.leading.primary if snapshot.leading else "SITE"
    for debt in snapshot.owed:
        since = datetime.fromtimestamp(debt.since, UTC)
        gone = f"; if {debt.site} no longer exists, run `mcloud failover --forget {debt.site}`"
        yield (
            f"{debt.site} was replaced as primary in epoch {debt.epoch}, and has not been proven"
            f" equal since {since:%Y-%m-%d %H:%M} UTC: `mcloud failover {leads} --wait` or a guard"
            " catches it up" + ("" if debt.site in snapshot.sites else gone)
        )


def _unwritten(machine: Machine) -> Iterator[str]:
    """Yield a line for the notes that the disk refuses; the work continues without them."""
    if machine.disk:
        yield (
            f"{machine.disk}; free some space, or set MCLOUD_STATE to another folder: until then"
            " audit entries, journals, states and logs may not be written"
        )
        return
    for kind in machine.by_kind.values():
        for each in kind:
            if each.runs and each.state:
                for path, why in each.state.unwritten.items():
                    yield f"{each.name}: {path} is not written: {why}"


def _damaged(snapshot: Snapshot) -> Iterator[str]:
    for id_, why in snapshot.silences.unreadable.items():
        if not why.is_newer:
            remedy = f"`mcloud alerts unsilence {id_}` removes it"
            yield f"the silence {id_} is damaged and has no effect: {remedy}"


def _producer(producer: Running[ProducerState], now: float) -> Iterator[str]:
    yield from _hanging(producer, now)
    state = producer.state
    if state is None:
        return
    if state.missing:
        yield f"producer {producer.name}: {state.missing:,} trades are missing; see `mcloud ps`"
    if not producer.runs:
        return
    if state.stalled:
        yield (
            f"producer {producer.name}: the exchange has trades of {', '.join(state.stalled)} that"
            " its stream does not deliver; see `mcloud ps`"
        )
    for name, site in state.sites.items():
        if site.refused or site.breaker == OPEN:
            how = "refuses" if site.refused else "does not accept"
            yield f"producer {producer.name}: {name} {how} messages: {site.error}"
    if state.spool_full:
        yield f"producer {producer.name}: its spool is full, so it has stopped reading"
    if state.problem:
        yield f"producer {producer.name}: {state.problem}"


def _replicator(replicator: Running[ReplicatorState], now: float) -> Iterator[str]:
    yield from _hanging(replicator, now)
    if replicator.runs and replicator.state:
        for pair in replicator.state.pairs:
            if pair.error:
                yield f"{pair.source} to {pair.target} is not replicated: {pair.error}"


def _guard(guard: Running[GuardState], now: float) -> Iterator[str]:
    yield from _hanging(guard, now)
    state = guard.state
    if state is None:
        return
    called = "guard" if guard.name == "guard" else f"guard {guard.name}"
    if not guard.runs and (silent := silence(guard.runs, state, now)):
        yield (
            f"{called}: its process has died, and last reported {duration(silent)} ago; start it"
            f" again, or run `mcloud stop {guard.name}`"
        )
    if blind := state.blindness(guard.runs, now):
        yield f"{called} is running, but has not seen the sites for {duration(blind)}"
    if guard.runs:
        for name, site in state.sites.items():
            if site.verdict == DOWN:
                yield f"{called}: {name} is down"
        if state.problem:
            yield f"{called}: {state.problem}"


def _all(services: Sequence[str]) -> str:
    if len(services) == len(SERVICES):
        return "everything is"
    return f"{', '.join(services)} {'is' if len(services) == 1 else 'are'}"


def _hanging(each: Running[RunState], now: float) -> Iterator[str]:
    """Yield a line for a process that runs but has stopped writing its state."""
    silent = silence(each.runs, each.state, now)
    if each.runs and silent:
        yield f"{each.name} is running, but has reported nothing for {silent:.0f} s"
