"""``python -m mcloud``, and the console script."""

import os
import sys

from mcloud import isolation

INTERRUPTED = 130
PIPE = 141  # 128 + SIGPIPE, as for any program that is cut off
# Thresholds of Python's garbage collector, by generation. A comparison of sites creates thousands
# of candles and trades, which have no reference cycles. With the default threshold of 700 objects,
# the search for cycles would take a quarter of its time.
COLLECT = (50_000, 20, 20)


def main() -> None:
    isolation.settle()
    if "_MCLOUD_COMPLETE" in os.environ:
        _complete()
    import gc
    import signal

    from mcloud import proxies, streams

    # Until a command starts and installs its own handler, Ctrl-C ends the process immediately:
    # there is nothing to clean up yet, and a KeyboardInterrupt during an import may get lost. If
    # the shell started this process with the signal ignored, as for a background job, it stays
    # ignored.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    gc.set_threshold(*COLLECT)
    streams.settle()
    proxies.settle(os.environ)
    try:
        from mcloud.cli.app import main as run

        try:
            run()
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.exit(PIPE)
    except OSError as error:
        # Commands report their own errors. What arrives here is help text that could not be
        # printed.
        sys.exit(f"error: nothing can be printed: {error.strerror}")
    finally:
        streams.let_go()


def _complete() -> None:
    """Answer a shell that completes a value, and exit. Return if the word is another part of a
    command line, which is left to typer.
    """
    from pathlib import Path

    from mcloud.cli import completion

    found = completion.answer(os.environ, Path())
    if found is not None:
        print(found.text)
        sys.exit(found.code)


if __name__ == "__main__":
    main()
