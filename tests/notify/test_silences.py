"""Silences hold back alerts for exactly their time, whichever site stores them."""

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from patience import PATIENCE

from mcloud.documents import Damaged, encode
from mcloud.notify import silences
from mcloud.notify.notifier import LOOK_AGAIN
from mcloud.notify.silences import FRESH, KEPT, KIND, MOST, Silence, Silences, merged

from .events import FIRING, RESOLVED, Sink
from .test_ledger import NOW, SHORT, VALUES, Clock, Watcher, refuses, two

HOUR = 3600.0
MADE = Silence("site", "aws", "", "an upgrade", "somebody", NOW, NOW, NOW + HOUR, id="a1b2c3")
DOWN = replace(FIRING, key="service-down aws", rule="service-down", figure="sites.aws.up")
UP = replace(RESOLVED, key=DOWN.key, rule=DOWN.rule, figure=DOWN.figure)


def watching(sites: Any, clock: Clock, not_before: float = 0.0) -> Silences:
    return Silences(
        sites,
        not_before=not_before,
        deadline=SHORT,
        clock=lambda: clock.wall,
        monotonic=lambda: clock.passed,
    )


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize(
    ("what", "name", "of", "rule", "figure", "covers"),
    [
        ("site", "aws", "", "service-down", "sites.aws.up", True),
        ("site", "aws", "", "service-down", "sites.aws-west.up", False),
        ("site", "aws", "", "", "sites.aws", True),  # unknown for a while, or from a guard
        ("site", "aws", "", "replication-lag", "sites.gcp.replication.aws.candles_s", True),
        ("site", "aws", "", "guard-lost", "guards.aws.lost_s", False),
        ("site", "aws", "", "budget", "budgets.aws.used", False),
        ("site", "queue", "", "message-age", "sites.aws.queue.oldest_age_s", False),
        ("rule", "guard-lost", "", "guard-lost", "guards.guard.lost_s", True),
        ("rule", "guard-lost", "other", "guard-lost", "guards.guard.lost_s", False),
        ("rule", "dead-letters", "aws", "dead-letters", "sites.aws.dead_letters.ready", True),
        ("rule", "dead-letters", "gcp", "dead-letters", "sites.aws.dead_letters.ready", False),
        ("rule", "dead-letters", "", "", "sites.aws", False),
        ("symbol", "BTCUSDT", "", "silence", "symbols.BTCUSDT.silent_s", True),
        ("symbol", "BTCUSDT", "", "silence", "symbols.ETHUSDT.silent_s", False),
        ("symbol", "BTCUSDT", "", "guard-lost", "guards.BTCUSDT.lost_s", False),
        ("symbol", "BTCUSDT", "", "own", "sites.aws.candles.BTCUSDT.missing", True),
    ],
)
def test_a_silence_covers_the_figures_that_it_names(
    what: str, name: str, of: str, rule: str, figure: str, covers: bool
) -> None:
    assert replace(MADE, what=what, name=name, of=of).covers(rule, figure) is covers


def test_a_silenced_alert_is_sent_at_the_end_of_the_silence() -> None:
    sites, sink, clock = two(), Sink(), Clock()
    silences.keep(sites, MADE)  # type: ignore[arg-type]
    quiet = watching(sites, clock)
    watcher = Watcher(sites, "a", sink, clock, holds_back=quiet.holds_back)
    for _ in range(3):
        watcher.send(DOWN)
        clock.forward(HOUR / 4)
    assert sink.taken == []
    assert [each.id for each in quiet.active()] == [MADE.id]
    clock.forward(HOUR / 4)
    watcher.send(DOWN)
    assert sink.taken == [DOWN]
    watcher.send(UP)
    assert sink.taken == [DOWN, UP]


def test_a_silenced_event_of_a_guard_is_sent_at_the_end() -> None:
    """It is not sent again, so the notifier has to remember it."""
    sites, sink, clock = two(), Sink(), Clock()
    silences.keep(sites, MADE)  # type: ignore[arg-type]
    quiet = watching(sites, clock)
    watcher = Watcher(sites, "a", sink, clock, holds_back=quiet.holds_back)
    watcher.send(DOWN)
    clock.forward(HOUR)
    watcher.send(replace(FIRING, key="other"))
    assert {event.key for event in sink.taken} == {"other", DOWN.key}


