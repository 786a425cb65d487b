"""Routes follow the state of the sites."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mcloud.clouds.factory import open_site
from mcloud.clouds.ports import ControlRecord, Site
from mcloud.documents import Damaged
from mcloud.errors import McloudError, Refused, Unavailable
from mcloud.local.state import State
from mcloud.producer import router as module
from mcloud.producer.produce import produce
from mcloud.producer.route import Route
from mcloud.producer.router import Router, move
from mcloud.producer.spool import Spool

from .queues import FakeQueue
from .sources import PATIENCE, Script, trades


class FakeSite:
    """A site that answers probes after ``latency`` seconds. Probes and control record may fail."""

    def __init__(self, cloud: str, record: object = None, latency: float = 0.0) -> None:
        self.cloud = self.name = cloud
        self.answer: Any = record
        self.latency = latency
        self.looks = 0

    @property
    def control(self) -> Any:
        return self

    probe = control

    def record(self) -> ControlRecord | None:
        self.looks += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[no-any-return]

    def check(self, service: str, timeout: float) -> None:
        assert service == "queue"
        self.looks += 1
        time.sleep(self.latency)
        if isinstance(self.answer, Exception):
            raise self.answer


def record(epoch: int, primary: str) -> ControlRecord:
    return ControlRecord(epoch, primary, "manual", "drill", "a test", 1.0)


@pytest.fixture
def make() -> Iterator[Callable[..., Router]]:
    with ExitStack() as routers:

        def start(
            mode: str,
            *sites: FakeSite,
            sent: Callable[[str], int] = lambda site: 0,
            follow: Callable[[Route], None] = lambda route: None,
        ) -> Router:
            named: dict[str, Any] = {site.name: site for site in sites}
            router = Router(mode, named, sent, follow=follow, period=0.01)
            routers.callback(router.stop)
            return router

        yield start


def test_mode_both_sends_to_every_site_without_queries(make: Callable[..., Router]) -> None:
    aws, gcp = FakeSite("aws"), FakeSite("gcp")
    assert make("both", aws, gcp).route == Route(("aws", "gcp"), "every site")
    assert make("primary", aws).route == Route(("aws",), "the only site")
    time.sleep(0.05)
    assert (aws.looks, gcp.looks) == (1, 0)


@pytest.mark.parametrize("answer", [Refused("no", remedy="grant it"), Damaged("no", "the record")])
def test_a_control_record_that_cannot_be_used_is_reported(
    make: Callable[..., Router], answer: object
) -> None:
    router = make("primary", FakeSite("aws", Unavailable("gone")), FakeSite("gcp", answer))
    assert router.route == Route(
        ("aws",), f"no control record is known; aws is the first site (gcp: {answer})"
    )


def test_the_primary_follows_the_record(make: Callable[..., Router]) -> None:
    aws, gcp = FakeSite("aws", record(1, "aws")), FakeSite("gcp", record(1, "aws"))
    router = make("primary", aws, gcp)
    assert router.route.sites == ("aws",)
    # It is enough that one of the sites has the record.
    gcp.answer = record(2, "gcp")
    eventually(lambda: router.route.sites == ("gcp",))
    assert router.route.reason.startswith("primary of epoch 2 since ")
    gcp.answer = Unavailable("gone")
    looks = gcp.looks
    eventually(lambda: gcp.looks > looks + 2)
    assert router.route.sites == ("gcp",)  # the last known primary
    aws.answer = Unavailable("gone too")
    looks = aws.looks
    eventually(lambda: aws.looks > looks + 2)
    assert router.route.sites == ("gcp",)
    aws.answer = record(3, "aws")
    eventually(lambda: router.route.sites == ("aws",))


def test_a_site_with_an_older_record_than_before_changes_nothing(
    make: Callable[..., Router],
) -> None:
    """A read that began before the last move may end after later reads."""
    aws = FakeSite("aws", record(2, "gcp"))
    gcp = FakeSite("gcp", Unavailable("gone"))
    router = make("primary", aws, gcp)
    assert router.route.sites == ("gcp",)
    aws.answer = record(1, "aws")
    looks = aws.looks
    eventually(lambda: aws.looks > looks + 2)
    assert router.route.sites == ("gcp",)


def test_a_site_that_hangs_does_not_delay_decisions(
    make: Callable[..., Router], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DEADLINE", 0.2)
    release = threading.Event()

    class Hanging(FakeSite):
        def record(self) -> ControlRecord | None:
            release.wait(PATIENCE)
            return None

    aws, gcp = Hanging("aws"), FakeSite("gcp", record(1, "gcp"))
    assert make("primary", aws, gcp).route.sites == ("gcp",)
    release.set()


def test_a_suspected_outage_makes_the_router_look_at_once_without_the_silent_site() -> None:
    release = threading.Event()
    is_silent = threading.Event()

    class Silent(FakeSite):
        def record(self) -> ControlRecord | None:
            if is_silent.is_set():
                release.wait(PATIENCE)
            return record(1, "aws")

    aws, gcp = Silent("aws"), FakeSite("gcp", record(1, "aws"))
    named: dict[str, Any] = {"aws": aws, "gcp": gcp}
    router = Router("primary", named, lambda site: 0, period=PATIENCE)
    try:
        looks = gcp.looks
        is_silent.set()
        gcp.answer = record(2, "gcp")
        # By itself, it would look after a minute.
        assert (router.route.sites, gcp.looks) == (("aws",), looks)
        router.suspect()
        eventually(lambda: router.route.sites == ("gcp",))
        # It continues to look, although nothing else has failed.
        looks = gcp.looks
        eventually(lambda: gcp.looks > looks + 1)
    finally:
        release.set()
        router.stop()


def test_a_record_that_cannot_be_read_makes_the_router_look_again_soon() -> None:
    """A producer with a long freshness may send nothing for a minute."""
    aws, gcp = FakeSite("aws", Unavailable("gone")), FakeSite("gcp", record(1, "aws"))
    named: dict[str, Any] = {"aws": aws, "gcp": gcp}
    router = Router("primary", named, lambda site: 0, period=PATIENCE)
    try:
        assert router.route.sites == ("aws",)
        gcp.answer = record(2, "gcp")
        # Without the failure, it would look after a minute.
        eventually(lambda: router.route.sites == ("gcp",))
    finally:
        router.stop()


def test_a_record_counts_before_a_slow_site_has_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUICK", PATIENCE)  # the slow site is not late in this test
    release, is_slow = threading.Event(), threading.Event()

    class Slow(FakeSite):
        def record(self) -> ControlRecord | None:
            self.looks += 1
            if is_slow.is_set():
                release.wait(PATIENCE)
            return record(1, "aws")

    aws, gcp = Slow("aws"), FakeSite("gcp", record(1, "aws"))
    named: dict[str, Any] = {"aws": aws, "gcp": gcp}
    followed: list[tuple[str, ...]] = []
    router = Router(
        "primary", named, lambda site: 0, follow=lambda r: followed.append(r.sites), period=0.5
    )
    try:
        is_slow.set()
        gcp.answer = record(2, "gcp")
        looks = aws.looks
        eventually(lambda: ("gcp",) in followed)
        # It does not ask the slow site again meanwhile.
        assert aws.looks <= looks + 1
    finally:
        release.set()
        router.stop()


def test_the_nearest_site_is_measured_and_left_if_unavailable(make: Callable[..., Router]) -> None:
    aws, gcp = FakeSite("aws", latency=0.08), FakeSite("gcp", latency=0.0)
    router = make("nearest", aws, gcp)
    assert router.route.sites == ("gcp",)
    assert router.route.reason.startswith("gcp answers in ")
    gcp.answer = Unavailable("gone")
    eventually(lambda: router.route.sites == ("aws",))


def test_the_cheapest_changes_when_a_free_tier_is_used_up(make: Callable[..., Router]) -> None:
    sent = {"aws": 0, "gcp": 0}
    aws, gcp = FakeSite("aws"), FakeSite("gcp")
    router = make("cheapest", aws, gcp, sent=lambda site: sent[site])
    assert router.route == Route(("gcp",), "gcp costs $0.23 per million messages")
    sent["gcp"] = 10**9
    eventually(lambda: router.route.sites == ("aws",))


def test_follow_is_called_after_every_check_until_the_stop(make: Callable[..., Router]) -> None:
    followed: list[Route] = []

    def follow(route: Route) -> None:
        followed.append(route)
        if len(followed) == 1:
            raise Unavailable("the disk is full")
        if len(followed) == 2:
            raise McloudError("the spool was damaged while it was open")

    aws, gcp = FakeSite("aws", record(1, "gcp")), FakeSite("gcp")
    router = make("primary", aws, gcp, follow=follow)
    eventually(lambda: len(followed) > 2)  # even if the route has not changed
    router.stop()
    count = len(followed)
    time.sleep(0.05)
    assert len(followed) == count
    assert {route.sites for route in followed} == {("gcp",)}


def test_messages_waiting_for_the_old_site_move_to_the_new_one(
    make: Callable[..., Router], tmp_path: Path
) -> None:
    away, good = FakeQueue(Unavailable("gone"), for_ever=True), FakeQueue()
    aws, gcp = FakeSite("aws", record(1, "aws")), FakeSite("gcp", record(1, "aws"))

    def fail_over() -> bool:
        if away.calls:
            gcp.answer = record(2, "gcp")
        return len(good.trades) == 500

    with Spool.open(tmp_path / "spool", ["aws", "gcp"]) as spool:
        router = make(
            "primary", aws, gcp, follow=lambda route: move(spool, ("aws", "gcp"), route.sites)
        )
        source = Script(trades(range(500)), fail_over, trades(range(500, 600)))
        queues = {"aws": away, "gcp": good}
        done = produce(source, queues, spool, batch=50, route=lambda: router.route)
        router.stop()
    assert done.complete
    assert good.trades == trades(range(600))
    assert away.taken == []


def test_a_record_written_to_the_embedded_sites_takes_effect(embedded: State) -> None:
    sites: dict[str, Site] = {n: open_site(n, each) for n, each in embedded.resources().items()}
    known = [each.epoch for each in (s.control.record() for s in sites.values()) if each]
    epoch = max(known, default=0)
    router = Router("primary", sites, lambda site: 0, period=0.2)
    try:
        for turn, primary in enumerate(("gcp", "aws", "gcp"), start=1):
            told = sites[("aws", "gcp")[turn % 2]]  # only one site gets the record
            assert told.control.write_record(record(epoch + turn, primary))
            eventually(partial(leads, router, primary))
    finally:
        router.stop()


def leads(router: Router, site: str) -> bool:
    return router.route.sites == (site,)


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)
