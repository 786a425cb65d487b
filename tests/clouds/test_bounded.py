"""Sites that delay a command once, and briefly, if they do not answer."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from observing.sites import BEATS, FakeSite
from producer.sources import trade
from replication.memory import Faults, MemoryArchive

from mcloud.clouds.bounded import BoundedSite
from mcloud.clouds.ports import Site
from mcloud.clouds.staged import StagedArchive
from mcloud.deadline import gather, is_brief
from mcloud.errors import Refused, Unavailable
from mcloud.market.envelope import encode


class CountedSite(FakeSite):
    """A site that counts its calls."""

    def __init__(self, cloud: str = "aws", **answers: Any) -> None:
        super().__init__(cloud, **answers)
        self.calls: list[str] = []

    def _answer(self, method: str, *arguments: Any) -> Any:
        self.calls.append(method)
        return super()._answer(method, *arguments)

    def get(self, *key: str) -> Any:
        return self._answer("get", *key)


@pytest.fixture
def release() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def bounded(site: FakeSite, first: float = 60.0, **more: Any) -> BoundedSite:
    return BoundedSite(cast(Site, site), first=first, **more)


def hanging(release: threading.Event) -> Callable[..., None]:
    return lambda *arguments: (release.wait(60), None)[1]


def test_a_site_that_answers_is_as_it_is() -> None:
    site = bounded(CountedSite())
    assert (site.name, site.cloud, site.queue.is_live) == ("aws", "aws", True)
    assert site.control.heartbeats() == BEATS
    assert site.probe.check("queue", 1.0) is None
    assert (dict(site.failed), site.why_failed) == ({}, "")


def test_a_service_that_hangs_is_waited_for_once(release: threading.Event) -> None:
    fake = CountedSite(heartbeats=hanging(release))
    site = bounded(fake, 0.2)
    for _ in range(3):
        with pytest.raises(Unavailable, match=r"the candles: no answer within 0\.2 s"):
            site.control.heartbeats()
    # The candles are in the same database. The queue is not.
    with pytest.raises(Unavailable, match="no answer within"):
        site.candles.last("BTCUSDT")
    assert site.queue.depth().ready == 12
    assert fake.calls == ["heartbeats", "depth"]
    assert site.why_failed == "the candles: no answer within 0.2 s"


def test_an_archive_that_has_much_to_read_is_waited_for_if_it_answers(
    release: threading.Event,
) -> None:
    staging, proper = MemoryArchive(Faults()), MemoryArchive(Faults())

    class StagedSite(CountedSite):
        archive = StagedArchive(proper, staging)

    fake = StagedSite()
    staging.objects["staged/one"] = encode([trade(1)]).body.encode()
    staging.get = lambda key, get=staging.get: (time.sleep(0.5), get(key))[1]  # type: ignore[misc]
    assert len(list(bounded(fake, 0.2).archive.list(""))) == 1
    proper.stat = hanging(release)  # type: ignore[assignment]
    with pytest.raises(Unavailable, match=r"the archive: no answer within 0\.2 s"):
        list(bounded(fake, 0.2).archive.list(""))


def test_a_service_that_fails_is_not_asked_again() -> None:
    fake = CountedSite(depth=Unavailable("throttled"))
    site = bounded(fake)
    for _ in range(2):
        with pytest.raises(Unavailable, match="throttled"):
            site.queue.depth()
    assert fake.calls == ["depth"]


def test_a_refusal_says_nothing_about_the_other_calls() -> None:
    site = bounded(CountedSite(depth=Refused("no permission")))
    with pytest.raises(Refused, match="no permission"):
        site.queue.depth()
    assert site.queue.dead_letter_depth().ready == 0
    assert dict(site.failed) == {}


def test_a_fault_of_this_machine_says_nothing_about_the_service() -> None:
    site = bounded(CountedSite(depth=Unavailable("no route", is_local=True)))
    with pytest.raises(Unavailable, match="no route"):
        site.queue.depth()
    assert dict(site.failed) == {}


def test_a_metrics_service_that_fails_is_not_the_queue() -> None:
    site = bounded(CountedSite("gcp", depth=Unavailable("no metrics")))
    with pytest.raises(Unavailable, match="no metrics"):
        site.queue.depth()
    assert list(site.failed) == ["metrics"]
    assert site.probe.check("queue", 1.0) is None


def test_a_service_that_has_answered_may_take_longer() -> None:
    answers: list[Callable[[], object]] = [lambda: BEATS, lambda: (time.sleep(0.3), BEATS)[1]]
    site = bounded(CountedSite(heartbeats=lambda: answers.pop(0)()))
    assert site.control.heartbeats() == site.control.heartbeats() == BEATS


def test_a_site_that_is_known_to_be_down_gets_less_time(release: threading.Event) -> None:
    site = bounded(CountedSite(heartbeats=hanging(release)), known="down for 12 s, says a")
    with pytest.raises(Unavailable, match=r"no answer within 0\.4 s \(down for 12 s, says a\)"):
        site.control.heartbeats()


def test_the_other_services_of_a_failed_site_get_less_time(release: threading.Event) -> None:
    fails = Unavailable("gone")
    site = bounded(CountedSite(heartbeats=fails, depth=hanging(release)))
    with pytest.raises(Unavailable, match="gone"):
        site.control.heartbeats()
    with pytest.raises(Unavailable, match=r"the queue: no answer within 0\.4 s"):
        site.queue.depth()


def test_a_stream_has_to_begin_in_time(release: threading.Event) -> None:
    def items(*parts: Any) -> Iterator[int]:
        for part in parts:
            yield part() if callable(part) else part

    def fails() -> int:
        raise Unavailable("gone")

    def read(*parts: Any) -> tuple[BoundedSite, list[Any]]:
        fake = CountedSite()
        fake.range = lambda *arguments: items(*parts)  # type: ignore[attr-defined]
        site = bounded(fake, 0.2)
        return site, list(site.candles.range("BTCUSDT", 0, 1))

    assert read()[1] == []
    assert read(1, 2, lambda: (time.sleep(0.3), 3)[1])[1] == [1, 2, 3]
    with pytest.raises(Unavailable, match="no answer within"):
        read(hanging(release))
    for parts in ((fails,), (1, fails)):
        with pytest.raises(Unavailable, match="gone"):
            read(*parts)


def test_calls_are_brief_for_the_clients() -> None:
    seen: list[bool] = []
    site = bounded(CountedSite(depth=lambda: seen.append(is_brief())))
    site.queue.depth()
    site.queue.depth()
    assert (seen, is_brief()) == ([True, True], False)


def test_threads_of_a_brief_call_are_brief() -> None:
    site = bounded(CountedSite(depth=lambda: gather({"": is_brief}, 60.0)[""]))
    assert cast(Any, site.queue.depth()) is True


def test_metrics_that_fail_leave_the_other_services_their_time() -> None:
    slow = CountedSite("gcp", depth=Unavailable("no metrics"), heartbeats=lambda: late(0.6))
    site = bounded(slow)
    with pytest.raises(Unavailable, match="no metrics"):
        site.queue.depth()
    assert site.control.heartbeats() == BEATS


def late(seconds: float) -> object:
    time.sleep(seconds)
    return BEATS


def test_credentials_are_fetched_once_and_without_the_limit() -> None:
    fetched: list[int] = []
    site = bounded(CountedSite(), sign_in=lambda: (time.sleep(0.3), fetched.append(1))[1])
    site.queue.depth()
    site.control.heartbeats()
    assert fetched == [1]


def test_credentials_that_cannot_be_fetched_are_not_asked_for_again() -> None:
    asked: list[int] = []

    def sign_in() -> None:
        asked.append(1)
        raise Refused("none")

    lacking = bounded(CountedSite(), sign_in=sign_in)
    for read in (lacking.queue.depth, lacking.control.heartbeats):
        with pytest.raises(Refused, match="none"):
            read()
    assert asked == [1]


def test_the_usage_of_a_site_that_does_not_answer_is_not_read() -> None:
    read: list[float] = []

    class Usage:
        def metered(self, start: float, end: float) -> list[Any]:
            read.append(end)
            return []

    def usage_of(**answers: Any) -> Any:
        fake = CountedSite(**answers)
        fake.usage = Usage()  # type: ignore[attr-defined]
        return bounded(fake).usage

    with pytest.raises(Unavailable, match="gone"):
        usage_of(check=Unavailable("gone")).metered(0.0, 1.0)
    assert read == []
    assert usage_of(check=Refused("no permission")).metered(0.0, 2.0) == []
    assert usage_of().metered(0.0, 3.0) == []
    assert read == [2.0, 3.0]
