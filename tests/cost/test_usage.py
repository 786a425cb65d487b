"""Usage of all sites: embedded meters, real meters, and sites that do not answer."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from mcloud.clouds.ports import Heartbeat, Metered, StoredObject
from mcloud.clouds.resources import AwsResources, GcpResources
from mcloud.config import Config, load
from mcloud.cost import embedded, usage
from mcloud.cost.usage import collect, trades_of
from mcloud.errors import Unavailable
from mcloud.local.meter import Meter

from .usages import MONTH, NOW, at, metered

BEATS = [
    Heartbeat("BTCUSDT", 0, trades=3_000, messages=30, at=NOW),
    Heartbeat("ETHUSDT", 0, trades=1_000, messages=10, at=NOW),
]


@dataclass
class Fake:
    """A site with known usage."""

    name: str
    cloud: str
    answer: Any
    beats: Any

    @property
    def usage(self) -> "Fake":
        return self

    control = archive = usage

    def metered(self, start: float, end: float) -> list[Metered]:
        assert (start, end) == (MONTH.start, NOW)
        return self._said(self.answer)

    def heartbeats(self) -> list[Heartbeat]:
        return self._said(self.beats)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        yield from (StoredObject(f"{prefix}{n}", 2**29, "") for n in range(2))

    def _said(self, answer: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, threading.Event):
            answer.wait()
        return answer


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    (tmp_path / "mcloud.toml").write_text(
        "[profiles.prod.sites.aws]\ncloud = 'aws'\n[profiles.prod.sites.gcp]\ncloud = 'gcp'\n"
    )
    resources = {
        "aws": AwsResources("eu-west-1", *"qdtcbf"),
        "gcp": GcpResources("p", "us-central1", *"tsdedckbf"),
    }
    monkeypatch.setattr(usage, "site_resources", lambda config: resources)
    return load("prod", tmp_path, {})


def test_real_sites_are_queried(config: Config) -> None:
    known = [metered("s3_puts", 7), metered("messages", 4)]
    sites: Any = {
        "aws": Fake("aws", "aws", known, BEATS),
        "gcp": Fake("gcp", "gcp", Unavailable("away"), BEATS),
    }
    aws, gcp = collect(config, sites, MONTH, NOW)
    assert aws.metered == tuple(known)
    assert (aws.region, aws.estimated_region) == ("eu-west-1", True)
    # Four of forty messages in total.
    assert aws.trades.by_symbol == {"BTCUSDT": 300, "ETHUSDT": 100}
    assert aws.trades.total == 400
    assert "an estimate" in aws.trades.source
    assert (gcp.problem, gcp.metered, gcp.estimated_region) == ("away", (), False)


def test_a_site_that_hangs_delays_the_report_only_until_the_deadline(config: Config) -> None:
    release = threading.Event()
    sites: Any = {
        "aws": Fake("aws", "aws", [metered("s3_puts", 7)], Unavailable("no table")),
        "gcp": Fake("gcp", "gcp", release, release),
    }
    try:
        aws, gcp = collect(config, sites, MONTH, NOW, deadline=0.2)
    finally:
        release.set()
    assert aws.units("s3_puts") == 7
    assert aws.trades.total is None
    assert aws.trades.source == "unknown: no table"
    assert gcp.problem == "no answer within 0.2 s"


def test_the_meters_of_embedded_clouds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load(None, tmp_path, {})
    monkeypatch.setattr(
        usage, "site_resources", lambda config: {"aws": AwsResources("us-east-1", *"qdtcbf")}
    )
    began = at("2026-11-14T00:00")
    clock = began
    meter = Meter(config.local, "aws", lambda: clock)
    meter.add("sqs_requests", "trades", 40)
    clock = NOW - 10
    meter.add("sqs_requests", "dlq", 2)
    clock = MONTH.end
    meter.add("sqs_requests", "trades", 1_000)
    meter.save()
    sites: Any = {"aws": Fake("aws", "aws", [], BEATS)}
    (aws,) = collect(config, sites, MONTH, NOW)
    assert (aws.start, aws.embedded) == (began, True)
    assert aws.units("sqs_requests") == 42
    assert aws.units("messages") == 40
    assert aws.trades.total == 4_000
    # One GiB was stored for two of the thirty days.
    assert aws.units("s3_gib_months") == pytest.approx(Decimal(2) / 30)
    (later,) = collect(config, sites, MONTH.next, MONTH.next.start + 60)
    assert later.units("sqs_requests") == 1_000
    assert later.start == MONTH.next.start


def test_frequent_callers_do_not_query_the_stores(config: Config) -> None:
    sites: Any = {"aws": Fake("aws", "aws", [metered("s3_puts", 7)], AssertionError("asked"))}
    (aws,) = collect(config, sites, MONTH, NOW, only_meters=True)
    assert aws.units("s3_puts") == 7
    assert aws.trades.source == "not requested"


def test_meters_of_one_day_are_those_of_that_day(tmp_path: Path) -> None:
    meter = Meter(tmp_path, "gcp", lambda: NOW + 60)
    meter.add("firestore_writes", "db", 5)
    meter.save()
    _, (found,) = embedded.read(tmp_path, ["gcp"], MONTH, NOW + 3600)["gcp"]
    assert found.days == {"2026-11-16": 5}
    _, (found,) = embedded.read(tmp_path, ["gcp"], MONTH, NOW + 90_000)["gcp"]
    assert found.days == {}


def test_a_site_without_requests(tmp_path: Path) -> None:
    assert embedded.read(tmp_path, ["aws"], MONTH, NOW) == {"aws": (NOW, [])}


def test_trades_out_of_heartbeats() -> None:
    ever = trades_of(BEATS, None)
    assert ever.total == 4_000
    assert ever.source == "heartbeats, since the site was created"
    assert trades_of([], Decimal(3)).total is None
    assert trades_of(Unavailable("away"), None).source == "unknown: away"
