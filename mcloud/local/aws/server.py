"""The embedded AWS: ``python -m mcloud.local.aws.server --home FOLDER``.

ministack in this process, on the port that its own variables name (see ``children.aws``), behind a
door of ours.
"""

import argparse
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ministack import app as ministack

from mcloud.local.aws import mapping, metering
from mcloud.local.aws.door import Door
from mcloud.local.aws.metrics import Metrics
from mcloud.local.meter import Meter
from mcloud.local.outage import Outages


def main() -> None:
    arguments = argparse.ArgumentParser(prog="mcloud.local.aws.server", description=__doc__)
    arguments.add_argument("--home", type=Path, required=True)
    home = arguments.parse_args().home
    sys.argv[1:] = []  # it reads them as well
    outages, meter = Outages(home, "aws"), Meter(home, "aws")
    metrics = Metrics(meter)
    mapping.install(outages, metrics, meter)
    metering.install(meter)
    for chore in (partial(metrics.pump_forever, _soon), meter.save_forever):
        threading.Thread(target=chore, daemon=True).start()
    ministack.app = Door(ministack.app, outages, meter)
    try:
        ministack.main()
    finally:
        meter.save()


def _soon(work: Callable[[], None]) -> None:
    """Do it in ministack's own thread, which shares its dictionaries with nobody."""
    if ministack._MAIN_LOOP is not None:
        ministack._MAIN_LOOP.call_soon_threadsafe(work)


if __name__ == "__main__":
    main()
