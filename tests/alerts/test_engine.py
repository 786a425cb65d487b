"""State changes of alerts, check by check."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mcloud.alerts.engine import GAP, GONE, TOLD_AGAIN, AlertStates, standing, step
from mcloud.alerts.figures import AlertFigure, AlertFigures, AlertPart
from mcloud.alerts.rules import AlertRule, AlertSettings, Rules
from mcloud.documents import Damaged, decode, encode
from mcloud.notify.event import Event

from .trees import NOW, seen

RULE = AlertRule("depth", "sites.*.depth", "Look at {0}.", above=10, clear=5, last=60, recover=30)


def rules(*each: AlertRule, unknown_for: float = 900) -> Rules:
    return Rules(AlertSettings(unknown_for=unknown_for), each or (RULE,))


def look(value: Any, at: float, site: str = "aws") -> AlertFigures:
    return seen(at, **{site: {"depth": value}})


def producers(**parts: AlertPart) -> AlertFigures:
    return AlertFigures(AlertPart({"producers": AlertPart(parts)}))


class Run:
    """A series of checks. The state passes through JSON in between, as with restarts."""

    def __init__(self, rules: Rules) -> None:
        self.rules, self.now, self.state = rules, NOW, AlertStates()
        self.events: list[Event] = []

    def see(self, value: Any, after: float = 10) -> list[tuple[str, str]]:
        """Check a value, and return the changes as pairs of key and state."""
        self.now += after
        return self.take(look(value, self.now))

    def take(self, figures: AlertFigures) -> list[tuple[str, str]]:
        before = decode(AlertStates, json.loads(json.dumps(encode(self.state))), "it")
        assert before == self.state
        self.state, events = step(self.rules, figures, before, self.now)
        self.events += events
        return [(event.key, event.state) for event in events]

    @property
    def is_firing(self) -> bool:
        return [alert.key for alert in self.state.firing] == ["depth aws"]


FIRES, IS_OVER = [("depth aws", "firing")], [("depth aws", "resolved")]


def test_an_alert_fires_and_resolves_after_its_durations() -> None:
    run = Run(rules())
    assert [run.see(11) for _ in range(6)] == [[]] * 6  # 50 seconds since the first check
    assert run.see(11) == FIRES
    assert run.see(12) == []
    assert [run.see(5) for _ in range(3)] == [[]] * 3
    assert run.see(0) == IS_OVER
    assert not run.is_firing
    fired, over = run.events
    assert (fired.title, fired.text) == ("depth aws: 11, above 10 for 60 s", "Look at aws.")
    assert (fired.severity, fired.at) == ("warning", NOW + 70)
    assert fired.fields["figure"] == "sites.aws.depth"
    assert (over.title, over.severity) == ("depth aws: over, it is 0", "warning")


def test_without_a_duration_an_alert_fires_at_once() -> None:
    run = Run(rules(replace(RULE, last=0, recover=0)))
    assert run.see(11) == FIRES
    assert run.see(7) == []  # between the limit and the value that ends it
    assert run.see(5) == IS_OVER
    assert run.see(7) == []
    assert run.see(11) == FIRES


def test_a_good_check_in_between_restarts_the_duration() -> None:
    run = Run(rules())
    for _ in range(5):
        assert [run.see(value) for value in (11, 11, 11, 11, 11, 9)] == [[]] * 6


def test_an_unknown_figure_changes_no_alert() -> None:
    run = Run(rules())
    assert [run.see(11) for _ in range(6)] == [[]] * 6
    assert [run.see(None) for _ in range(20)] == [[]] * 20
    assert run.state.alerts["depth aws"].state == "unknown"
    # 50 seconds of it are known; the check after the unknown ones adds none.
    assert [run.see(11) for _ in range(2)] == [[], FIRES]
    assert [run.see({"unknown": "away"}) for _ in range(20)] == [[]] * 20
    assert run.is_firing
    assert [run.see(0) for _ in range(4)] == [[], [], [], IS_OVER]


def test_a_figure_that_is_too_old_is_unknown() -> None:
    run = Run(rules(replace(RULE, last=0, stale=60)))
    run.now += 10
    old = seen(run.now, aws={"depth": 11, "as_of": run.now - 61})
    assert run.take(old) == []
    assert run.state.alerts["depth aws"].unknown == "it is 1 min 01 s old"
    fresh = seen(run.now, aws={"depth": 11, "as_of": run.now - 60})
    assert run.take(fresh) == FIRES


def test_a_pause_between_two_checks_does_not_count() -> None:
    run = Run(rules())
    assert run.see(11) == []
    assert run.see(11, after=GAP + 1) == []
    assert run.see(11, after=GAP) == FIRES


def test_a_clock_that_is_set_back_neither_fires_nor_resolves() -> None:
    run = Run(rules())
    assert run.see(11) == []
    assert run.see(11, after=-5000) == []
    assert run.see(11, after=59) == []
    assert run.see(11, after=1) == FIRES
    assert run.see(11, after=-5000) == []
    assert run.is_firing


def test_unknown_figures_of_a_part_are_reported_once() -> None:
    run = Run(rules(RULE, replace(RULE, name="other"), unknown_for=30))
    assert [run.see({"unknown": "away"}) for _ in range(3)] == [[]] * 3
    assert run.see({"unknown": "away"}) == [("unknown sites.aws", "firing")]
    assert run.see({"unknown": "away"}) == []
    (event,) = run.events
    assert event.title == "sites.aws: 2 figures unknown for a while"
    assert event.text.splitlines() == [
        "depth sites.aws.depth: away",
        "other sites.aws.depth: away",
    ]
    assert run.see(1) == [("unknown sites.aws", "resolved")]


def test_some_figures_may_be_unknown() -> None:
    run = Run(rules(replace(RULE, unknown="ignore"), unknown_for=0))
    assert [run.see(None) for _ in range(3)] == [[]] * 3


def test_a_figure_that_only_some_sites_have_is_missing_at_the_others() -> None:
    run = Run(rules(unknown_for=0))
    figures = seen(run.now, aws={"depth": 1}, gcp={"other": 1})
    assert run.take(figures) == [("unknown sites.gcp", "firing")]
    assert run.state.alerts["depth gcp"].unknown == "the figure does not exist"


def test_a_rule_without_figures_is_reported() -> None:
    run = Run(rules(unknown_for=0))
    assert run.take(seen(run.now, aws={"other": 1})) == []
    assert run.state.nothing == {"depth": "unknown: there is no figure sites.*.depth"}
    assert run.take(seen(run.now)) == []
    assert run.state.nothing == {"depth": "nothing matches sites.*.depth"}
    assert run.see(1) == []
    assert run.state.nothing == {}


def test_an_alert_of_a_missing_figure_is_closed_after_a_day() -> None:
    run = Run(rules(replace(RULE, last=0), unknown_for=1e9))
    assert run.see(11) == FIRES
    gone = seen(run.now, gcp={"depth": 0})
    assert run.take(gone) == []
    assert run.is_firing
    run.now += GONE - 1
    assert run.take(gone) == []
    run.now += 1
    assert run.take(gone) == IS_OVER
    assert run.events[-1].title == "depth aws: it is no longer reported"
    run.now += TOLD_AGAIN
    assert run.take(gone) == []
    assert list(run.state.alerts) == ["depth gcp"]


def test_an_alert_of_an_ended_process_is_resolved() -> None:
    rule = AlertRule("slow", "producers.*.rate", "", below=10)
    run = Run(rules(rule, unknown_for=0))
    running, ended = AlertPart({"rate": AlertFigure(5.0, run.now)}), AlertPart(is_over=True)
    assert run.take(producers(a=running)) == [("slow a", "firing")]
    run.now += 10
    assert run.take(producers(a=ended, b=ended)) == [("slow a", "resolved")]
    assert run.events[-1].title == "slow a: it has ended"
    assert run.state.blind == {}
    assert run.state.nothing == {"slow": "nothing matches producers.*.rate"}


def test_a_missing_figure_without_an_alert_is_dropped() -> None:
    run = Run(rules())
    run.see(1)
    assert run.take(seen(run.now, gcp={"depth": 1})) == []
    assert list(run.state.alerts) == ["depth gcp"]


def test_alerts_of_a_removed_or_disabled_rule_are_resolved() -> None:
    for left in ((), (replace(RULE, enabled=False, last=0),)):
        run = Run(rules(replace(RULE, last=0, severity="critical")))
        assert run.see(11) == FIRES
        run.rules = Rules(rules=left)
        assert run.see(11) == IS_OVER
        assert run.events[-1].severity == "critical"
        assert run.see(11, after=TOLD_AGAIN) == []
        assert run.state.alerts == {}


def test_firing_alerts_and_recent_resolutions_are_offered_again() -> None:
    run = Run(rules(replace(RULE, last=0, recover=0)))
    run.see(1)
    assert standing(run.rules, run.state, run.now) == []
    run.see(11)
    run.see(12)
    (event,) = standing(run.rules, run.state, run.now)
    assert (event.state, event.at, event.fields["value"]) == ("firing", run.now - 10, "12")
    run.see(1)
    (event,) = standing(run.rules, run.state, run.now + TOLD_AGAIN - 1)
    assert (event.state, event.at) == ("resolved", run.now)
    assert standing(run.rules, run.state, run.now + TOLD_AGAIN) == []


def test_a_state_of_something_else_is_damaged() -> None:
    for other in ({"alerts": 1}, {"alerts": {"k": {}}, "blind": {}}, {"blind": {"b": {"key": 1}}}):
        assert isinstance(decode(AlertStates, other, "it"), Damaged)


LOOKS = st.lists(
    st.tuples(
        st.sampled_from([1.0, 10.0, 30.0, 60.0, GAP + 1, -100.0]),
        st.sampled_from([None, 0.0, 5.0, 6.0, 10.0, 11.0, 1000.0]),
    ),
    max_size=60,
)


def _firing_after(looks: Sequence[tuple[float, float | None]], rule: AlertRule) -> list[bool]:
    """An alternative definition: by the runs of checks that a start or an end needs."""
    firing, held, last = False, 0.0, None
    found = []
    for number, (pause, value) in enumerate(looks):
        if value is None:
            last = None
        else:
            wanted = value <= 5 if firing else value > 10
            if not wanted:
                held, last = 0.0, None
            else:
                joined = last == number - 1 and 0 <= pause <= GAP
                held, last = held + (pause if joined else 0.0), number
                if held >= (rule.recover if firing else rule.last):
                    firing, held, last = not firing, 0.0, None
        found.append(firing)
    return found


@given(LOOKS, st.sampled_from([0.0, 30.0, 60.0]), st.sampled_from([0.0, 30.0]))
def test_the_states_equal_an_alternative_definition(
    looks: list[tuple[float, float | None]], last: float, recover: float
) -> None:
    rule = replace(RULE, last=last, recover=recover)
    run = Run(rules(rule, unknown_for=1e9))
    wanted = _firing_after(looks, rule)
    assert [(run.see(value, pause), run.is_firing)[1] for pause, value in looks] == wanted
    # The reported states alternate, beginning with firing.
    said = [event.state for event in run.events]
    assert said == (["firing", "resolved"] * len(said))[: len(said)]
    assert (said[-1:] == ["firing"]) == run.is_firing


@given(LOOKS)
def test_sites_have_separate_alerts(looks: list[tuple[float, float | None]]) -> None:
    alone, both = Run(rules(unknown_for=1e9)), Run(rules(unknown_for=1e9))
    for number, (pause, value) in enumerate(looks):
        alone.see(value, pause)
        both.now += pause
        other = 1000.0 if number % 3 else None
        both.take(seen(both.now, aws={"depth": value}, gcp={"depth": other}))
    assert alone.state.alerts.get("depth aws") == both.state.alerts.get("depth aws")
    assert alone.events == [event for event in both.events if event.key == "depth aws"]
