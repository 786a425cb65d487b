"""``mcloud monitor`` in a terminal of its own, in a pipe, and with a site that does not answer."""

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from patience import PATIENCE, eventually

from mcloud.cli.screen import names_of

from .conftest import Terminal

SILENT = """
[profiles.dark.sites.aws]
cloud = "aws"
region = "us-east-1"
queue_url = "{url}/0/q"
dlq_url = "{url}/0/d"
candles_table = "c"
control_table = "k"
raw_bucket = "b"
function = "f"
endpoint_url = "{url}"
"""
ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"


class Person:
    """In front of a terminal of 80 columns and 24 lines, in which a program runs."""

    def __init__(self, mcloud: Terminal, *command: str) -> None:
        self.eye, self._terminal = pty.openpty()
        termios.tcsetwinsize(self._terminal, (24, 80))
        self.before = termios.tcgetattr(self._terminal)
        self.seen = ""
        self.process = subprocess.Popen(
            command,
            cwd=mcloud.folder,
            env={**mcloud.environment, "TERM": "xterm-256color"},
            stdin=self._terminal,
            stdout=self._terminal,
            stderr=self._terminal,
            start_new_session=True,
            preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),  # its own terminal
        )

    def sees(self, words: str | Callable[[str], bool]) -> None:
        """Wait until these words are on the screen, or have been since the last time."""

        def is_there() -> bool:
            self.look()
            return words in self.seen if isinstance(words, str) else words(self.seen)

        eventually(is_there)
        self.seen = ""

    def look(self) -> None:
        while select.select([self.eye], [], [], 0)[0]:
            try:
                self.seen += os.read(self.eye, 65_536).decode(errors="replace")
            except OSError:  # the program has ended
                return

    def types(self, keys: str) -> None:
        os.write(self.eye, keys.encode())

    def leaves(self) -> int:
        """Wait for the end of the program; its exit code."""

        def has_ended() -> bool:
            self.look()  # a program whose terminal is full does not end
            return self.process.poll() is not None

        eventually(has_ended)
        self.look()
        return self.process.returncode

    @property
    def is_as_before(self) -> bool:
        """Return whether the terminal is in line mode and echoes again."""
        return termios.tcgetattr(self._terminal) == self.before

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(PATIENCE)
        os.close(self.eye)
        os.close(self._terminal)


