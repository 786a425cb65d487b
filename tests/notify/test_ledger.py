"""One of several watchers sends, whichever sites answer, watchers die or clocks differ."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from failover.sites import LiveSite
from hypothesis import given
from hypothesis import strategies as st
from patience import PATIENCE, eventually

from mcloud.cost.prices import PRICES
from mcloud.documents import Damaged
from mcloud.errors import Refused, Unavailable
from mcloud.notify.event import Event
from mcloud.notify.ledger import (
    AWAY,
    KEPT,
    KIND,
    LEASE,
    RECORDS,
    TOGETHER,
    Claim,
    EventLedger,
    LedgerRecord,
    NotClaimed,
)
from mcloud.notify.memory import SentEvent, SentMemory
from mcloud.notify.notifier import LOOK_AGAIN, SHARE_AGAIN, Notifier

from .events import FIRING, HAPPENED, RESOLVED, Sink

HOUR = 3600.0
NOW = FIRING.at + 1
SHORT = 0.05  # seconds for a site to answer in these tests


class Clock:
    """The wall clock and the monotonic clock of a machine."""

    def __init__(self, now: float = NOW) -> None:
        self.wall, self.passed = now, 0.0

    def forward(self, seconds: float) -> None:
        self.wall += seconds
        self.passed += seconds


def two() -> dict[str, LiveSite]:
    return {name: LiveSite(name) for name in ("aws", "gcp")}


def ledger(sites: Any, by: str, clock: Clock | None = None, folder: str = "here") -> EventLedger:
    clock = clock or Clock()
    return EventLedger(
        sites,
        folder,
        by,
        deadline=SHORT,
        clock=lambda: clock.wall,
        monotonic=lambda: clock.passed,
    )


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


Break = Callable[[LiveSite], None]


def refuses(site: LiveSite) -> None:
    site.dead.add("candles")


def is_read_only(site: LiveSite) -> None:
    def before(call: str) -> None:
        if call in ("add", "replace", "keep"):
            raise Refused("AccessDenied: PutItem")

    site.faults.before = before


class Watcher:
    """A notifier with its own folder, on its own machine."""

    def __init__(
        self, sites: Any, name: str, sink: Sink, clock: Clock, path: Path | None = None, **said: Any
    ) -> None:
        self.clock = clock
        self.memory = SentMemory(path)
        self.notifier = Notifier(
            sink.channel(),
            self.memory,
            ledger=ledger(sites, name, clock, folder=name),
            folder=name,
            clock=lambda: clock.wall,
            timer=lambda: clock.passed,
            **said,
        )

    def send(self, event: Event) -> None:
        """Send an event, and wait until the channel's thread has handled or kept it."""
        self.notifier.send(event)
        line = self.notifier._lines["desk"]
        eventually(
            lambda: (
                not (
                    line._waiting
                    or line._at_work
                    or any(each.until <= self.clock.passed for each in line._held)
                )
            ),
            pause=0.001,
        )


def test_two_watchers_send_each_alert_and_its_end_once() -> None:
    sites, sink, clock = two(), Sink(), Clock()
    watchers = [Watcher(sites, name, sink, clock) for name in "ab"]
    for event in (FIRING, FIRING, RESOLVED, RESOLVED):
        for number, watcher in enumerate(watchers):
            watcher.send(replace(event, at=event.at + 20 * number))
            clock.forward(5)
    assert [event.state for event in sink.taken] == ["firing", "resolved"]
    # The second watcher is the first to see the next event.
    clock.forward(HOUR)
    for watcher in reversed(watchers):
        watcher.send(replace(FIRING, at=clock.wall))
    assert [event.state for event in sink.taken] == ["firing", "resolved", "firing"]


