"""The embedded AWS: ``python -m mcloud.local.aws.server --home FOLDER``.

ministack in this process, on the port that its own variables name (see ``children.aws``), behind a
door of ours.
"""

import argparse
import sys
import threading
from pathlib import Path

from ministack import app as ministack

from mcloud.local.aws import mapping
from mcloud.local.aws.door import Door
from mcloud.local.aws.metrics import Metrics
from mcloud.local.outage import Outages


def main() -> None:
    arguments = argparse.ArgumentParser(prog="mcloud.local.aws.server", description=__doc__)
    arguments.add_argument("--home", type=Path, required=True)
    home = arguments.parse_args().home
    sys.argv[1:] = []  # it reads them as well
    outages, metrics = Outages(home, "aws"), Metrics()
    mapping.install(outages, metrics)
    threading.Thread(target=metrics.pump_forever, daemon=True, name="metrics").start()
    ministack.app = Door(ministack.app, outages)
    ministack.main()


if __name__ == "__main__":
    main()
