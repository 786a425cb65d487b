"""Full-screen use of the terminal, with single keys. The terminal is always restored."""

import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

BEGIN, END = (
    "\x1b[?2026h",
    "\x1b[?2026l",
)  # start and end of a frame, for terminals that draw a whole frame at once
NAMES = {b"\x1b[C": "right", b"\x1b[D": "left", b"\x1bOC": "right", b"\x1bOD": "left"}


@contextmanager
def full_screen(console: "Console") -> "Iterator[Screen]":
    """Use the whole terminal: the alternate screen, no cursor, keys without Enter."""
    screen = Screen(console, sys.stdin)
    handlers = {
        signal.SIGTSTP: screen.stop,
        signal.SIGWINCH: lambda *_: None,  # only to end the wait for a key
    }
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    woken = signal.set_wakeup_fd(screen.waker, warn_on_full_buffer=False)
    try:
        screen.take()
        yield screen
    finally:
        # A second Ctrl-C here would leave the terminal as it is now, so it is ignored.
        interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
        screen.give_back()
        signal.set_wakeup_fd(woken)
        for number, handler in before.items():
            signal.signal(number, handler)
        screen.close()
        signal.signal(signal.SIGINT, interrupt)


class Screen:
    def __init__(self, console: "Console", keyboard: IO[str]) -> None:
        self._console = console
        self._keyboard = keyboard.fileno() if keyboard.isatty() else None
        self._cooked: list[int | list[bytes | int]] | None = None
        self._wakes, self.waker = os.pipe()
        for end in (self._wakes, self.waker):
            os.set_blocking(end, False)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines of the terminal itself. The environment may have old values."""
        size = os.get_terminal_size(self._console.file.fileno())
        return size.columns, size.lines

    def draw(self, lines: "Sequence[Text]") -> None:
        """Replace the screen, without clearing it first, which would flicker."""
        width, _ = self.size
        shown = "\r\n".join(self._drawn(line, width) for line in lines)
        self._write(f"{BEGIN}\x1b[H{shown}\x1b[J{END}")

    def _drawn(self, line: "Text", width: int) -> str:
        with self._console.capture() as capture:
            self._console.print(line, end="", no_wrap=True, overflow="ignore", crop=False)
        # After a full line the cursor is still on the last letter, which would be erased too.
        return capture.get() + ("\x1b[K" if line.cell_len < width else "")

    def keys(self, seconds: float) -> list[str]:
        """Return the pressed keys. Wait for at most these seconds, or until the size of the window
        changes.
        """
        ends = [self._wakes] if self._keyboard is None else [self._keyboard, self._wakes]
        ready, _, _ = select.select(ends, [], [], max(0.0, seconds))
        if self._wakes in ready:
            os.read(self._wakes, 4096)
        if self._keyboard is None or self._keyboard not in ready:
            return []
        pressed = os.read(self._keyboard, 4096)
        # A lost terminal is always ready, and has no input.
        return names_of(pressed) if pressed else ["q"]

    def take(self) -> None:
        if self._keyboard is not None:
            self._cooked = termios.tcgetattr(self._keyboard)
            tty.setcbreak(self._keyboard, termios.TCSANOW)
        self._write("\x1b[?1049h\x1b[?25l\x1b[2J")

    def give_back(self) -> None:
        try:
            self._write("\x1b[?25h\x1b[?1049l")
        finally:
            if self._keyboard is not None and self._cooked is not None:
                termios.tcsetattr(self._keyboard, termios.TCSANOW, self._cooked)

    @contextmanager
    def left(self) -> Iterator[None]:
        """Give the terminal back while the block runs."""
        self.give_back()
        try:
            yield
        finally:
            self.take()

    def stop(self, *_: object) -> None:
        """On Ctrl-Z, restore the terminal and stop. Take it again when the process continues."""
        self.give_back()
        ours = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, ours)
        self.take()

    def close(self) -> None:
        os.close(self._wakes)
        os.close(self.waker)

    def _write(self, text: str) -> None:
        self._console.file.write(text)
        self._console.file.flush()


def names_of(pressed: bytes) -> list[str]:
    """Return the names of keys: letters, ``left``, ``right`` and ``escape``. Others are dropped."""
    names = []
    while pressed:
        sequence = next((each for each in NAMES if pressed.startswith(each)), None)
        if sequence is not None:
            names.append(NAMES[sequence])
            pressed = pressed[len(sequence) :]
        elif pressed[:1] == b"\x1b":
            if len(pressed) == 1:
                names.append("escape")
            # An unknown sequence is dropped as a whole, and not read as letters.
            pressed = pressed[len(pressed) :] if pressed[1:2] in (b"[", b"O") else pressed[1:]
        else:
            names.append(chr(pressed[0]))
            pressed = pressed[1:]
    return names
