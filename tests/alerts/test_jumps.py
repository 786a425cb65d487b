"""If clocks jump at any time, no alert is suppressed for longer than its own window."""

import json
from itertools import groupby

import pytest
from jumps import HOUR, KINDS, Jumping
from notify.events import Sink

from mcloud.alerts.engine import AlertStates, moved, step
from mcloud.alerts.figures import AlertFigures
from mcloud.alerts.rules import AlertRule, AlertSettings, Rules
from mcloud.alerts.watch import watch
from mcloud.documents import decode, encode
from mcloud.notify.event import Event
from mcloud.notify.notifier import Notifier

from .trees import seen

RULE = AlertRule("depth", "sites.*.depth", "Look at {0}.", above=10, clear=5, last=30, recover=20)
RULES = Rules(AlertSettings(interval=10), (RULE,))
VALUES = [1] * 3 + [11] * 8 + [0] * 6


class Watched:
    """A watcher of some values, whose clocks jump before one check."""

    def __init__(self, kind: str, at: int) -> None:
        self.clock, self.told, self.sink = Jumping(), list[tuple[int, str]](), Sink()
        self._kind, self._at, self._look_number = kind, at, -1
        notifier = Notifier(self.sink.channel(), clock=self.clock.wall, timer=self.clock.timer)
        self.state = watch(
            RULES,
            self._look,
            notifier,
            AlertStates(),
            stop=self,  # type: ignore[arg-type]
            tell=self._tell,
            clock=self.clock.wall,
            timer=self.clock.timer,
        )

    def wait(self, seconds: float) -> bool:
        self.clock.pass_(seconds)
        return self._look_number == len(VALUES) - 1

    def _tell(self, event: Event) -> None:
        self.told.append((self._look_number, event.state))

    def _look(self) -> AlertFigures:
        self._look_number += 1
        if self._look_number == self._at:
            self.clock.jump(self._kind)
        return seen(self.clock.wall(), aws={"depth": VALUES[self._look_number]})


@pytest.mark.parametrize("kind", KINDS)
def test_a_watcher_sends_each_event_once_and_within_its_window(kind: str) -> None:
    usual = Watched(kind, -1).told
    assert [state for _, state in usual] == ["firing", "resolved"]
    for at in range(len(VALUES)):
        watched = Watched(kind, at)
        assert [state for _, state in watched.told] == ["firing", "resolved"], at
        # A pause does not count, and one more check makes up for it.
        for (look, _), (was, _) in zip(watched.told, usual, strict=True):
            assert was <= look <= was + 1, at
        # A jump may cause one more notification, but never one less.
        states = [state for state, _ in groupby(event.state for event in watched.sink.taken)]
        assert states == ["firing", "resolved"], at


@pytest.mark.parametrize("seconds", [-5 * HOUR, 5 * HOUR, -1_800_000_000.0])
@pytest.mark.parametrize("values", [[1], [11] * 5, [11] * 5 + [0] * 5, [None]])
def test_a_state_is_readable_after_the_clock_was_set(seconds: float, values: list[int]) -> None:
    clock, state = Jumping(), AlertStates()
    for value in values:
        clock.pass_(10)
        figures = seen(clock.wall(), aws={"depth": value})
        state, _ = step(RULES, figures, state, clock.wall())
    state = moved(state, seconds)
    text = json.dumps(encode(state))
    assert decode(AlertStates, json.loads(text), "a state") == state


@pytest.mark.parametrize("kind", KINDS)
def test_a_resolution_is_sent_to_a_channel_that_failed_before(kind: str) -> None:
    """Otherwise the incident would stay open there."""
    clock = Jumping()
    state = AlertStates()

    def look(value: int) -> list[Event]:
        nonlocal state
        clock.pass_(10)
        figures = seen(clock.wall(), aws={"depth": value})
        state, events = step(RULES, figures, state, clock.wall())
        return events

    while not look(11):
        pass
    while not look(0):
        pass
    clock.set_wall(-5 * HOUR)  # and the watcher was restarted
    look(0)
    from mcloud.alerts.engine import standing

    assert [event.state for event in standing(RULES, state, clock.wall())] == ["resolved"]


def test_a_figure_from_the_future_is_unknown_with_a_reason() -> None:
    clock = Jumping()
    ahead = seen(clock.wall(), aws={"depth": {"ready": 3, "as_of": clock.wall() + 7200}})
    rules = Rules(AlertSettings(), (AlertRule("d", "sites.*.depth.ready", "x", above=1),))
    state, _ = step(rules, ahead, AlertStates(), clock.wall())
    (alert,) = state.alerts.values()
    assert alert.state == "unknown"
    assert "2 h 00 min in the future" in alert.unknown
