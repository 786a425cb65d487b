"""A produced trade is found on both embedded clouds, with every stage."""

import json
import os
import subprocess
import sys
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from patience import eventually

from mcloud.clouds.factory import open_site
from mcloud.local.state import State
from mcloud.rehearsal.demo import archived_ids
from mcloud.trace.timeline import ARCHIVED, STAGES, STORED

SYMBOL = "TRACEDUSDT"
LOG = "the function's log"


@pytest.mark.slow
def test_every_stage_of_a_trade_on_both_sites_in_order(tmp_path: Path, embedded: State) -> None:
    user = User(tmp_path, embedded)
    made = user.mcloud(*("produce", "--source", "simulate", "--symbols", SYMBOL, "--count", 900))
    assert made.returncode == 0, made.stderr
    ids = user.archived()
    wanted = min(ids) + 450

    def is_complete() -> bool:
        traced = user.trace(wanted)
        return all(stage["time"] for site in traced["sites"].values() for stage in site["stages"])

    # The embedded AWS delivers a function's last log lines with its next call, or a moment later.
    eventually(is_complete, pause=0.5)
    traced = user.trace(wanted)
    assert set(traced["sites"]) == {"aws", "gcp"}
    (message,) = traced["messages"]
    assert message["first_id"] <= wanted <= message["last_id"]
    for site in traced["sites"].values():
        assert [stage["stage"] for stage in site["stages"]] == [*STAGES[:5], STORED, ARCHIVED]
        times = {each["stage"]: datetime.fromisoformat(each["time"]) for each in site["stages"]}
        # All parts use the clock of this machine, except the simulated exchange. The date of an
        # object on S3 is in whole seconds.
        archived = times.pop(ARCHIVED)
        assert times["sent"].replace(microsecond=0) <= archived
        # The export does not wait until the candle is stored.
        assert [*times.values()][1:] == sorted([*times.values()][1:])
        sources = [stage["source"] for stage in site["stages"]]
        assert sources[1:4] == [
            "producer default, the first of its message",
            "producer default",
            "producer default",
        ]
        assert sources[4:] == [LOG, LOG, "date of the object"]
        assert site["candle"]
        assert site["object"]
    assert traced["trade"]["time"] == traced["sites"]["aws"]["stages"][0]["time"]

    # A machine without the message log finds the same from the data of the sites.
    (tmp_path / ".mcloud" / "producers" / "default" / "trail.jsonl").unlink()
    elsewhere = user.trace(wanted)
    assert elsewhere["trade"] == traced["trade"]
    for name, site in elsewhere["sites"].items():
        known = {stage["stage"] for stage in site["stages"] if stage["time"]}
        assert known == set(STAGES) - {"received", "spooled"}
        assert site["candle"] == traced["sites"][name]["candle"]

    nowhere = user.mcloud("trace", max(ids) + 1, "--symbol", SYMBOL)
    assert (nowhere.returncode, nowhere.stdout) == (3, "")
    assert "aws, candles: above the newest candle" in nowhere.stderr
    assert "gcp, raw trades: not in the trades from" in nowhere.stderr


class User:
    """``mcloud`` in its own folder, on the embedded clouds that all tests share."""

    def __init__(self, folder: Path, clouds: State) -> None:
        self._folder = folder
        self._clouds = clouds
        sites = "".join(
            f"[profiles.test.sites.{name}]\n"
            + "".join(f'{key} = "{value}"\n' for key, value in {"cloud": name, **outputs}.items())
            for name, outputs in clouds.outputs.items()
        )
        (folder / "mcloud.toml").write_text(f'profile = "test"\n[trace]\none_in = 1\n{sites}')

    def mcloud(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MCLOUD_")}
        return subprocess.run(
            [sys.executable, "-m", "mcloud", *map(str, arguments)],
            cwd=self._folder,
            env={**environment, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def trace(self, trade_id: int) -> dict[str, Any]:
        done = self.mcloud("trace", trade_id, "--symbol", SYMBOL, "-o", "json")
        assert done.returncode == 0, done.stderr
        traced: dict[str, Any] = json.loads(done.stdout)
        return traced

    def archived(self) -> set[int]:
        """Wait until both sites have all trades, and return their ids."""
        sites = [open_site(name, each) for name, each in self._clouds.resources().items()]
        for site in sites:
            eventually(partial(_has, site, 900))
        return {id_ for _, id_ in archived_ids(sites[0], [SYMBOL])}


def _has(site: Any, count: int) -> bool:
    return len(archived_ids(site, [SYMBOL])) == count