def test_a_resolution_is_sent_only_to_channels_that_were_sent_the_alert() -> None:
    sites, sink, clock = two(), Sink(), Clock()
    quiet = watching(sites, clock)
    watcher = Watcher(sites, "a", sink, clock, holds_back=quiet.holds_back)
    watcher.send(DOWN)
    clock.forward(FRESH + 1)
    silences.keep(sites, replace(MADE, at=clock.wall, begin=clock.wall))  # type: ignore[arg-type]
    watcher.send(UP)
    assert sink.taken == [DOWN, UP], "it was sent before"
    clock.forward(FRESH + 1)
    again, over = replace(DOWN, at=clock.wall), replace(UP, at=clock.wall + 60)
    watcher.send(again)
    watcher.send(over)
    clock.forward(2 * HOUR)
    watcher.send(over)
    assert sink.taken == [DOWN, UP], "it came and went in silence"


@pytest.mark.parametrize("shared", [True, False])
def test_an_alert_that_begins_and_ends_in_a_silence_is_not_sent(shared: bool) -> None:
    from mcloud.notify.notifier import Notifier

    sites, sink, clock = two(), Sink(), Clock()
    silences.keep(sites, MADE)  # type: ignore[arg-type]
    quiet = watching(sites, clock)
    watcher = Watcher(sites, "a", sink, clock, holds_back=quiet.holds_back)
    if not shared:
        watcher.notifier = Notifier(
            sink.channel(),
            holds_back=quiet.holds_back,
            clock=lambda: clock.wall,
            timer=lambda: clock.passed,
        )
    watcher.send(DOWN)
    watcher.send(UP)
    clock.forward(2 * HOUR)
    watcher.send(replace(FIRING, key="other"))
    assert [event.key for event in sink.taken] == ["other"]


def test_every_watcher_honours_it_and_its_end() -> None:
    sites, sink, clock = two(), Sink(), Clock()
    watchers = [
        Watcher(sites, name, sink, clock, holds_back=watching(sites, clock).holds_back)
        for name in "ab"
    ]
    silences.keep(sites, MADE)  # type: ignore[arg-type]
    for watcher in watchers:
        watcher.send(DOWN)
    assert sink.taken == []
    silences.keep(sites, replace(MADE, over=True))  # type: ignore[arg-type]
    clock.forward(max(FRESH, LOOK_AGAIN) + 1)
    for watcher in watchers:
        watcher.send(DOWN)
    assert sink.taken == [DOWN]


def test_a_window_of_the_future_begins_and_ends() -> None:
    sites, clock = two(), Clock()
    silences.keep(sites, replace(MADE, begin=NOW + HOUR, end=NOW + 2 * HOUR))  # type: ignore[arg-type]
    quiet = watching(sites, clock)
    seen = []
    for _ in range(4):
        seen.append(quiet.holds_back(DOWN))
        clock.forward(HOUR * 0.75)
    assert seen == [False, False, True, False]


class TestClocks:
    @pytest.mark.parametrize("back", [60.0, HOUR, 86_400.0, 400 * 86_400.0])
    def test_setting_the_clock_back_does_not_extend_a_silence(self, back: float) -> None:
        sites, clock = two(), Clock()
        silences.keep(sites, MADE)  # type: ignore[arg-type]
        quiet = watching(sites, clock)
        assert quiet.holds_back(DOWN)
        clock.wall -= back
        clock.forward(HOUR)
        assert not quiet.holds_back(DOWN)

    def test_one_that_was_set_back_before_leaves_no_more_than_its_length(self) -> None:
        sites, clock = two(), Clock(NOW - 86_400)
        silences.keep(sites, replace(MADE, begin=NOW - 90_000))  # type: ignore[arg-type]
        quiet = watching(sites, clock)
        assert quiet.holds_back(DOWN)
        clock.forward(HOUR)
        assert not quiet.holds_back(DOWN)

    def test_one_that_was_set_back_while_no_watcher_ran(self) -> None:
        """The time of its last record is known to have passed."""
        sites, clock = two(), Clock(NOW + 60)
        silences.keep(sites, MADE)  # type: ignore[arg-type]
        assert not watching(sites, clock, not_before=NOW + HOUR).holds_back(DOWN)


