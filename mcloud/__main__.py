"""``python -m mcloud``, and the console script."""

import signal
import sys

INTERRUPTED = 130


def main() -> None:
    # While modules load there is nothing to put away, and a KeyboardInterrupt in the middle of an
    # import may get lost: Ctrl-C simply ends the process. A command takes it over when it begins.
    # Where the shell has it ignored, as for a job in the background, it stays so.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        from mcloud.cli.app import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
