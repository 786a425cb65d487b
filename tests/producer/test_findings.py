"""The anomalies that a producer finds reach every site, even after an outage or a crash."""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest
from controls import MemoryControl
from patience import eventually

from mcloud.clock import Limit
from mcloud.clouds.anomalies import KIND, UNTOLD, recent
from mcloud.clouds.ports import Control, Site
from mcloud.errors import Refused, Unavailable
from mcloud.market.anomaly import Anomaly
from mcloud.market.candle import MINUTE
from mcloud.producer.findings import FILE, MOST, Findings

START = 1_735_775_880_000
LOG = logging.getLogger("test-findings")


class MemorySite:
    def __init__(self) -> None:
        self.control = MemoryControl()


def anomaly(minute: int = 0, trades: int = 1) -> Anomaly:
    numbers = map(Decimal, ("105", "100", "0.05", "9"))
    return Anomaly("AUSDT", START + minute * MINUTE, "price-jump", *numbers, trades, False)


@pytest.fixture
def sites() -> Iterator[dict[str, MemorySite]]:
    made = {"aws": MemorySite(), "gcp": MemorySite()}
    yield made
    for site in made.values():
        site.control.may_answer.set()


@pytest.fixture
def open_findings(
    tmp_path: Path, sites: dict[str, MemorySite]
) -> Iterator[Callable[..., Findings]]:
    opened: list[Findings] = []

    def open_(**options: Any) -> Findings:
        given = cast(dict[str, Site], options.pop("sites", sites))
        opened.append(Findings(tmp_path, given, LOG, pause=0.01, **options))
        return opened[-1]

    yield open_
    for each in opened:
        each.close()


def stored(site: MemorySite) -> list[Anomaly]:
    return recent(cast(Control, site.control), 0)


def keys_in(file: Path) -> list[tuple[int, list[str]]]:
    """Return the trades and the sites of each anomaly in a file."""
    found = json.loads(file.read_text())["anomalies"] if file.exists() else []
    return [(each["anomaly"]["trades"], each["sites"]) for each in found]