@pytest.fixture
def dark(mcloud: Terminal) -> Iterator[Terminal]:
    """A profile of one site that takes every connection and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        (mcloud.folder / "mcloud.toml").write_text(SILENT.format(url=url))
        yield mcloud


@pytest.fixture
def person(dark: Terminal) -> Iterator[Person]:
    watching = Person(dark, *dark.command("--profile", "dark", "monitor", "--interval", "1"))
    try:
        yield watching
    finally:
        watching.close()


@pytest.mark.slow
def test_a_site_that_hangs_does_not_freeze_the_screen(person: Person) -> None:
    person.sees(ENTER)
    assert not person.is_as_before
    person.sees("no answer for")
    person.types("?")
    person.sees("this page")
    person.types("?1")
    person.sees("archive")
    person.types("1p")
    person.sees("PAUSED")
    person.types("p--")
    person.sees("every 5 s")
    begun = time.monotonic()
    person.types("q")
    assert person.leaves() == 0
    assert time.monotonic() - begun < 10  # the calls that hang continue for more than a minute
    assert LEAVE in person.seen
    assert "Traceback" not in person.seen
    assert person.is_as_before


@pytest.mark.slow
def test_keys_run_other_commands_and_return_to_the_screen(person: Person) -> None:
    person.sees(lambda seen: ENTER in seen and "mcloud" in seen)
    person.types("f")
    person.sees("site that becomes the primary: ")
    assert person.is_as_before
    person.types("aws\n")
    person.sees(lambda seen: "aws is the only site" in seen and "press Enter" in seen)
    person.types("\n")
    person.sees(lambda seen: ENTER in seen and "aws" in seen)
    assert not person.is_as_before
    person.types("l")
    person.sees("press Enter to return")
    # Ctrl-C at the prompt returns to the screen, too, and does not end the monitor.
    person.types("\x03")
    person.sees(ENTER)
    person.types("/quiet\n")
    person.sees("/quiet  ")
    person.types("q")
    assert person.leaves() == 0
    assert "Traceback" not in person.seen
    assert person.is_as_before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_terminal_is_restored_however_the_monitor_ends(
    person: Person, number: signal.Signals
) -> None:
    person.sees("mcloud")
    if number is signal.SIGINT:
        person.types("\x03")
    else:
        person.process.send_signal(number)
    assert person.leaves() == 130
    assert person.seen.index(LEAVE) < person.seen.index("interrupted")
    assert person.is_as_before


def test_ctrl_z_restores_the_terminal_until_the_monitor_continues(dark: Terminal) -> None:
    command = " ".join(dark.command("--profile", "dark", "monitor"))
    script = f"set -m; {command}; stty -a; echo stopped; read line; fg %1 > /dev/null; echo over"
    person = Person(dark, "bash", "-c", script)
    try:
        person.sees(lambda seen: ENTER in seen and "mcloud" in seen)
        person.types("\x1a")
        eventually(lambda: person.look() or "stopped" in person.seen)
        assert LEAVE in person.seen
        assert re.search(r"[^-]icanon", person.seen)
        person.seen = ""
        person.types("\n")
        person.sees(lambda seen: ENTER in seen and "aws" in seen)
        person.types("q")
        person.sees("over")
        assert person.leaves() == 0
    finally:
        person.close()


def test_a_change_of_size_is_drawn_at_once(person: Person) -> None:
    person.sees("mcloud")
    termios.tcsetwinsize(person.eye, (40, 150))
    # A line of the wider screen: its right end is beyond the 80 columns that there were.
    person.sees(lambda seen: any(len(line) > 120 for line in re.split(r"\r\n", seen)))
    person.types("q")
    assert person.leaves() == 0


@pytest.mark.parametrize(
    ("pressed", "names"),
    [
        (b"q", ["q"]),
        (b"+-?", ["+", "-", "?"]),
        (b"\x1b", ["escape"]),
        (b"\x1b[C\x1b[D", ["right", "left"]),
        (b"\x1bOC1", ["right", "1"]),
        (b"\x1b[15~", []),
        (b"\x1bq", ["q"]),
        (b"", []),
    ],
)
def test_keys_have_names(pressed: bytes, names: list[str]) -> None:
    assert names_of(pressed) == names


@pytest.mark.slow
def test_in_a_pipe_it_prints_one_snapshot(mcloud_up: Terminal) -> None:
    done = mcloud_up.run("monitor", "aws")
    assert (done.returncode, done.stderr) == (0, "")
    # Other tests leave dead letters in these queues.
    assert done.stdout.split()[0] in ("OK", "FAULT")
    assert "\nservices " in done.stdout
    assert "\x1b" not in done.stdout
    told = json.loads(mcloud_up.run("monitor", "--once", "-o", "json").stdout)
    assert set(told["sites"]) == {"aws", "gcp"}


@pytest.mark.slow
def test_a_stream_of_lines_ends_with_its_reader(mcloud_up: Terminal) -> None:
    process = mcloud_up.start("monitor", "--interval", "1", "-o", "jsonl")
    assert process.stdout is not None
    with process.stdout:
        first, second = (json.loads(process.stdout.readline()) for _ in range(2))
    assert set(first["sites"]) == {"aws", "gcp"}
    assert second["at"] >= first["at"] + 0.9
    assert first["upkeep_usd_a_month"] > 0
    assert process.wait(PATIENCE) == 141
    assert process.stderr is not None
    with process.stderr:
        assert process.stderr.read() == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--interval", "0"], "Invalid value for '--interval'"),
        (["azure"], "unknown site 'azure'"),
        (["-o", "csv"], "choose from text, json, jsonl"),
    ],
)
def test_a_wrong_line_is_reported(dark: Terminal, arguments: list[str], message: str) -> None:
    done = dark.run("--profile", "dark", "monitor", *arguments)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())


def test_a_wrong_setting_is_named_with_its_line(dark: Terminal) -> None:
    file = Path(dark.folder / "mcloud.toml")
    file.write_text(f"[monitor]\ninterval = 0.1\n{file.read_text()}")
    done = dark.run("--profile", "dark", "monitor", "-o", "jsonl")
    assert done.returncode == 2
    assert "monitor.interval must be 1 or more" in done.stderr
    assert "2" in done.stderr
