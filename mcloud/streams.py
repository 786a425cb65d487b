"""Standard input, output and error as a command needs them, however it was started."""

import errno
import io
import os
import sys
import warnings
from typing import IO, Any

STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def settle() -> None:
    """Make something of what Python was given: closed streams, odd encodings, strict warnings."""
    for number, (name, mode) in enumerate(STREAMS):
        if getattr(sys, name) is None:
            setattr(sys, name, _nowhere(number, mode))
    # What the encoding of a terminal or a file lacks becomes a question mark, not an error. UTF-8
    # lacks only the bytes of a file's name that are no UTF-8; these are printed as they are.
    if isinstance(sys.stdout, io.TextIOWrapper):
        is_utf8 = sys.stdout.encoding == "utf-8"
        sys.stdout.reconfigure(errors="surrogateescape" if is_utf8 else "replace")
    # Warnings are for who writes Python: that a library will support this Python for one more year
    # say. As errors, which some have them be, they would end a command. Libraries set filters too.
    os.environ.pop("PYTHONWARNINGS", None)
    warnings.simplefilter("ignore")
    warnings.showwarning = lambda *_, **__: None


def leave_terminal() -> None:
    """Print no more to a terminal that has gone, where every line would be an error."""
    for number in (1, 2):
        try:
            os.get_terminal_size(number)
        except OSError as error:
            if error.errno == errno.EIO:
                os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def let_go() -> None:
    """Drop what a stream does not take: Python would try again at its end, and exit with 120."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def _nowhere(number: int, mode: str) -> IO[Any]:
    """A stream that was closed leads nowhere.

    The next file that is opened, a database say, would else get its number, and what a child or a
    library prints.
    """
    found = os.open(os.devnull, os.O_RDWR)
    if found != number:
        os.dup2(found, number)
        os.close(found)
    else:
        os.set_inheritable(number, True)
    return open(number, mode, encoding="utf-8", closefd=False)