def test_all_sites_get_all_anomalies(
    tmp_path: Path, sites: dict[str, MemorySite], open_findings: Callable[..., Findings]
) -> None:
    findings = open_findings(silent=frozenset(["gcp"]))
    for minute in range(3):
        findings.add(anomaly(minute))
    findings.wait(Limit(60))
    for site in sites.values():
        assert stored(site) == [anomaly(minute) for minute in range(3)]
    assert len(sites["aws"].control.keys(UNTOLD)) == 3
    assert sites["gcp"].control.keys(UNTOLD) == []  # it has no function that would send them
    assert findings.waiting() == {}
    findings.close()
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize("failure", [Unavailable("away"), Refused("no"), ValueError("a bug")])
def test_a_site_that_is_away_gets_them_when_it_is_back(
    sites: dict[str, MemorySite],
    open_findings: Callable[..., Findings],
    failure: Exception,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    findings = open_findings()
    sites["gcp"].control.failure = failure
    findings.add(anomaly())
    # It does not delay the end of a run.
    findings.wait(Limit(60))
    assert stored(sites["aws"]) == [anomaly()]
    assert findings.waiting() == {"gcp": 1}
    sites["gcp"].control.failure = None
    findings.wait(Limit(60))
    eventually(lambda: stored(sites["gcp"]) == [anomaly()])
    eventually(lambda: "gcp stores anomalies again" in caplog.text)
    assert caplog.text.count("gcp does not store anomalies, which wait") == 1


def test_a_newer_version_replaces_one_that_waits(
    tmp_path: Path, sites: dict[str, MemorySite], open_findings: Callable[..., Findings]
) -> None:
    sites["gcp"].control.may_answer.clear()
    findings = open_findings()
    findings.add(anomaly(trades=1))
    eventually(lambda: stored(sites["aws"]) == [anomaly(trades=1)])
    findings.add(anomaly(trades=2))
    eventually(lambda: stored(sites["aws"]) == [anomaly(trades=2)])
    eventually(lambda: keys_in(tmp_path / FILE) == [(2, ["gcp"])])
    sites["gcp"].control.may_answer.set()
    findings.wait(Limit(60))
    assert stored(sites["gcp"]) == [anomaly(trades=2)]


def test_a_version_that_knows_less_does_not_replace_one_that_waits(
    tmp_path: Path, sites: dict[str, MemorySite], open_findings: Callable[..., Findings]
) -> None:
    """Such as that of a run with less history, which may send to fewer sites."""
    for site in sites.values():
        site.control.may_answer.clear()
    open_findings().add(anomaly(trades=2))
    eventually(lambda: keys_in(tmp_path / FILE) == [(2, ["aws", "gcp"])])
    fresh = {"aws": MemorySite(), "gcp": MemorySite()}
    first = open_findings(sites={"aws": fresh["aws"]})
    first.add(anomaly(trades=1))
    first.wait(Limit(60))
    first.close()
    second = open_findings(sites=fresh)
    second.wait(Limit(60))
    assert stored(fresh["aws"]) == stored(fresh["gcp"]) == [anomaly(trades=2)]


def test_the_next_run_stores_what_a_killed_run_has_found(
    tmp_path: Path, sites: dict[str, MemorySite], open_findings: Callable[..., Findings]
) -> None:
    for site in sites.values():
        site.control.may_answer.clear()
    open_findings().add(anomaly())  # its process is killed, so it is never closed
    eventually(lambda: keys_in(tmp_path / FILE) == [(1, ["aws", "gcp"])])
    fresh = {"aws": MemorySite(), "gcp": MemorySite()}
    # A run that sends to one site leaves what another site needs.
    first = open_findings(sites={"aws": fresh["aws"]})
    first.wait(Limit(60))
    first.close()
    assert (stored(fresh["aws"]), stored(fresh["gcp"])) == ([anomaly()], [])
    second = open_findings(sites=fresh)
    second.wait(Limit(60))
    second.close()
    assert stored(fresh["gcp"]) == [anomaly()]
    assert keys_in(tmp_path / FILE) == []


def test_a_site_that_never_answers_keeps_the_newest(
    sites: dict[str, MemorySite],
    open_findings: Callable[..., Findings],
    caplog: pytest.LogCaptureFixture,
) -> None:
    sites["gcp"].control.failure = Unavailable("away")
    findings = open_findings()
    for minute in range(MOST + 2):
        findings.add(anomaly(minute))
    eventually(lambda: "aws" not in findings.waiting())
    assert findings.waiting() == {"gcp": MOST}
    assert f"dropped the anomaly {anomaly(0).key}" in caplog.text
    assert caplog.text.count("dropped the anomaly") == 2
    sites["gcp"].control.failure = None
    eventually(lambda: findings.waiting() == {})
    assert sites["gcp"].control.keys(KIND)[-1] == anomaly(MOST + 1).key


def test_a_hanging_site_does_not_delay_the_end(
    tmp_path: Path, sites: dict[str, MemorySite], open_findings: Callable[..., Findings]
) -> None:
    sites["gcp"].control.may_answer.clear()
    findings = open_findings()
    findings.add(anomaly())
    findings.wait(Limit(0.2))
    findings.close()
    assert keys_in(tmp_path / FILE) == [(1, ["gcp"])]


def test_a_damaged_file_is_set_aside(
    tmp_path: Path,
    sites: dict[str, MemorySite],
    open_findings: Callable[..., Findings],
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / FILE).write_text("{")
    findings = open_findings()
    assert "cannot be read, so they are lost: it is not JSON" in caplog.text
    findings.add(anomaly())
    findings.wait(Limit(60))
    assert stored(sites["aws"]) == [anomaly()]
    assert [each.name.startswith(f"{FILE}.damaged") for each in tmp_path.iterdir()] == [True]


def test_a_disk_that_refuses_the_file_stops_nothing(
    tmp_path: Path,
    sites: dict[str, MemorySite],
    open_findings: Callable[..., Findings],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mcloud.producer.findings.WRITE_PAUSE", 0.01)
    sites["gcp"].control.failure = Unavailable("away")
    findings = open_findings()
    (tmp_path / FILE).mkdir()
    findings.add(anomaly())
    eventually(lambda: "would be lost at a crash" in caplog.text)
    (tmp_path / FILE).rmdir()
    eventually(lambda: keys_in(tmp_path / FILE) == [(1, ["gcp"])])
    sites["gcp"].control.failure = None
    eventually(lambda: findings.waiting() == {})


def test_anomalies_are_added_by_any_thread(
    sites: dict[str, MemorySite], open_findings: Callable[..., Findings]
) -> None:
    findings = open_findings()
    threads = [
        threading.Thread(target=lambda n=n: [findings.add(anomaly(10 * n + i)) for i in range(10)])
        for n in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    findings.wait(Limit(60))
    assert len(stored(sites["aws"])) == len(stored(sites["gcp"])) == 50
