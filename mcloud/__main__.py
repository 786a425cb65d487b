"""``python -m mcloud``, and the console script."""

import os
import sys

from mcloud import isolation

INTERRUPTED = 130
PIPE = 141  # 128 + SIGPIPE, as for any program that is cut off
# How many objects are made before Python looks for cycles among them, by generation. Candles,
# trades and answers come by the thousand and hold no cycles: at the usual 700 the looking takes a
# quarter of the time of a comparison of sites.
COLLECT = (50_000, 20, 20)


def main() -> None:
    isolation.settle()
    import gc
    import signal

    from mcloud import proxies, streams

    # While modules load there is nothing to put away, and a KeyboardInterrupt in the middle of an
    # import may get lost: Ctrl-C simply ends the process. A command takes it over when it begins.
    # Where the shell has it ignored, as for a job in the background, it stays so.
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
        # A command has said all of its own by then: this is help that cannot be printed.
        sys.exit(f"error: nothing can be printed: {error.strerror}")
    finally:
        streams.let_go()


if __name__ == "__main__":
    main()
