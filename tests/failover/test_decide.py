"""Decisions of a guard: each rule, and a comparison with a model under random events."""

from dataclasses import replace
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcloud.clouds.observation import DOWN, UNKNOWN, UP, Observation
from mcloud.clouds.ports import ControlRecord
from mcloud.failover.decide import (
    CATCH_UP,
    FAIL_BACK,
    FAIL_OVER,
    NOTHING,
    Debt,
    Decision,
    DecisionState,
    GuardObservation,
    SiteObservation,
    decide,
)
from mcloud.failover.settings import GuardSettings, problem_of

RULES = GuardSettings(fails=3, goods=5, dwell=10, cooldown=100, max_lag=60, backlog_limit=30)


def checked(state: str, at: float) -> Observation[float]:
    """Return a service as a check saw it."""
    if state == UP:
        return Observation(0.01, at)
    return Observation(problem="a test", failed_at=at, is_outage=state == DOWN)


class Story:
    """Observations of a guard, two seconds apart."""

    def __init__(self, rules: GuardSettings = RULES) -> None:
        self.rules = rules
        self.now = 1000.0
        self.wall = 2e9
        self.state = DecisionState()
        self.look = GuardObservation({"aws": SiteObservation(), "gcp": SiteObservation()})
        self.last: Decision

    def see(self, times: int = 1, step: float = 2.0, **queues: str) -> Decision:
        """Make observations in which each queue is ``up``, ``down``, ``unknown`` or not probed."""
        for _ in range(times):
            self.now += step
            self.wall += step
            sites = dict(self.look.sites)
            for name, state in queues.items():
                seen = checked(state, self.now)
                sites[name] = replace(sites[name], services={"queue": seen})
            self.look = replace(self.look, sites=sites, wall=self.wall)
            self.last = decide(self.look, self.state, self.rules, self.now)
            self.state = self.last.state
            if self.last.action in (FAIL_OVER, FAIL_BACK):
                self.record(self.last.site)
                break
        return self.last

    def record(self, primary: str, mode: str = "automatic") -> None:
        epoch = self.look.record.epoch if self.look.record else 0
        made = ControlRecord(epoch + 1, primary, mode, "a test", "me", self.wall)
        self.look = replace(self.look, record=made)

    def site(self, name: str, **values: object) -> None:
        sites = dict(self.look.sites)
        sites[name] = replace(sites[name], **values)  # type: ignore[arg-type]
        self.look = replace(self.look, sites=sites)


def healthy(rules: GuardSettings = RULES) -> Story:
    story = Story(rules)
    assert story.see(3, aws=UP, gcp=UP).action == NOTHING
    return story


def test_the_last_required_bad_probe_causes_a_move_with_a_reason() -> None:
    story = healthy()
    assert story.see(2, aws=DOWN, gcp=UP).action == NOTHING
    decision = story.see(aws=DOWN, gcp=UP)
    assert (decision.action, decision.site) == (FAIL_OVER, "gcp")
    assert "3 probes in a row" in decision.reason
    assert any("bad 3 in a row" in line for line in decision.lines)


def test_a_good_probe_in_between_restarts_the_count() -> None:
    story = healthy()
    for _ in range(8):
        assert story.see(1, aws=DOWN, gcp=UP).action == NOTHING
        decision = story.see(1, aws=UP, gcp=UP)
        assert (decision.action, decision.is_suspicious) == (NOTHING, True)
    for _ in range(3):
        assert story.see(2, aws=DOWN, gcp=UP).action == NOTHING
        assert story.see(5, aws=UP, gcp=UP).action == NOTHING
    assert not story.see(2, aws=UP, gcp=UP).is_suspicious


def test_a_throttled_site_that_accepts_some_calls_is_down() -> None:
    story = healthy()
    begun = story.now + 2
    story.see(2, aws=DOWN, gcp=UP)
    story.see(1, aws=UP, gcp=UP)
    assert story.see(2, aws=DOWN, gcp=UP).action == NOTHING
    story.see(1, aws=UP, gcp=UP)
    decision = story.see(1, aws=DOWN, gcp=UP)
    assert (decision.action, decision.site) == (FAIL_OVER, "gcp")
    assert "5 of the last 7 probes" in decision.reason
    assert decision.state.sites["aws"].bad_since == begun
    # It is down since then, whatever it accepts, until it counts as up.
    throttled = story.see(1, aws=UP, gcp=UP).state.sites["aws"]
    assert (throttled.bad_since, throttled.down_since) == (None, begun)
    assert story.see(1, aws=DOWN, gcp=UP).state.sites["aws"].down_since == begun
    for _ in range(GuardSettings().goods):
        decision = story.see(2, aws=UP, gcp=UP)
    assert decision.state.sites["aws"].down_since is None


