"""The cost of the demo at the prices of the real clouds."""

import time
from collections.abc import Mapping
from pathlib import Path

from mcloud.cost.run import RunCost, run_cost
from mcloud.local import meter

QUIET = meter.SAVE_SECONDS + 0.5  # seconds without a change, after which all is written
PATIENCE = 10.0  # seconds
POLL = 0.25  # seconds


def demo_cost(home: Path, clouds: Mapping[str, str]) -> dict[str, RunCost]:
    """Return the cost of the embedded clouds in ``home`` by site, once their meters are at rest."""
    deadline = time.monotonic() + PATIENCE
    counted = meter.read(home)
    changed = time.monotonic()
    while time.monotonic() - changed < QUIET and time.monotonic() < deadline:
        time.sleep(POLL)
        newer = meter.read(home)
        if newer != counted:
            counted, changed = newer, time.monotonic()
    return run_cost({site: counted[site] for site in clouds}, clouds)
