"""A site that gets its data from a replicator that does not run."""

from dataclasses import replace
from typing import Any

import pytest
from drawing.test_figures import SITE
from drawing.test_produce import SITE as DELIVERY
from states import REPLICATOR, producer, replicator

from mcloud.clouds.observation import Observation
from mcloud.clouds.ports import Lag
from mcloud.observing.machine import Machine
from mcloud.observing.problems import problems
from mcloud.observing.replicated import REPORTED, Unreplicated, unreplicated
from mcloud.observing.snapshot import Snapshot
from mcloud.runs import Running
from observing.sites import AT, BEATS

OLD = Lag("aws", "gcp", "all", 0.0, 0, 0.0, 0, AT - 54 * 60)
IDLE = [replace(beat, at=AT - 301) for beat in BEATS]


def found(lags: Any = (), beats: Any = IDLE, **runs: Any) -> list[Unreplicated]:
    return list(unreplicated(snapshot(lags, beats, **runs)))


def snapshot(lags: Any = (), beats: Any = IDLE, **runs: Any) -> Snapshot:
    gcp = replace(
        SITE,
        name="gcp",
        cloud="gcp",
        lags=Observation(list(lags), AT),
        heartbeats=Observation(beats, AT),
    )
    return Snapshot(AT, {"aws": SITE, "gcp": gcp}, Observation(Machine(**runs), AT))


def running(**change: Any) -> tuple[Running[Any], ...]:
    sites = {"aws": DELIVERY, "gcp": DELIVERY}
    usual = {"at": AT, "started": AT - 61, "sites": sites}
    return (Running("default", True, producer(**{**usual, **change})),)


def test_a_standby_whose_replicator_has_stopped_reporting() -> None:
    assert found([OLD]) == [Unreplicated("aws", "gcp", OLD.at)]
    assert found([replace(OLD, at=AT - REPORTED + 1)]) == []
    # It gets its own trades, or its function has never been seen, or nothing ever replicated.
    assert found([OLD], BEATS) == found([OLD], None) == found() == []
    assert found([OLD], []) == [Unreplicated("aws", "gcp", OLD.at)]
    assert found([replace(OLD, at=AT - 86_401)]) == []
    assert found([replace(OLD, source="west")]) == []


@pytest.mark.parametrize("mode", ["primary", "cheapest", "nearest"])
def test_a_producer_that_sends_to_one_site_needs_a_replicator(mode: str) -> None:
    assert found(producers=running(mode=mode)) == [Unreplicated("aws", "gcp", None)]
    assert found([replace(OLD, at=AT - 5)], producers=running(mode=mode)) == []
    copies = {**REPLICATOR["pairs"][0], "source": "aws", "target": "gcp"}
    state = replicator(at=AT, pairs=[copies])
    assert found(producers=running(), replicators=(Running("r", True, state),)) == []
    assert found(producers=running(), replicators=(Running("r", False, state),)) != []


def test_a_producer_that_needs_no_replicator() -> None:
    both = {"sites": ["aws", "gcp"], "reason": "every site"}
    assert found(producers=running(mode="both", route=both)) == []
    assert found(producers=running(sites={"aws": DELIVERY})) == []
    assert found(producers=running(started=AT - 59)) == []


def test_the_problem_names_the_command() -> None:
    said = [str(each) for each in problems(snapshot([OLD]))]
    assert said == [
        "gcp gets no trades of its own, and nothing replicates aws to it; the last report of a"
        " replicator is 54 min old; run `mcloud replicate --detach`"
    ]