@pytest.mark.parametrize(
    ("ahead", "age"),
    [
        (0.0, 15.0),  # noticed 15 seconds after it was written
        (60.0, 0.0),  # the writer's clock is ahead
        (-3600.0, 16.0),  # it is an hour behind: the record was read without the epoch 16 s ago
    ],
)
def test_the_age_of_a_record_is_counted_from_its_time(ahead: float, age: float) -> None:
    story = healthy()
    story.record("aws", "manual")
    story.look = replace(story.look, record_read=story.now)
    story.see(1, aws=UP, gcp=UP)
    read = story.now - 2
    story.now, story.wall = read + 16, story.wall + 14
    story.record("gcp", "manual")
    assert story.look.record is not None
    written = replace(story.look.record, at=story.wall + 2 - 15 + ahead)
    story.look = replace(story.look, record=written, record_read=read + 16)
    story.now -= 2
    state = story.see(1, aws=UP, gcp=UP).state
    assert state.age(story.now) == pytest.approx(age)


def test_recovery_needs_more_probes_than_failure() -> None:
    story = healthy()
    story.see(3, aws=DOWN, gcp=UP)
    assert story.see(4, aws=UP, gcp=UP).state.sites["aws"].verdict == DOWN
    assert story.see(1, aws=UP, gcp=UP).state.sites["aws"].verdict == UP


def test_a_repeated_check_counts_once() -> None:
    story = healthy()
    story.see(1, aws=DOWN, gcp=UP)
    for _ in range(5):
        decision = decide(story.look, story.state, RULES, story.now)
        story.state = decision.state
    assert story.state.sites["aws"].bad == 1


def test_no_second_automatic_move_within_the_cooldown() -> None:
    story = healthy()
    story.see(3, aws=DOWN, gcp=UP)
    story.see(6, aws=UP, gcp=UP)
    assert "cooldown" in story.see(10, aws=UP, gcp=DOWN).reason
    story.see(50, aws=UP, gcp=DOWN)
    assert story.look.record is not None
    assert (story.look.record.epoch, story.look.record.primary) == (2, "aws")


def test_a_move_by_hand_has_no_cooldown_and_a_dwell() -> None:
    story = healthy()
    story.record("aws", "manual")
    assert "dwell" in story.see(3, aws=DOWN, gcp=UP).reason
    assert story.see(3, aws=DOWN, gcp=UP).action == FAIL_OVER


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"lag": 61.0}, "61 s behind"),
        ({"waiting_since": 0.0}, "queue waits"),
        (None, "not been healthy for long enough"),
    ],
)
def test_an_unfit_site_never_becomes_primary(change: dict[str, object] | None, why: str) -> None:
    story = healthy()
    if change is None:
        story.see(3, aws=UP, gcp=DOWN)  # not back for long enough
    else:
        story.site("gcp", **change)
    decision = story.see(3, aws=DOWN, gcp=UP)
    assert decision.action == NOTHING
    assert any(why in line for line in decision.lines), decision.lines


def test_an_unknown_lag_is_allowed_unless_it_is_required() -> None:
    assert healthy().see(3, aws=DOWN, gcp=UP).action == FAIL_OVER
    strict = healthy(replace(RULES, require_lag=True))
    assert strict.see(5, aws=DOWN, gcp=UP).action == NOTHING


def test_if_no_site_answers_the_guard_blames_itself() -> None:
    story = healthy()
    decision = story.see(10, aws=DOWN, gcp=DOWN)
    assert "this machine or its network" in decision.reason
    assert decision.state.sites["aws"].bad == 0
    assert story.see(2, aws=DOWN, gcp=UP).action == NOTHING
    assert story.see(1, aws=DOWN, gcp=UP).action == FAIL_OVER


def test_an_unknown_state_is_not_bad() -> None:
    story = healthy()
    decision = story.see(30, aws=UNKNOWN, gcp=UP)
    assert (decision.action, decision.state.sites["aws"].bad) == (NOTHING, 0)


def test_a_check_that_is_too_old_is_ignored() -> None:
    story = healthy()
    story.see(2, aws=DOWN, gcp=UP)
    decision = story.see(30, gcp=UP)
    assert decision.action == NOTHING
    assert "old" in decision.lines[0]
    # The earlier observations no longer count as consecutive.
    assert story.see(2, aws=DOWN, gcp=UP).action == NOTHING


def test_after_a_suspension_the_counts_start_again() -> None:
    story = healthy()
    story.see(2, aws=DOWN, gcp=UP)
    assert story.see(1, step=3600, aws=DOWN, gcp=UP).action == NOTHING


@pytest.mark.parametrize("jump", [-3.0e9, -7200.0, 7200.0, 3.0e9])
def test_a_clock_on_the_wall_that_jumps_changes_nothing(jump: float) -> None:
    story = healthy()
    story.see(3, aws=DOWN, gcp=UP)
    story.see(6, aws=UP, gcp=UP)
    story.wall += jump
    assert story.see(5, aws=UP, gcp=DOWN).action == NOTHING


@pytest.mark.parametrize(("age", "action"), [(20.0, NOTHING), (120.0, FAIL_OVER)])
def test_a_new_guard_derives_the_age_of_the_record_from_its_time(age: float, action: str) -> None:
    story = Story()
    story.record("aws")
    story.wall += age
    story.see(3, aws=UP, gcp=UP)
    assert story.see(3, aws=DOWN, gcp=UP).action == action