class TestSitesThatAreAway:
    def test_a_known_silence_counts_until_its_end(self) -> None:
        sites, clock = two(), Clock()
        silences.keep(sites, MADE)  # type: ignore[arg-type]
        quiet = watching(sites, clock)
        assert quiet.holds_back(DOWN)
        for site in sites.values():
            refuses(site)
        clock.forward(HOUR / 2)
        assert quiet.holds_back(DOWN)
        clock.forward(HOUR / 2)
        assert not quiet.holds_back(DOWN)

    def test_one_site_is_enough_and_the_other_has_it_later(self) -> None:
        sites, clock = two(), Clock()
        refuses(sites["gcp"])
        away = silences.keep(sites, MADE)  # type: ignore[arg-type]
        assert list(away) == ["gcp"]
        sites["gcp"].dead.clear()
        quiet = watching(sites, clock)
        assert quiet.holds_back(DOWN)
        assert sites["gcp"].control.documents == sites["aws"].control.documents
        # It ended while the other site was unavailable, and does not come back with that site.
        refuses(sites["aws"])
        silences.keep(sites, replace(MADE, over=True))  # type: ignore[arg-type]
        sites["aws"].dead.clear()
        clock.forward(FRESH + 1)
        assert not quiet.holds_back(DOWN)
        refuses(sites["gcp"])
        assert not watching(sites, clock).holds_back(DOWN)

    def test_a_site_that_hangs_delays_only_until_the_deadline(self, gate: threading.Event) -> None:
        sites, clock = two(), Clock()
        silences.keep(sites, MADE)  # type: ignore[arg-type]
        sites["aws"].faults.before = lambda call: gate.wait(PATIENCE) and None
        for site in sites.values():
            site.control.kept = hang(gate, site.control.kept, site.name == "aws")  # type: ignore[method-assign]
        assert watching(sites, clock).holds_back(DOWN)

    def test_without_an_answering_site_nothing_is_silenced(self) -> None:
        sites = two()
        silences.keep(sites, MADE)  # type: ignore[arg-type]
        for site in sites.values():
            refuses(site)
        assert not watching(sites, Clock()).holds_back(DOWN)

    def test_a_site_that_failed_is_read_again_before_an_event_is_sent(self) -> None:
        sites, clock = two(), Clock()
        silences.keep(sites, MADE)  # type: ignore[arg-type]
        for site in sites.values():
            refuses(site)
        quiet = watching(sites, clock)
        quiet.refresh()
        for site in sites.values():
            site.dead.clear()
        assert quiet.holds_back(DOWN)


def hang(gate: threading.Event, call: Any, hangs: bool) -> Any:
    def waiting(*arguments: Any, **named: Any) -> Any:
        if hangs:
            gate.wait(PATIENCE)
        return call(*arguments, **named)

    return waiting


def test_silences_are_read_rarely() -> None:
    """Reads happen rarely and only if there is something to send. There are no writes."""
    sites, clock = two(), Clock()
    silences.keep(sites, MADE)  # type: ignore[arg-type]
    calls: Counter[str] = Counter()
    for site in sites.values():
        site.faults.before = lambda call: calls.update([call])
        kept = site.control.kept
        site.control.kept = lambda *each, kept=kept: (calls.update(["kept"]), kept(*each))[1]  # type: ignore[method-assign,misc]
    quiet = watching(sites, clock)
    for _ in range(60):
        quiet.holds_back(DOWN)
        quiet.holds_back(UP)
        clock.forward(1)
    assert calls == {"kept": 4}


@given(
    changes=st.dictionaries(st.sampled_from(sorted(encode(MADE.document))), VALUES),
    dropped=st.sets(st.sampled_from(sorted(encode(MADE.document)))),
    added=st.dictionaries(st.text(max_size=5), VALUES, max_size=1),
)
def test_a_damaged_silence_raises_no_error_and_silences_nothing(
    changes: Any, dropped: set[str], added: Any
) -> None:
    document = {
        k: v for k, v in {**encode(MADE.document), **changes, **added}.items() if k not in dropped
    }
    read = Silence.read("a", document)
    assert isinstance(read, Silence | Damaged)
    if isinstance(read, Silence):
        assert read.end - read.begin <= MOST
    told = merged([{"a": read, MADE.id: Silence.read(MADE.id, encode(MADE.document))}])
    assert told.silences[MADE.id] == MADE


def test_no_silence_is_longer_than_the_maximum() -> None:
    for_ever = {**encode(MADE.document), "end": 2e11}
    read = Silence.read("a", for_ever)
    assert isinstance(read, Silence)
    assert read.end == MADE.begin + MOST


def test_old_silences_are_deleted() -> None:
    sites = two()
    silences.keep(sites, MADE)  # type: ignore[arg-type]
    told, _ = silences.read(sites)  # type: ignore[arg-type]
    assert silences.old(told, MADE.end + KEPT) == []
    silences.forget(sites, silences.old(told, MADE.end + KEPT + 1))  # type: ignore[arg-type]
    assert all((KIND, MADE.id) not in site.control.documents for site in sites.values())
