"""A guard and a person can move the traffic during an outage even if the disk is full."""

import json
from pathlib import Path
from typing import cast

import pytest
from small_disk import FULL, READ_ONLY, call

from mcloud import best_effort
from mcloud.clouds.ports import Site
from mcloud.failover import debts
from mcloud.failover.audit import Audit
from mcloud.failover.execution import Tools, carry_out, unfinished
from mcloud.failover.journal import Journal, MoveOrder
from mcloud.market.envelope import encode
from mcloud.replication.scope import Scope
from mcloud.replication.verify import verify

from .sites import LiveSite, made
from .test_guard import rig


@pytest.mark.parametrize("how", [FULL, READ_ONLY])
def test_a_guard_goes_from_an_outage_to_equal_sites(tmp_path: Path, how: str) -> None:
    told = json.loads(call(tmp_path / "disk", "failover.test_full_disk", "_guard", how))
    assert told["primary"] == "gcp"
    assert told["paid"]
    assert told["equal"]
    assert told["steps"] >= 7  # steps of the move and of the catch-up, on both sites
    assert told["refused"] == ["0.json", "audit.jsonl"]


@pytest.mark.parametrize("how", [FULL, READ_ONLY])
def test_a_person_can_move_the_traffic_despite_a_full_disk(tmp_path: Path, how: str) -> None:
    told = json.loads(call(tmp_path / "disk", "failover.test_full_disk", "_person", how))
    assert told == {"moved": True, "unfinished": False, "kept": 6, "refused": 2}


def _guard(folder: str) -> None:
    with rig(Path(folder)) as it:
        it.aws.queue.send([encode(made(range(20)))])
        it.step(4)
        it.aws.die()
        it.step(3)
        it.settle()
        it.gcp.queue.send([encode(made(range(20, 40)))])
        it.aws.live()
        for _ in range(3):
            it.step(4)
            it.settle()
        keys = [
            {key for kind, key in site.control.documents if kind == "audit"}
            for site in (it.aws, it.gcp)
        ]
        told = {
            "primary": it.guards[0].state().primary,
            "paid": debts.read(it.sites, 1.0)["aws"].paid,
            "equal": verify(it.sites, Scope(), pause=0).ok,
            "steps": len(keys[0] & keys[1]),
            "refused": sorted(Path(each).name for each in best_effort.refused()),
        }
    print(json.dumps(told))


def _person(folder: str) -> None:
    aws, gcp = LiveSite("aws"), LiveSite("gcp")
    sites = {"aws": cast(Site, aws), "gcp": cast(Site, gcp)}
    journal, audit = Journal(Path(folder) / "move.json"), Audit(Path(folder) / "a.jsonl", sites)
    use = Tools(journal, audit, patience=5.0, pause=0.0)
    order = MoveOrder("a move", "gcp", "manual", "a test", "me", 1.5e9, 0, "aws")
    came = carry_out(order, sites, use)
    told = {
        "moved": came.is_moved,
        "unfinished": unfinished(use) is not None,
        "kept": len(gcp.control.kept("audit")),
        "refused": len(best_effort.refused()),
    }
    print(json.dumps(told))