@pytest.mark.parametrize("broken", [refuses, is_read_only, None], ids=["refuses", "reads", "fine"])
@pytest.mark.parametrize("which", ["aws", "gcp"])
def test_many_at_the_same_moment_send_once_with_one_site(which: str, broken: Break | None) -> None:
    sites, sink = two(), Sink()
    if broken:
        broken(sites[which])
    watchers = [Watcher(sites, str(number), sink, Clock()) for number in range(6)]
    threads = [threading.Thread(target=each.send, args=(FIRING,)) for each in watchers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    eventually(lambda: len(sink.taken) == 1)
    for each in watchers:
        each.clock.forward(LOOK_AGAIN)
        each.send(FIRING)
    assert len(sink.taken) == 1


def test_one_site_that_hangs_delays_only_the_first(gate: threading.Event) -> None:
    sites, sink, clock = two(), Sink(), Clock()
    sites["aws"].faults.before = lambda call: gate.wait(PATIENCE) and None
    first, second = (Watcher(sites, name, sink, clock) for name in "ab")
    asked: list[str] = []
    for watcher in (first, second):
        watcher.send(FIRING)
    assert sink.taken == [FIRING]
    sites["aws"].faults.before = asked.append
    first.send(RESOLVED)
    assert (len(sink.taken), asked) == (2, []), "it is left alone for a while"
    clock.forward(AWAY)
    first.send(replace(FIRING, at=clock.wall))
    assert "get" in asked
    assert sites["aws"].control.documents == sites["gcp"].control.documents


@pytest.mark.parametrize("how", ["refuse", "hang", "read only"])
def test_without_any_site_every_watcher_sends(how: str, gate: threading.Event) -> None:
    sites, sink, clock = two(), Sink(), Clock()
    for site in sites.values():
        if how == "hang":
            site.faults.before = lambda call: gate.wait(PATIENCE) and None
        else:
            (refuses if how == "refuse" else is_read_only)(site)
    first, second = (Watcher(sites, name, sink, clock) for name in "ab")
    for event in (FIRING, FIRING, RESOLVED):
        for watcher in (first, second):
            watcher.send(event)
    states = [event.state for event in sink.taken]
    assert states == ["firing", "firing", "resolved", "resolved"], "twice, and never not at all"


def test_an_event_sent_without_any_site_is_recorded_later() -> None:
    sites, sink, clock = two(), Sink(), Clock()
    for site in sites.values():
        refuses(site)
    first = Watcher(sites, "a", sink, clock)
    first.send(FIRING)
    for site in sites.values():
        site.dead.clear()
    clock.forward(max(AWAY, SHARE_AGAIN))
    first.send(FIRING)
    Watcher(sites, "new", sink, clock).send(FIRING)
    assert sink.taken == [FIRING]
    writes = [site.control.documents for site in sites.values()]
    first.send(FIRING)
    assert [site.control.documents for site in sites.values()] == writes


def test_an_upgrade_sends_nothing_again(tmp_path: Path) -> None:
    """The memory of an earlier version, which was in a folder only, is copied to the sites."""
    path = tmp_path / "told.json"
    path.write_text(
        '{"desk": {"dead-letters aws": {"state": "firing", "severity": "critical",'
        f' "happened": {FIRING.at}, "at": {NOW}}}}}}}'
    )
    sites, sink, clock = two(), Sink(), Clock(NOW + 60)
    old = Watcher(sites, "a", sink, clock, path)
    old.send(FIRING)
    Watcher(sites, "b", sink, clock).send(FIRING)
    assert sink.taken == []
    old.send(RESOLVED)
    Watcher(sites, "b", sink, clock).send(RESOLVED)
    assert sink.taken == [RESOLVED]


class TestTheOneThatDies:
    def test_between_its_claim_and_the_sending(self) -> None:
        sites, sink, clock = two(), Sink(), Clock()
        assert isinstance(ledger(sites, "dead", clock).claim("desk", FIRING, HOUR, None), Claim)
        left = Watcher(sites, "b", sink, clock)
        left.send(FIRING)
        left.send(RESOLVED)
        assert sink.taken == []
        clock.forward(LEASE - 1)
        left.send(RESOLVED)
        assert sink.taken == []
        clock.forward(LOOK_AGAIN)
        left.send(RESOLVED)
        eventually(lambda: len(sink.taken) == 2)
        assert sink.taken == [FIRING, RESOLVED], "both, and in order"

    def test_with_a_clock_that_is_wrong_by_days(self) -> None:
        for wrong in (-30 * 86_400.0, 30 * 86_400.0):
            sites, sink = two(), Sink()
            ledger(sites, "dead", Clock(NOW + wrong)).claim("desk", FIRING, HOUR, None)
            left = Watcher(sites, "b", sink, Clock())
            left.send(FIRING)
            assert sink.taken == []
            left.clock.forward(LEASE + LOOK_AGAIN)
            left.send(FIRING)
            eventually(lambda taken=sink.taken: taken == [FIRING])

    def test_after_a_failure_another_watcher_may_try(self) -> None:
        def answer(event: Event) -> str:
            raise Refused("HTTP 404")

        sites, sink, clock = two(), Sink(), Clock()
        broken = Watcher(sites, "a", Sink(answer), clock)
        broken.send(FIRING)
        assert broken.notifier.failures()
        Watcher(sites, "b", sink, clock).send(FIRING)
        assert sink.taken == [FIRING]


class TestSitesThatWereApart:
    def test_an_old_record_does_not_hide_a_new_outage(self) -> None:
        """Both sites know that it fired, but only the unavailable one knows that it ended."""
        sites, sink, clock = two(), Sink(), Clock()
        first = Watcher(sites, "a", sink, clock)
        first.send(FIRING)
        refuses(sites["gcp"])
        first.send(RESOLVED)
        sites["gcp"].dead.clear()
        refuses(sites["aws"])
        clock.forward(TOGETHER + AWAY)
        again = replace(FIRING, at=clock.wall)
        Watcher(sites, "new", sink, clock).send(again)
        first.send(again)
        assert sink.taken == [FIRING, RESOLVED, again]

    def test_the_local_memory_counts_more_than_an_older_record_of_a_site(self) -> None:
        sites, sink, clock = two(), Sink(), Clock()
        first = Watcher(sites, "a", sink, clock)
        first.send(FIRING)
        refuses(sites["gcp"])
        first.send(RESOLVED)
        sites["gcp"].dead.clear()
        refuses(sites["aws"])
        clock.forward(AWAY)  # within TOGETHER
        again = replace(FIRING, at=clock.wall)
        first.send(again)
        assert sink.taken == [FIRING, RESOLVED, again]

    def test_the_next_write_updates_a_site_that_was_away(self) -> None:
        sites, sink, clock = two(), Sink(), Clock()
        first = Watcher(sites, "a", sink, clock)
        refuses(sites["gcp"])
        first.send(FIRING)
        sites["gcp"].dead.clear()
        clock.forward(AWAY)
        first.send(RESOLVED)
        assert sites["aws"].control.documents == sites["gcp"].control.documents

    def test_watchers_that_claim_on_different_sites_do_not_block_each_other(self) -> None:
        """One watcher reaches both sites, the other only the second. One of them sends."""
        sites, clock = two(), Clock()
        half = {"aws": LiveSite("aws"), "gcp": sites["gcp"]}
        refuses(half["aws"])
        blind, seeing = ledger(half, "blind", clock), ledger(sites, "seeing", clock)
        answers: list[Any] = []

        def before(call: str) -> None:
            if call == "add" and not answers:
                answers.append(None)
                answers[0] = blind.claim("desk", FIRING, HOUR, None)

        # While one is about to write to the first site, the other one claims at the second.
        sites["aws"].faults.before = before
        answers.append(seeing.claim("desk", FIRING, HOUR, None))
        assert isinstance(answers[0], Claim)
        assert answers[1] is NotClaimed.BUSY


@pytest.mark.parametrize("skew", [-90.0, -2.0, 2.0, 90.0, 86_400.0])
def test_clocks_that_differ_send_nothing_twice(skew: float) -> None:
    sites, sink = two(), Sink()
    ahead, behind = (Watcher(sites, n, sink, Clock(NOW + s)) for n, s in (("a", skew), ("b", 0.0)))
    for event in (FIRING, FIRING, RESOLVED, RESOLVED):
        for watcher in (ahead, behind):
            watcher.send(event)
            watcher.clock.forward(1)
    assert [event.state for event in sink.taken] == ["firing", "resolved"]


def test_a_repetition_and_a_higher_severity_are_sent_once() -> None:
    sites, sink, clock = two(), Sink(), Clock()
    watchers = [Watcher(sites, name, sink, clock) for name in "ab"]
    mild = replace(FIRING, severity="warning")
    for event, wait in ((mild, 60), (mild, HOUR), (mild, 60), (FIRING, 60), (FIRING, 60)):
        for watcher in watchers:
            watcher.send(event)
        clock.forward(wait)
    assert [event.severity for event in sink.taken] == ["warning", "warning", "critical"]


def test_a_clock_that_is_set_back_silences_nothing() -> None:
    sites, sink, clock = two(), Sink(), Clock()
    watcher = Watcher(sites, "a", sink, clock)
    watcher.send(FIRING)
    clock.wall -= 86_400
    watcher.send(FIRING)
    assert len(sink.taken) == 2


def test_each_event_without_an_end_is_sent() -> None:
    sites, sink, clock = two(), Sink(), Clock()
    for name in "ab":
        Watcher(sites, name, sink, clock).send(HAPPENED)
    later = replace(HAPPENED, at=HAPPENED.at + 1)
    Watcher(sites, "c", sink, clock).send(later)
    assert sink.taken == [HAPPENED, later]


def test_the_same_figure_of_two_folders_is_sent_for_each() -> None:
    sites, sink, clock = two(), Sink(), Clock()
    local = replace(FIRING, key="spool-full default", is_of_folder=True)
    for name in "ab":
        Watcher(sites, name, sink, clock).send(local)
    assert [event.fields["folder"] for event in sink.taken] == ["a", "b"]


def test_a_resolution_is_not_sent_if_the_alert_was_never_sent() -> None:
    sites, sink = two(), Sink()
    Watcher(sites, "a", sink, Clock()).send(RESOLVED)
    assert sink.taken == []
    # With an unavailable site this is unknown, and a second notification is better than none.
    refuses(sites["aws"])
    Watcher(sites, "a", sink, Clock()).send(RESOLVED)
    assert sink.taken == [RESOLVED]


@pytest.mark.parametrize("document", ["", [], 7, {}, {"version": 1}, {"state": "firing"}])
def test_a_damaged_document_hides_nothing_and_is_replaced(document: Any) -> None:
    sites, sink, clock = two(), Sink(), Clock()
    for site in sites.values():
        site.control.documents[KIND, "desk dead-letters aws"] = document
    for name in "ab":
        Watcher(sites, name, sink, clock).send(FIRING)
    assert sink.taken == [FIRING]


def test_a_document_that_no_write_finds_as_it_was_read_hides_nothing() -> None:
    """A document edited in a console may have the same meaning but another notation."""
    sites, sink, clock = two(), Sink(), Clock()
    watcher = Watcher(sites, "a", sink, clock)
    watcher.send(FIRING)
    for site in sites.values():
        site.control.replace = lambda *each: False  # type: ignore[method-assign]
    watcher.send(RESOLVED)
    assert sink.taken == [FIRING]
    clock.forward(LEASE)
    watcher.send(RESOLVED)
    assert sink.taken == [FIRING, RESOLVED]
    read = RECORDS.decode("x", sites["gcp"].control.documents[KIND, "desk dead-letters aws"])
    assert isinstance(read, LedgerRecord)
    assert read.state == "resolved"


def test_a_document_of_a_newer_version_is_left_alone() -> None:
    sites, sink, clock = two(), Sink(), Clock()
    newer = {"version": 2, "what": "nobody knows"}
    sites["aws"].control.documents[KIND, "desk dead-letters aws"] = newer
    for name in "ab":
        Watcher(sites, name, sink, clock).send(FIRING)
    assert sink.taken == [FIRING], "the other site is enough"
    assert sites["aws"].control.documents[KIND, "desk dead-letters aws"] == newer


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.just(10**400),
    st.floats(),
    st.text(),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@given(
    changes=st.dictionaries(st.sampled_from(sorted(LedgerRecord.__dataclass_fields__)), VALUES),
    dropped=st.sets(st.sampled_from(sorted(LedgerRecord.__dataclass_fields__))),
    added=st.dictionaries(st.text(max_size=5), VALUES, max_size=1),
)
def test_a_damaged_record_raises_no_error_and_loses_no_alert(
    changes: Any, dropped: set[str], added: Any
) -> None:
    record = LedgerRecord("firing", "critical", 1.0, "a", 2.0, None, 3)
    whole = asdict(record)
    assert RECORDS.decode("x", whole) == record
    document = {k: v for k, v in {**whole, **changes, **added}.items() if k not in dropped}
    read = RECORDS.decode("x", document)
    assert isinstance(read, LedgerRecord | Damaged)
    # In every case, at least one of two watchers that do not wait sends the alert.
    sites = two()
    sites["aws"].control.documents[KIND, "desk dead-letters aws"] = document
    answer = ledger(sites, "a").claim("desk", FIRING, HOUR, None)
    assert isinstance(answer, Claim | SentEvent | NotClaimed)


@pytest.mark.parametrize("key", ["lag aws+2/4", "ü", "a:b", "a" * 2000, "x\ny", "", "."])
def test_any_key_has_a_document_of_its_own(key: str) -> None:
    sites = two()
    mine = ledger(sites, "a")
    other = replace(FIRING, key=key + "!")
    for event in (replace(FIRING, key=key), other):
        assert isinstance(mine.claim("desk", event, HOUR, None), Claim)
    names = [name for _, name in sites["aws"].control.documents]
    assert len(names) == 2
    assert all(len(name) <= 300 and set(name) <= _ALLOWED for name in names)


_ALLOWED = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 -._:")


def test_old_records_are_deleted() -> None:
    sites, clock = two(), Clock()
    sink = Sink()
    Watcher(sites, "a", sink, clock).send(FIRING)
    clock.forward(KEPT + 1)
    Watcher(sites, "b", sink, clock).send(replace(FIRING, key="other"))
    assert [name for _, name in sites["aws"].control.documents] == ["desk other"]


def test_the_ledger_costs_a_few_cents() -> None:
    """There are no requests while nothing changes, and then a few reads and writes."""
    sites, sink, clock = two(), Sink(), Clock()
    calls: Counter[str] = Counter()
    for site in sites.values():
        site.faults.before = lambda call: calls.update([call])
    watchers = [Watcher(sites, name, sink, clock) for name in "ab"]
    for watcher in watchers:
        watcher.send(FIRING)
    # Each watcher reads both sites, and one claims and confirms at both.
    assert calls == {"get": 4, "add": 2, "replace": 2}
    calls.clear()
    for _ in range(100):
        clock.forward(1)
        for watcher in watchers:
            watcher.send(FIRING)
    assert calls == {}
    watchers[0].send(RESOLVED)
    watchers[1].send(RESOLVED)
    assert calls == {"get": 4, "replace": 4}
    # A thousand alerts per month and their ends through two channels, with two watchers. A replace
    # of Firestore is a read and a write.
    events = 1000 * 2 * 2
    aws = {"dynamodb_reads": 2 * events, "dynamodb_writes": 2 * events}
    gcp = {"firestore_reads": 4 * events, "firestore_writes": 2 * events}
    cost = sum(
        float(PRICES[cloud, meter].usd / PRICES[cloud, meter].per) * units
        for cloud, meters in (("aws", aws), ("gcp", gcp))
        for meter, units in meters.items()
    )
    print(f"\na thousand alerts a month through two channels: ${cost:.3f}")
    assert cost < 0.03


def test_a_site_that_fails_in_any_way_raises_nothing() -> None:
    for error in (Unavailable("away"), KeyError("document"), TypeError("x"), TimeoutError()):

        def before(call: str, error: Exception = error) -> None:
            raise error

        sites = two()
        for site in sites.values():
            site.faults.before = before
        mine = ledger(sites, "a")
        claim = mine.claim("desk", FIRING, HOUR, None)
        assert isinstance(claim, Claim)
        assert claim.sites == ()
        assert mine.confirm(claim).written == 0
        mine.give_up(claim)
