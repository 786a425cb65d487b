"""``python -m mcloud.local.reaper HOME``: ends the children of a supervisor that was killed.

Its standard input is a pipe from the supervisor, which closes when the supervisor ends for any
reason. The reaper then ends all processes that carry the mark of HOME.
"""

import os
import signal
import sys
from pathlib import Path

from mcloud.local.children import sweep


def main() -> None:
    # These signals are meant for the supervisor. The reaper stops right after it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    sweep(Path(sys.argv[1]), spare=lambda pid: pid == os.getpid())


if __name__ == "__main__":
    main()
