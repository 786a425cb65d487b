"""Prepares standard input, output and error, however the command was started."""

import errno
import io
import os
import sys
import warnings
from typing import IO

STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def settle() -> None:
    """Handle closed streams, unusual encodings and strict warning filters."""
    for number, (name, mode) in enumerate(STREAMS):
        if getattr(sys, name) is None:
            setattr(sys, name, _nowhere(number, mode))
    # A character that the encoding lacks is printed as a question mark, and is not an error. With
    # UTF-8 these are only the bytes of a file name that is not UTF-8, which are printed unchanged.
    if isinstance(sys.stdout, io.TextIOWrapper):
        is_utf8 = sys.stdout.encoding == "utf-8"
        sys.stdout.reconfigure(errors="surrogateescape" if is_utf8 else "replace")
    # Warnings are for Python developers, for example that a library will support this Python for
    # one more year. Some users turn them into errors, which would stop a command. Libraries also
    # set filters.
    os.environ.pop("PYTHONWARNINGS", None)
    warnings.simplefilter("ignore")
    warnings.showwarning = lambda *_, **__: None


def leave_terminal() -> None:
    """Stop printing to a terminal that has been closed, since every line would fail."""
    for number in (1, 2):
        try:
            os.get_terminal_size(number)
        except OSError as error:
            if error.errno == errno.EIO:
                os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def let_go() -> None:
    """Drop output that a stream does not accept. Python would retry at exit and exit with 120."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def _nowhere(number: int, mode: str) -> IO[str]:
    """Open the null device in place of a closed stream.

    Otherwise the next opened file, such as a database, would get the number of the stream, and with
    it the output of a child process or a library.
    """
    found = os.open(os.devnull, os.O_RDWR)
    if found != number:
        os.dup2(found, number)
        os.close(found)
    else:
        os.set_inheritable(number, True)
    return open(number, mode, encoding="utf-8", closefd=False)
