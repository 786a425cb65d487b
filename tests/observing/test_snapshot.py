"""A snapshot has all known figures and reasons for others, and does not wait for dead sites."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from states import GUARD, guard

from mcloud.clouds.observation import Observation
from mcloud.clouds.ports import SERVICES, ControlRecord, Depth
from mcloud.cost.current import CostFigure
from mcloud.documents import Damaged, encode
from mcloud.drawing.band import leading
from mcloud.drawing.figures import holes, processed
from mcloud.errors import Refused, Unavailable
from mcloud.failover.statement import GuardState
from mcloud.observing.document import document
from mcloud.observing.machine import Machine
from mcloud.observing.queries import Costing
from mcloud.observing.snapshot import SiteCost, collect
from mcloud.observing.watch import HISTORY, SnapshotWatch
from mcloud.runs import Running
from observing.sites import AT, BEATS, CANDLE, DEAD, DEPTH, FIGURES, RECORD, FakeSite, hang

DEADLINE = 4.0  # seconds; sites that answer take a thousandth of it
METHODS = (
    *("check", "depth", "dead_letter_depth", "figures", "heartbeats", "lags", "range"),
    *("record", "kept"),
)


@pytest.fixture
def release() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_the_snapshot_of_a_healthy_site() -> None:
    site = collect({"aws": FakeSite()}).sites["aws"]
    assert site.up
    assert set(site.health) == set(SERVICES)
    assert all(each.took > 0 for each in site.health.values())
    assert (site.queue.value, site.dead_letters.value) == (DEPTH, DEAD)
    assert (site.figures.value, site.heartbeats.value) == (FIGURES, BEATS)
    assert site.record.value == RECORD
    assert site.last is not None
    assert site.last.last == CANDLE
    assert site.missing == 0


def test_the_metrics_replace_a_missing_depth_of_the_queue() -> None:
    figures = replace(FIGURES, queue=Depth(4, None, AT), dead_letters=Depth(1, None, AT))
    site = collect({"gcp": FakeSite("gcp", figures=figures)}).sites["gcp"]
    assert site.queue.value == Depth(4, None, AT)
    assert site.dead_letters.value == Depth(1, None, AT)
    down = FakeSite("gcp", figures=Unavailable("no metrics"))
    site = collect({"gcp": down}).sites["gcp"]
    assert (site.queue.value, site.queue.why) == (None, "no metrics")


def test_the_last_candle_is_that_of_the_symbol_seen_last() -> None:
    site = collect({"aws": FakeSite(heartbeats=BEATS[::-1])}).sites["aws"]
    assert site.last is not None
    assert site.last.symbol == "BTCUSDT"


def test_a_damaged_heartbeat_hides_no_candle() -> None:
    broken = Damaged("at is missing", "the heartbeat BTCUSDT", found={"trades": 5})
    fake = FakeSite(heartbeats=[broken], last=CANDLE)
    snapshot = collect({"aws": fake})
    site = snapshot.sites["aws"]
    assert site.last is not None
    assert site.last.last == CANDLE
    assert processed(site, AT).text.plain == f"unknown: {broken}"
    assert holes(site, AT).text.plain == "none"
    told = encode(document(snapshot).sites["aws"])
    assert told["heartbeats"] == {"BTCUSDT": {"unknown": str(broken)}}
    assert told["last_candle"]["symbol"] == "BTCUSDT"
    two = collect({"aws": FakeSite(heartbeats=[broken, BEATS[1]], last=CANDLE)}).sites["aws"]
    assert processed(two, AT).text.plain == "at least 6,106 trades"


def test_a_damaged_record_is_not_called_missing() -> None:
    broken = Damaged("epoch is 'x', not a whole number", "the control record")
    snapshot = collect({"aws": FakeSite(), "gcp": FakeSite(record=broken)})
    assert leading(snapshot).plain.endswith("; gcp has a damaged record")


def test_a_site_without_trades_has_no_last_candle() -> None:
    fake = FakeSite(heartbeats=[])
    site = collect({"aws": fake}).sites["aws"]
    assert site.last is None
    assert site.missing == 0
    assert fake.ranges == []


def test_a_service_that_is_down_has_its_reason() -> None:
    def check(service: str) -> None:
        if service == "queue":
            raise Unavailable("SQS did not answer", remedy="try again")
        if service == "archive":
            raise Refused("no bucket")

    snapshot = collect({"aws": FakeSite(check=check), "gcp": FakeSite("gcp")})
    assert snapshot.sites["aws"].down == {
        "SQS did not answer; try again": ["queue"],
        "no bucket": ["archive"],
    }
    assert not snapshot.up
    assert snapshot.sites["aws"].up is False
    assert snapshot.sites["gcp"].up is True


def test_a_site_that_hangs_costs_the_deadline_and_no_more(release: threading.Event) -> None:
    hanging = FakeSite("aws", **{method: hang(release) for method in METHODS})
    snapshot = collect({"aws": hanging, "gcp": FakeSite("gcp")}, deadline=DEADLINE)
    assert not release.is_set()  # it returned while everything still hangs
    late = snapshot.sites["aws"]
    assert late.up is False
    for seen in (late.queue, late.dead_letters, late.figures, late.heartbeats, late.lags):
        assert not seen.known
        assert seen.why.startswith("no answer within")
    ((reason, services),) = late.down.items()
    assert reason.startswith("no answer within")
    assert services == list(SERVICES)
    assert snapshot.sites["gcp"].up is True
    assert snapshot.sites["gcp"].heartbeats.value == BEATS


def test_a_site_with_slow_clients_leaves_time_for_the_others(
    release: threading.Event,
) -> None:
    class Stuck(FakeSite):
        @property
        def queue(self) -> Any:
            release.wait(60)
            return self

    snapshot = collect({"aws": Stuck(), "gcp": FakeSite("gcp")}, deadline=DEADLINE)
    assert not release.is_set()
    assert snapshot.sites["aws"].queue.why.startswith("no answer within")
    assert snapshot.sites["gcp"].up is True
    assert snapshot.sites["gcp"].last is not None


def test_the_record_with_the_highest_epoch_is_valid() -> None:
    newer = ControlRecord(4, "gcp", "automatic", "aws is away", "guard", AT)
    sites = {
        "aws": FakeSite("aws", record=RECORD),
        "gcp": FakeSite("gcp", record=newer),
        "west": FakeSite("aws", record=Unavailable("away")),
        "east": FakeSite("aws", record=None),
    }
    assert collect(sites).leading == newer
    assert collect({"aws": FakeSite(record=None)}).leading is None
    assert collect({}).leading is None


def test_local_processes_and_costs_are_queried_too() -> None:
    figure = CostFigure(Decimal(3), None, None, None, AT, "an estimate", {"aws": Decimal(2)})
    sites = {"aws": FakeSite(), "gcp": FakeSite("gcp")}
    snapshot = collect(sites, Machine, Costing(lambda: figure))
    assert snapshot.machine.value == Machine()
    assert snapshot.cost.value == figure
    assert snapshot.sites["aws"].cost == Observation(SiteCost(Decimal(2), None), AT)
    assert snapshot.sites["gcp"].cost == Observation(problem="an estimate")
    assert not collect({"aws": FakeSite()}).sites["aws"].cost.known


class TestWatch:
    def test_the_last_values_of_an_unavailable_site_are_kept(self) -> None:
        now = [AT]
        fake = FakeSite()
        watch = self.watch(fake, now)
        watch.tick()
        assert watch.snapshot().sites["aws"].up is True
        for method in METHODS:
            fake.answers[method] = Unavailable("gone")
        now[0] += 300
        watch.tick()
        site = watch.snapshot().sites["aws"]
        assert site.up is False
        assert (site.queue.value, site.queue.problem) == (DEPTH, "gone")
        assert (site.figures.value, site.figures.at) == (FIGURES, AT)

    def test_after_a_failed_query_the_probes_are_sent_sooner(self) -> None:
        now = [AT]
        fake = FakeSite()
        watch = self.watch(fake, now)
        watch.tick()
        for method in METHODS:
            fake.answers[method] = Unavailable("gone")
        seconds = 0
        while watch.snapshot().sites["aws"].up:
            assert seconds < 20  # only a probe comes once a minute
            now[0] += 1
            seconds += 1
            watch.tick()
        for method in METHODS:
            del fake.answers[method]
        fake.answers |= FakeSite().answers
        now[0] += 15
        watch.tick()
        assert watch.snapshot().sites["aws"].up

    def test_what_a_guard_sees_is_checked_immediately(self) -> None:
        now = [AT]
        fakes: dict[str, Any] = {"aws": FakeSite(), "gcp": FakeSite("gcp")}
        guards: list[Running[GuardState]] = []
        watch = SnapshotWatch(
            fakes,
            lambda: Machine(guards=tuple(guards)),
            wall=lambda: now[0],
            clock=lambda: now[0],
            spawn=lambda call: call(),
        )
        watch.tick()
        fakes["aws"].answers["check"] = Unavailable("gone")
        moved = replace(RECORD, epoch=4, primary="gcp", at=AT + 3)
        seen = guard(
            record=encode(moved), sites={"aws": {**GUARD["sites"]["aws"], "bad": 1, "good": 0}}
        )
        guards.append(Running("guard", True, seen))
        for _ in range(3):
            now[0] += 1
            watch.tick()
        shown = watch.snapshot()
        assert shown.sites["aws"].down == {"gone": list(SERVICES)}
        assert shown.sites["gcp"].up
        # The sites still have the earlier record. It is read at the pace of the queues.
        assert shown.leading == moved
        asked = watch.asked()["gcp", "record"]
        now[0] += 5
        watch.tick()
        assert watch.asked()["gcp", "record"] == asked + 1

    def test_the_history_of_depths_is_bounded(self) -> None:
        now = [AT]
        fake = FakeSite()
        watch = self.watch(fake, now)
        for depth in range(HISTORY + 10):
            fake.answers["depth"] = Depth(depth if depth % 2 else None, None, now[0])
            watch.tick()
            watch.snapshot()
            assert watch.snapshot().sites["aws"].history[-1] == (
                now[0],
                depth if depth % 2 else None,
            )
            now[0] += 5
        history = watch.snapshot().sites["aws"].history
        assert len(history) == HISTORY
        assert history[-1][1] == HISTORY + 9
        fake.answers["depth"] = Unavailable("gone")
        watch.tick()
        assert watch.snapshot().sites["aws"].history == history

    def watch(self, fake: FakeSite, now: list[float]) -> SnapshotWatch:
        return SnapshotWatch(
            {"aws": fake},
            keeps_past=True,
            wall=lambda: now[0],
            clock=lambda: now[0],
            spawn=lambda call: call(),
        )
