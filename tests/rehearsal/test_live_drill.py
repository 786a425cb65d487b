"""A drill on real sites restores the earlier state, however it ends."""

import threading
from pathlib import Path
from typing import cast

from failover.sites import LiveSite

from mcloud.clouds.ports import Site
from mcloud.failover.audit import Audit
from mcloud.failover.execution import Tools
from mcloud.failover.journal import Journal
from mcloud.rehearsal.live_drill import rehearse


def test_the_route_is_restored_if_the_drill_is_interrupted(tmp_path: Path) -> None:
    aws, gcp = LiveSite("aws"), LiveSite("gcp")
    sites = {"aws": cast(Site, aws), "gcp": cast(Site, gcp)}
    interrupted = threading.Event()
    interrupted.set()
    use = Tools(
        Journal(tmp_path / "drill.json"),
        Audit(tmp_path / "audit.jsonl", sites),
        patience=5.0,
        pause=0.0,
        stop=interrupted,
    )
    away, back = rehearse(sites, "aws", "gcp", use, by="me", hold=60.0)
    assert (away.record.primary, back.record.primary) == ("gcp", "aws")
    assert back.owed == {}
