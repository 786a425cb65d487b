"""A canary whose flight fails reports nothing false."""

from typing import cast

import pytest
from failover.sites import LiveSite
from patience import eventually

from mcloud.canary import Canary
from mcloud.clouds.ports import Site
from mcloud.errors import Refused, Unavailable
from mcloud.failover.health import HealthWatch
from mcloud.failover.settings import GuardSettings


@pytest.mark.parametrize(
    ("error", "is_waiting"),
    [(Refused("no right"), False), (ZeroDivisionError(), False), (Unavailable("gone"), True)],
)
def test_a_candle_that_may_not_be_read_is_no_backlog(
    monkeypatch: pytest.MonkeyPatch, error: Exception, is_waiting: bool
) -> None:
    site, reads = LiveSite("aws"), list[int]()
    watch = HealthWatch({"aws": cast(Site, site)}, GuardSettings())
    usual = site.candles.range

    def fails_later(*asked: object) -> object:
        reads.append(1)
        if len(reads) > 1:
            raise error
        return usual(*asked)  # type: ignore[arg-type]

    monkeypatch.setattr(site.candles, "range", fails_later)
    watch.observe()
    eventually(lambda: len(reads) > 2)
    seen = watch.observe().sites["aws"]
    watch.close()
    assert (seen.waiting_since is not None) == is_waiting
    assert "cannot be read" in watch.flights()["aws"].reason


def test_a_canary_that_breaks_is_followed_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    site = LiveSite("aws")
    canary = Canary(cast(Site, site))
    with monkeypatch.context() as broken:
        broken.setattr(site.queue, "send", lambda messages: 1 / 0)
        flight = canary.fly(1.0)
    assert flight.is_over
    assert flight.reason == "not sent: division by zero"
    assert canary.fly(5.0).arrived is not None
