"""Writing outages, and reading them in a serving process."""

from pathlib import Path

import pytest

from mcloud.clouds.ports import SERVICES
from mcloud.errors import LocalError
from mcloud.local import outage
from mcloud.local.outage import HOWS, THROTTLED, Outages


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_an_outage_ends_by_itself(tmp_path: Path) -> None:
    clock = Clock()
    seen = Outages(tmp_path, "aws", clock)
    begun = outage.begin(tmp_path, "aws", "candles", "hang", 30, clock)
    assert begun.seconds_left(clock.now) == 30
    assert outage.active(tmp_path, clock) == [begun]
    assert seen.on("candles") == begun
    clock.now += 29.9
    assert seen.stops("candles")
    clock.now += 0.1
    assert seen.on("candles") is None
    assert outage.active(tmp_path, clock) == []


def test_an_outage_without_an_end_is_ended(tmp_path: Path) -> None:
    clock = Clock()
    seen = {site: Outages(tmp_path, site, clock) for site in ("aws", "gcp")}
    for site in seen:
        outage.begin(tmp_path, site, None, "refuse", None, clock)
    clock.now += 1e9
    assert all(each.stops("queue") for each in seen.values())
    assert [each.site for each in outage.end(tmp_path, "aws")] == ["aws"]
    assert (seen["aws"].on("queue"), seen["gcp"].stops("queue")) == (None, True)
    assert [each.site for each in outage.end(tmp_path)] == ["gcp"]
    assert seen["gcp"].on("queue") is None
    assert outage.end(tmp_path) == []


def test_one_of_several_is_ended(tmp_path: Path) -> None:
    for service in ("queue", "archive"):
        outage.begin(tmp_path, "gcp", service, "slow", None)
    assert [each.service for each in outage.end(tmp_path, "gcp", "queue")] == ["queue"]
    assert [each.service for each in outage.active(tmp_path)] == ["archive"]


@pytest.mark.parametrize("service", SERVICES)
def test_an_outage_of_a_service_does_not_affect_other_services(
    tmp_path: Path, service: str
) -> None:
    outage.begin(tmp_path, "aws", service, "refuse", None)
    seen = Outages(tmp_path, "aws")
    assert [each for each in (*SERVICES, None) if seen.on(each)] == [service]
    assert not any(Outages(tmp_path, "gcp").on(each) for each in (*SERVICES, None))


def test_an_outage_of_a_site_affects_all_its_services(tmp_path: Path) -> None:
    outage.begin(tmp_path, "aws", None, "hang", None)
    seen = Outages(tmp_path, "aws")
    assert all(seen.stops(each) for each in SERVICES)
    assert seen.on(None)


def test_an_outage_of_a_service_has_precedence_over_that_of_its_site(tmp_path: Path) -> None:
    outage.begin(tmp_path, "aws", None, "slow", None)
    outage.begin(tmp_path, "aws", "queue", "refuse", None)
    seen = Outages(tmp_path, "aws")
    assert (seen.stops("queue"), seen.stops("candles")) == (True, False)
    assert len(outage.active(tmp_path)) == 2


def test_a_second_outage_replaces_the_first(tmp_path: Path) -> None:
    outage.begin(tmp_path, "aws", "queue", "refuse", None)
    second = outage.begin(tmp_path, "aws", "queue", "slow", 5)
    assert outage.active(tmp_path) == [second]


def test_a_change_within_one_tick_of_the_clock_is_seen(tmp_path: Path) -> None:
    seen = Outages(tmp_path, "aws")
    for how in HOWS * 20:
        outage.begin(tmp_path, "aws", "queue", how, None)
        found = seen.on("queue")
        assert found is not None
        assert found.how == how


def test_throttling_depends_on_a_count(tmp_path: Path) -> None:
    seen = Outages(tmp_path, "aws")
    answers = [seen.throttles("queue") for _ in range(4 * THROTTLED)]
    assert answers == ([True] * THROTTLED + [False] * THROTTLED) * 2
    assert seen.throttles("candles") is True


def test_no_clouds_no_outage(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="mcloud local up"):
        outage.begin(tmp_path / "none", "aws", None, "refuse", None)
    assert outage.active(tmp_path / "none") == []
