"""The outages that the processes of this machine already see."""

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from states import GUARD, PRODUCER

from mcloud.durations import clock
from mcloud.observing.known import known_outages
from mcloud.runs import run_of

NOW = time.time()


def known(tmp_path: Path, kind: str, state: dict[str, Any], *, runs: bool = True) -> dict[str, str]:
    run = run_of(tmp_path / kind, "mine")
    run.write({**state, "at": state.get("at", NOW)})
    with ExitStack() as stack:
        if runs:
            assert stack.enter_context(run.lock.held())
        return known_outages(tmp_path, NOW + 2)


def guard(**site: Any) -> dict[str, Any]:
    seen = {**GUARD["sites"]["aws"], **site}
    return {**GUARD, "at": NOW, "sites": {"aws": seen}}


def producer(**delivery: Any) -> dict[str, Any]:
    return {**PRODUCER, "at": NOW, "sites": {"aws": {**PRODUCER["sites"]["aws"], **delivery}}}


def test_a_guard_knows_since_when_a_site_is_down(tmp_path: Path) -> None:
    away = {"verdict": "down", "bad": 6, "bad_s": 10.0}
    since = clock(NOW - 10, NOW)
    assert known(tmp_path, "guards", guard(**away)) == {
        "aws": f"down since {since} according to mine"
    }
    throttled = {**away, "bad": 2, "bad_s": 1.0, "down_s": 60.0}
    since = clock(NOW - 60, NOW)
    assert known(tmp_path, "guards", guard(**throttled)) == {
        "aws": f"down since {since} according to mine"
    }
    assert known(tmp_path, "guards", guard(bad=1, bad_s=0.5)) == {}
    assert known(tmp_path, "guards", guard()) == {}
    assert known(tmp_path, "guards", {**guard(**away), "at": NOW - 9}) == {}
    assert known(tmp_path, "guards", guard(**away), runs=False) == {}


def test_a_producer_knows_a_site_that_it_cannot_send_to(tmp_path: Path) -> None:
    said = {"aws": "the producer mine cannot send to it"}
    assert known(tmp_path, "producers", producer(breaker="open")) == said
    assert known(tmp_path, "producers", producer(breaker="half-open")) == said
    assert known(tmp_path, "producers", producer(breaker="open", refused=True)) == {}
    assert known(tmp_path, "producers", producer()) == {}
    assert known(tmp_path / "other", "producers", producer(breaker="open"), runs=False) == {}


def test_a_damaged_state_is_no_knowledge(tmp_path: Path) -> None:
    run = run_of(tmp_path / "guards", "mine")
    run.create()
    run.path.write_text("{")
    with run.lock.held():
        assert known_outages(tmp_path, NOW) == {}
