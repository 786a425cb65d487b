"""``python -m mcloud.local.reaper HOME``: ends the children of a supervisor that was killed.

Its standard input is a pipe from the supervisor. It ends when the supervisor does, whatever the
reason, and then nothing that carries the mark of HOME may be left.
"""

import os
import signal
import sys
from pathlib import Path

from mcloud.local.children import sweep


def main() -> None:
    # Whoever stops the supervisor means it, not this; it stops right after.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    sweep(Path(sys.argv[1]), spare=lambda pid: pid == os.getpid())


if __name__ == "__main__":
    main()