def test_a_dead_store_is_a_backlog_until_it_is_too_old() -> None:
    story = healthy()
    since = story.now + 2
    down = {"candles": checked(DOWN, since)}

    def look(seconds: int) -> Decision:
        for _ in range(seconds // 2):
            story.now += 2
            services = {"queue": checked(UP, story.now), **down}
            story.site("aws", services=services, waiting_since=since)
            up = {"queue": checked(UP, story.now)}
            story.site("gcp", services=up)
            story.last = decide(story.look, story.state, RULES, story.now)
            story.state = story.last.state
        return story.last

    decision = look(28)
    assert decision.action == NOTHING
    assert "backlog" in decision.lines[0]
    assert look(10).action == FAIL_OVER


def test_paused_guards_do_nothing_and_count_on() -> None:
    story = healthy()
    story.look = replace(story.look, paused="by me: a test")
    assert "paused: by me" in story.see(5, aws=DOWN, gcp=UP).reason
    story.look = replace(story.look, paused="")
    assert story.see(1, aws=DOWN, gcp=UP).action == FAIL_OVER


def test_a_site_that_is_back_is_caught_up_before_anything_else() -> None:
    story = healthy(replace(RULES, failback=True))
    story.see(3, aws=DOWN, gcp=UP)
    story.look = replace(story.look, debts={"aws": Debt("aws", 1, 0.0, may_return=True)})
    assert story.see(5, aws=DOWN, gcp=UP).action == NOTHING
    assert story.see(4, aws=UP, gcp=UP).action == NOTHING
    assert story.see(1, aws=UP, gcp=UP).action == CATCH_UP
    story.look = replace(story.look, catching_up="aws")
    assert story.see(1, aws=UP, gcp=UP).action == NOTHING
    paid = Debt("aws", 1, 0.0, paid=True, may_return=True)
    story.look = replace(story.look, catching_up="", debts={"aws": paid})
    assert "within the cooldown" in story.see(5, aws=UP, gcp=UP).reason
    assert story.see(60, aws=UP, gcp=UP).action == FAIL_BACK


def test_a_site_that_dies_is_left_while_another_is_caught_up() -> None:
    story = healthy()
    story.record("aws", "manual")
    story.look = replace(story.look, catching_up="gcp")
    story.see(6, aws=UP, gcp=UP)
    assert story.see(3, aws=DOWN, gcp=UP).action == FAIL_OVER


def test_a_move_that_is_under_way_is_the_only_one() -> None:
    story = healthy()
    story.look = replace(story.look, moving="moving to gcp")
    assert story.see(9, aws=DOWN, gcp=UP).action == NOTHING


def test_an_unwatched_primary_is_not_replaced() -> None:
    story = healthy()
    story.record("aws-west", "manual")
    assert "not one of the watched sites" in story.see(9, aws=DOWN, gcp=UP).reason


MOMENT = st.tuples(
    st.sampled_from([UP, UP, DOWN, UNKNOWN, ""]),
    st.sampled_from([UP, UP, DOWN, UNKNOWN, ""]),
    st.sampled_from([2.0, 2.0, 2.0, 0.5, 20.0, 4000.0]),
    st.sampled_from([0.0, 0.0, 0.0, -1e6, 1e6]),
)


@settings(max_examples=300)
@given(st.lists(MOMENT, max_size=60))
def test_every_history_matches_a_simple_model(moments: list[tuple[str, str, float, float]]) -> None:
    """Flapping, failed sites, stale observations, sleep and clock jumps match a simple model."""
    story = Story()
    moved_at = -inf
    rows: dict[str, list[tuple[float, str]]] = {"aws": [], "gcp": []}
    for aws, gcp, step, jump in moments:
        story.wall += jump
        primary = story.look.record.primary if story.look.record else "aws"
        epoch = story.look.record.epoch if story.look.record else 0
        seen = {name: state for name, state in (("aws", aws), ("gcp", gcp)) if state}
        decision = story.see(1, step=step, **seen)
        for name, state in seen.items():
            rows[name].append((story.now, state))
        assert decision.reason
        assert len(decision.lines) >= 2
        if decision.action != FAIL_OVER:
            assert (story.look.record.epoch if story.look.record else 0) == epoch
            continue
        other = decision.site
        assert other != primary
        # The site that is left was down in all of its last observations.
        known = [each for each in rows[primary] if each[1] != UNKNOWN]
        assert [state for _, state in known[-RULES.fails :]] == [DOWN] * RULES.fails
        # The site that takes over was just observed, and is up.
        at, state = rows[other][-1]
        assert state == UP
        assert story.now - at <= RULES.stale
        # measured by the clock that does not jump
        assert story.now - moved_at >= RULES.cooldown
        moved_at = story.now


def test_settings_that_cannot_work_are_reported() -> None:
    assert problem_of(GuardSettings()) == ""
    assert "lease allows" in problem_of(GuardSettings(interval=6, lease=8))
    assert "flaps" in problem_of(GuardSettings(goods=3))
