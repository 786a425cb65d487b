"""``python -m mcloud``, and the console script."""

import gc
import io
import os
import signal
import sys
import warnings

from mcloud import proxies

INTERRUPTED = 130
# How many objects are made before Python looks for cycles among them, by generation. Candles,
# trades and answers come by the thousand and hold no cycles: at the usual 700 the looking takes a
# quarter of the time of a comparison of sites.
COLLECT = (50_000, 20, 20)


def main() -> None:
    # While modules load there is nothing to put away, and a KeyboardInterrupt in the middle of an
    # import may get lost: Ctrl-C simply ends the process. A command takes it over when it begins.
    # Where the shell has it ignored, as for a job in the background, it stays so.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    gc.set_threshold(*COLLECT)
    proxies.settle(os.environ)
    # For who writes Python: as errors, which some have them be, they would end a command.
    if os.environ.pop("PYTHONWARNINGS", ""):
        warnings.simplefilter("ignore")
    # What the encoding of a terminal or a file lacks becomes a question mark, not an error.
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.encoding != "utf-8":
        sys.stdout.reconfigure(errors="replace")
    try:
        from mcloud.cli.app import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
