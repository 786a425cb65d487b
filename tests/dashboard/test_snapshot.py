"""What is known is told, what is not says why, and nobody waits for a dead site."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from mcloud.clouds.ports import SERVICES, Depth, Invocations
from mcloud.dashboard.snapshot import collect
from mcloud.errors import Refused, Unavailable

from .sites import AT, BEATS, CALLS, CANDLE, DEAD, DEPTH, FakeSite, hang

DEADLINE = 4.0  # seconds; what answers does so in a thousandth of it
METHODS = ("check", "depth", "dead_letter_depth", "invocations", "heartbeats", "lags", "last")


@pytest.fixture
def release() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_a_sound_site_is_told_as_it_is() -> None:
    site = collect({"aws": FakeSite()}).sites["aws"]
    assert site.up
    assert set(site.health) == set(SERVICES)
    assert all(each.latency > 0 for each in site.health.values())
    assert (site.queue, site.dead_letters, site.invocations) == (DEPTH, DEAD, CALLS)
    assert (site.heartbeats, site.last_candle) == (BEATS, CANDLE)


def test_the_last_candle_is_that_of_the_symbol_seen_last() -> None:
    fake = FakeSite(heartbeats=BEATS[::-1])
    collect({"aws": fake})
    assert fake.last_asked == ["BTCUSDT"]


def test_a_site_without_trades_has_no_last_candle() -> None:
    fake = FakeSite(heartbeats=[])
    snapshot = collect({"aws": fake})
    assert snapshot.sites["aws"].last_candle is None
    assert fake.last_asked == []
    assert snapshot.to_json()["sites"]["aws"]["last_candle"] is None


def test_a_service_that_is_down_says_why() -> None:
    def check(service: str) -> None:
        if service == "queue":
            raise Unavailable("SQS did not answer", remedy="try again")
        if service == "archive":
            raise Refused("no bucket")

    snapshot = collect({"aws": FakeSite(check=check), "gcp": FakeSite("gcp")})
    health = snapshot.sites["aws"].health
    assert [health[service].up for service in SERVICES] == [False, True, True, False]
    assert health["queue"].reason == "SQS did not answer; try again"
    assert health["archive"].reason == "no bucket"
    assert not snapshot.up
    assert not snapshot.sites["aws"].up
    assert snapshot.sites["gcp"].up


def test_a_site_that_hangs_costs_the_deadline_and_no_more(release: threading.Event) -> None:
    hanging = FakeSite("aws", **{method: hang(release) for method in METHODS})
    snapshot = collect({"aws": hanging, "gcp": FakeSite("gcp")}, DEADLINE)
    assert not release.is_set()  # it is back while everything still hangs
    late = snapshot.sites["aws"]
    assert not late.up
    for value in (late.queue, late.dead_letters, late.invocations, late.heartbeats, late.lags):
        assert isinstance(value, str)
        assert value.startswith("no answer within")
    assert all(each.reason.startswith("no answer within") for each in late.health.values())
    assert snapshot.sites["gcp"].up
    assert snapshot.sites["gcp"].queue == DEPTH


def test_a_site_whose_clients_cannot_be_made_in_time_leaves_the_others_some(
    release: threading.Event,
) -> None:
    class Stuck(FakeSite):
        @property
        def queue(self) -> Any:
            release.wait(60)
            return self

    snapshot = collect({"aws": Stuck(), "gcp": FakeSite("gcp")}, DEADLINE)
    assert not release.is_set()
    assert str(snapshot.sites["aws"].queue).startswith("no answer within")
    assert snapshot.sites["gcp"].up
    assert snapshot.sites["gcp"].last_candle == CANDLE


def test_what_fails_is_unknown_with_the_reason_and_never_zero() -> None:
    error = Unavailable("it is down")
    document = collect({"aws": FakeSite("aws", **dict.fromkeys(METHODS, error))}).to_json()
    site = document["sites"]["aws"]
    for figure in (
        "queue", "dead_letters", "function", "heartbeats", "replication", "last_candle"
    ):  # fmt: skip
        assert site[figure] == {"unknown": "it is down"}
    assert site["services"] == {
        service: {"up": False, "reason": "it is down", "latency_s": None} for service in SERVICES
    }


def test_an_error_without_words_is_not_an_empty_reason() -> None:
    site = collect({"aws": FakeSite(check=KeyError(), depth=KeyError())}).sites["aws"]
    assert site.queue == "KeyError"
    assert {each.reason for each in site.health.values()} == {"KeyError"}


def test_figures_that_the_metrics_do_not_have_are_null() -> None:
    fake = FakeSite(depth=Depth(None, None, AT), invocations=Invocations(None, None, 900.0, AT))
    site = collect({"aws": fake}).to_json()["sites"]["aws"]
    assert site["queue"] == {"ready": None, "in_flight": None, "as_of": AT}
    assert site["function"] == {"count": None, "errors": None, "window": 900.0, "as_of": AT}


def test_the_document_is_json_with_decimals_as_texts() -> None:
    document = collect({"aws": FakeSite()}).to_json()
    assert json.loads(json.dumps(document)) == document
    assert set(document) == {"at", "primary", "epoch", "sites"}
    site = document["sites"]["aws"]
    assert (site["cloud"], site["up"]) == ("aws", True)
    assert site["last_candle"] == {
        "symbol": "BTCUSDT",
        "timestamp": "2024-08-08T23:54:00Z",
        "close": "61837.5",
        "trade_count": 1,
        "last_id": 7,
    }
    assert site["heartbeats"]["ETHUSDT"] == {
        "symbol": "ETHUSDT",
        "last_trade_time": 1_723_161_200_000,
        "trades": 6106,
        "messages": 13,
        "at": AT,
    }
    assert site["services"]["queue"]["up"] is True
    assert site["services"]["queue"]["latency_s"] is not None


def test_without_sites_there_is_nothing_to_tell() -> None:
    assert collect({}).to_json()["sites"] == {}
