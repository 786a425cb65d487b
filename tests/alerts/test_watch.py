"""Repeated checks and their notifications."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from notify.events import Sink
from patience import eventually

from mcloud.alerts.engine import AlertStates, step
from mcloud.alerts.figures import AlertFigures
from mcloud.alerts.report import report
from mcloud.alerts.rules import AlertRule, AlertSettings, Rules
from mcloud.alerts.watch import WatcherAbout, WatcherState, watch
from mcloud.documents import decode, encode
from mcloud.errors import Refused, Unavailable
from mcloud.notify.event import Event
from mcloud.notify.notifier import FIRST_RESEND, Notifier

from .trees import NOW, seen

RULE = AlertRule("depth", "sites.*.depth", "Look at {0}.", above=10)
RULES = Rules(AlertSettings(interval=10), (RULE,))


class Watched:
    """A watcher of some values, one per check. Its clock advances by the interval."""

    def __init__(
        self, *values: Any, rules: Rules = RULES, before: AlertStates | None = None
    ) -> None:
        self.now, self.told, self.kept = NOW, list[Event](), list[WatcherState]()
        self._values: Iterator[Any] = iter(values)
        self._left = len(values)
        self._rules, self._before = rules, before or AlertStates()

    def run(self, notifier: Notifier) -> AlertStates:
        return watch(
            self._rules,
            self._look,
            notifier,
            self._before,
            stop=self,  # type: ignore[arg-type]
            tell=self.told.append,
            keep=self.kept.append,
            about=WatcherAbout("x", "local", ("desk",)),
            clock=lambda: self.now,
            timer=lambda: self.now,
        )

    def wait(self, seconds: float) -> bool:
        """Advance the clock to the next check, like an event. Return True after the last check."""
        self.now += seconds
        return self._left == 0

    def _look(self) -> AlertFigures:
        self._left -= 1
        value = next(self._values)
        if isinstance(value, Exception):
            raise value
        return seen(self.now, aws={"depth": value})


def test_firing_and_resolved_alerts_are_sent_through_the_channels() -> None:
    sink = Sink()
    watched = Watched(1, 11, 12, 12, 0, 0)
    watched.run(Notifier(sink.channel(), clock=lambda: watched.now))
    assert [(e.state, e.at) for e in sink.taken] == [("firing", NOW + 10), ("resolved", NOW + 40)]
    assert [event.state for event in watched.told] == ["firing", "resolved"]
    firing = next(each for each in watched.kept if each.looked == NOW + 20)
    assert encode(firing)["firing"] == [
        {
            "key": "depth aws",
            "rule": "depth",
            "figure": "sites.aws.depth",
            "severity": "warning",
            "since": NOW + 10,
            "value": 12.0,
            "title": "depth aws: 12, above 10",
            "silenced": None,
        }
    ]
    assert (firing.name, firing.at) == ("x", NOW + 20)
    # It writes its state more often than it checks.
    assert [each.at for each in watched.kept[:4]] == [NOW, NOW + 5, NOW + 10, NOW + 15]
    assert watched.kept[-1].firing == ()


def test_a_restarted_watcher_continues() -> None:
    sink = Sink()
    first = Watched(11, 11)
    state = first.run(Notifier(sink.channel()))
    assert decode(AlertStates, encode(first.kept[-1])["state"], "it") == state
    second = Watched(11, 0, before=state)
    second.run(Notifier(sink.channel()))
    assert [event.state for event in second.told] == ["resolved"]


def test_a_channel_that_failed_gets_the_alert_later() -> None:
    """The first attempts fail, and later ones succeed."""
    answers = iter([Refused("HTTP 404"), None, None])

    def answer(event: Event) -> str:
        if error := next(answers):
            raise error
        return "ok"

    sink = Sink(answer)
    slow = replace(RULES, settings=AlertSettings(interval=FIRST_RESEND))

    class Patient(Watched):
        def wait(self, seconds: float) -> bool:
            # The channel has answered before the next check.
            eventually(lambda: sink.taken or notifier.failures())
            return super().wait(seconds)

    watched = Patient(11, 11, 11, rules=slow)
    notifier = Notifier(sink.channel(), clock=lambda: watched.now, timer=lambda: watched.now)
    watched.run(notifier)
    assert len(sink.taken) == 1
    assert notifier.failures() == ["desk: depth aws: 11, above 10: HTTP 404"]
    assert watched.kept[-1].failures == tuple(notifier.failures())


def test_a_rule_may_have_channels_of_its_own() -> None:
    desk, oncall = Sink(), Sink()
    rules = replace(RULES, rules=(replace(RULE, channels=("oncall",)),))
    Watched(11, rules=rules).run(Notifier({**desk.channel("desk"), **oncall.channel("oncall")}))
    assert (len(desk.taken), len(oncall.taken)) == (0, 1)


@pytest.mark.parametrize("error", [Unavailable("away"), KeyError("what nobody thought of")])
def test_a_failed_check_resolves_no_alert(error: Exception) -> None:
    watched = Watched(11, error, 11)
    state = watched.run(Notifier({}))
    assert [event.state for event in watched.told] == ["firing"]
    assert [alert.key for alert in state.firing] == ["depth aws"]


def test_a_single_check_fires_without_a_waiting_time() -> None:
    rules = replace(
        RULES,
        rules=(
            replace(RULE, last=60),
            replace(RULE, name="other", figure="nothing"),
            replace(RULE, name="off", enabled=False),
        ),
    )
    figures = seen(NOW, aws={"depth": 11, "as_of": NOW - 5}, gcp={"depth": None})
    said = report(rules, figures, None, NOW)
    assert said.firing == 1
    depth, other, off = said.rules
    assert depth.limit == "above 10 for 60 s"
    assert [(each.path, each.state, each.value) for each in depth.figures] == [
        ("sites.aws.depth", "firing", 11),
        ("sites.gcp.depth", "unknown", None),
    ]
    assert [each.age_s for each in depth.figures] == [5, None]
    assert depth.figures[1].unknown == "no value is given"
    assert (other.why, other.figures) == ("unknown: there is no figure nothing", ())
    assert (off.enabled, off.figures) == (False, ())
    watched = report(rules, figures, AlertStates(), NOW)
    assert watched.firing == 0
    assert watched.rules[0].figures[0].state == "pending"
    assert {each.since for each in depth.figures} == {None}  # it is the first check
    later = report(rules, figures, step(rules, figures, AlertStates(), NOW - 30)[0], NOW)
    assert [each.for_s for each in later.rules[0].figures] == [30, 30]
