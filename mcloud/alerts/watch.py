"""Checks the rules again and again, and reports changes."""

import logging
import math
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated

from mcloud.alerts import engine
from mcloud.alerts.engine import Alert, AlertStates
from mcloud.alerts.figures import AlertFigures
from mcloud.alerts.rules import Rules
from mcloud.clock import Jumps
from mcloud.documents import OTHER_TEXTS, Count, Seconds, Time
from mcloud.errors import McloudError
from mcloud.notify.event import Event, Severity
from mcloud.notify.notifier import Notifier
from mcloud.notify.silences import DEADLINE, FIRST, SilenceInShort, Silences
from mcloud.runs import RunState

SPEAK = 5.0  # seconds between two state reports of a watcher that waits
CLOSING = 5.0  # seconds for events in progress at the end


@dataclass(frozen=True)
class WatcherAbout:
    """The part of a watcher's state that does not change."""

    name: str = ""
    profile: str = ""
    channels: tuple[str, ...] = ()


@dataclass(frozen=True)
class FiringAlert:
    key: str
    title: str
    severity: Annotated[Severity, OTHER_TEXTS]
    since: Time
    rule: str = ""
    figure: str = ""
    """Path of the figure."""
    value: float | None = None
    silenced: SilenceInShort | None = None


@dataclass(frozen=True, kw_only=True)
class WatcherState(RunState):
    """The state document of a watcher."""

    profile: str
    interval: Seconds
    channels: tuple[str, ...]
    firing: tuple[FiringAlert, ...]
    unknown: Count
    """Number of figures that are unknown."""
    failures: tuple[str, ...]
    """Events that could not be sent."""
    state: AlertStates
    name: str = ""
    looked: Time = 0.0
    """Time of the last check."""
    pending: Count = 0


def watch(
    rules: Rules,
    look: Callable[[], AlertFigures],
    notifier: Notifier,
    before: AlertStates,
    *,
    stop: threading.Event,
    silences: Silences | None = None,
    tell: Callable[[Event], None] = lambda event: None,
    keep: Callable[[WatcherState], None] = lambda state: None,
    about: WatcherAbout = WatcherAbout(),
    log: logging.Logger | None = None,
    clock: Callable[[], float] = time.time,
    timer: Callable[[], float] = time.monotonic,
) -> AlertStates:
    """Evaluate the rules every ``rules.settings.interval`` seconds until ``stop``.

    Args:
        before: last state of an earlier watcher.
        silences: silences to show beside alerts; the notifier obeys them.
        tell: called with each change.
        keep: called every few seconds with the watcher's own state.
    """
    log = log or logging.getLogger(__name__)
    jumps = Jumps(clock, timer)
    channels = {rule.name: rule.channels for rule in rules.rules}
    state, told, failures = before, dict[str, str](), list[str]()
    silences = silences or Silences({})
    while True:
        # Read the silences at the same time, since both may have to wait for the same site.
        asking = threading.Thread(target=silences.refresh, name="silences", daemon=True)
        asking.start()
        try:
            figures = look()
        except Exception as error:
            # A failed check makes the figures unknown, but says nothing about their earlier values.
            is_ours = isinstance(error, McloudError)
            said = str(error) if is_ours else f"{type(error).__name__}: {error}"
            log.warning("the sites cannot be read: %s", said, exc_info=not is_ours)
            figures = AlertFigures()
        asking.join(FIRST * DEADLINE)
        if jump := jumps.look():
            log.warning("the clock of this machine was set by %+.0f s", jump)
            state = engine.moved(state, jump)
        now = clock()
        state, events = engine.step(rules, figures, state, now)
        for event in events:
            silence = silences.covering(event.rule, event.figure)
            by = f" (silenced by {silence.id}: {silence.why})" if silence else ""
            log.warning("%s: %s%s", event.state, event.title, by)
            tell(event)
        for name, why in state.nothing.items():
            if told.get(name) != why:
                log.info("%s: %s", name, why)
        told = dict(state.nothing)
        # Send all of it every time: each channel knows what it has already sent.
        for event in engine.standing(rules, state, now):
            alert = state.alerts.get(event.key)
            notifier.send(event, channels.get(alert.rule) if alert else None)
        for failure in _fresh(failures, notifier.failures()):
            log.warning("not sent: %s", failure)
        failures = notifier.failures()
        mine = watcher_state(about, rules, state, failures, now, silences)
        if _pause(rules.settings.interval, stop, partial(_speak, keep, mine, clock)):
            break
    notifier.close(CLOSING)
    for failure in _fresh(failures, notifier.failures()):
        log.warning("not sent: %s", failure)
    return state


def watcher_state(
    about: WatcherAbout,
    rules: Rules,
    state: AlertStates,
    failures: list[str],
    at: float,
    silences: Silences,
) -> WatcherState:
    """Return the watcher's own state, for ``ps`` and ``monitor``."""
    titles = {event.key: event.title for event in engine.standing(rules, state, at)}
    return WatcherState(
        name=about.name,
        profile=about.profile,
        interval=rules.settings.interval,
        channels=about.channels,
        pid=os.getpid(),
        at=at,
        looked=at,
        firing=tuple(
            FiringAlert(
                key=alert.key,
                rule=alert.rule,
                figure=alert.path,
                severity=alert.severity,
                since=alert.since,
                value=alert.value,
                title=titles[alert.key],
                silenced=_silenced(silences, alert),
            )
            for alert in state.firing
        ),
        pending=sum(alert.state == "pending" for alert in state.alerts.values()),
        unknown=sum(alert.unknown_since is not None for alert in state.alerts.values()),
        failures=tuple(failures),
        state=state,
    )


def _silenced(silences: Silences, alert: Alert) -> SilenceInShort | None:
    silence = silences.covering(alert.rule, alert.path)
    return silence.in_short() if silence else None


def _speak(
    keep: Callable[[WatcherState], None], mine: WatcherState, clock: Callable[[], float]
) -> None:
    keep(replace(mine, at=clock()))


def _pause(seconds: float, stop: threading.Event, speak: Callable[[], None]) -> bool:
    """Wait, and call ``speak`` every few seconds. Return True if the watcher should stop."""
    slices = math.ceil(seconds / SPEAK)
    for _ in range(slices):
        speak()
        if stop.wait(seconds / slices):
            return True
    return False


def _fresh(before: list[str], now: list[str]) -> list[str]:
    """Return the new items at the end of a list that drops its oldest items."""
    for count in range(min(len(before), len(now)), 0, -1):
        if before[-count:] == now[:count]:
            return now[count:]
    return now
