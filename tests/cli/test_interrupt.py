"""Ctrl-C and SIGTERM in every phase: exit code 130, and nothing is left behind."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import psutil
import pytest
import typer
from patience import PATIENCE, eventually

from mcloud.cli import session
from mcloud.clouds.resources import AwsResources
from mcloud.local import control, outage
from mcloud.local.children import MARK
from mcloud.local.state import Home

from .conftest import Terminal

STAGES = ("starting", "waiting", "provisioning", "ready", "stopping")
"""Phases of the supervisor, in order."""

# Conditions on the folder of the embedded clouds that show whether a phase has begun.
PHASES: dict[str, Callable[[Home], bool]] = {
    "before anything": lambda home: True,
    "starting": lambda home: _stage(home) >= STAGES.index("starting"),
    "waiting": lambda home: _stage(home) >= STAGES.index("waiting"),
    "provisioning": lambda home: _stage(home) >= STAGES.index("provisioning"),
    "ready": lambda home: _stage(home) >= STAGES.index("ready"),
    "sending": lambda home: _staged(home) > 0,
    "a site is out": lambda home: home.folder.is_dir() and bool(outage.active(home.folder)),
}
INT, TERM = signal.SIGINT, signal.SIGTERM


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phase", "number"),
    [
        ("before anything", INT),
        ("before anything", TERM),
        ("starting", INT),
        ("waiting", INT),
        ("waiting", TERM),
        ("provisioning", INT),
        ("ready", TERM),
        ("sending", INT),
        ("sending", TERM),
        ("a site is out", INT),
    ],
)
def test_an_interrupted_demo_leaves_nothing_behind(
    mcloud: Terminal, phase: str, number: signal.Signals
) -> None:
    process = mcloud.start("demo", "--count", 60_000)
    interrupt(process, phase, number, lambda: demo_home(mcloud.folder))
    assert left(mcloud.folder) == []
    assert list(mcloud.folder.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phase", "number"),
    [
        ("before anything", TERM),
        ("starting", INT),
        ("waiting", TERM),
        ("provisioning", INT),
    ],
)
def test_an_interrupted_local_up_leaves_nothing_running(
    mcloud: Terminal, phase: str, number: signal.Signals
) -> None:
    home = Home(mcloud.folder / "state" / "local")
    process = mcloud.start("local", "up", "--ports", "auto")
    interrupt(process, phase, number, lambda: home)
    assert left(mcloud.folder) == []
    assert not home.is_up()


def test_an_interrupt_during_exec_exits_like_any_other(tmp_path: Path) -> None:
    """An example is the creation of a dataclass. CPython would let ``-m`` die of SIGINT at exit."""
    (tmp_path / "program.py").write_text(
        "import typer\n"
        "from mcloud.cli.session import command\n"
        "app = typer.Typer()\n"
        "@command(app)\n"
        "def run(session):\n"
        "    exec('raise KeyboardInterrupt')\n"
        "app()\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "program"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_an_interrupt_that_python_drops_is_repeated(tmp_path: Path) -> None:
    """In a destructor or in callbacks of the importer, Python only prints the interrupt."""
    (tmp_path / "program.py").write_text(
        "import threading, typer\n"
        "from mcloud.cli.session import command\n"
        "class Doomed:\n"
        "    def __del__(self):\n"
        "        raise KeyboardInterrupt\n"
        "app = typer.Typer()\n"
        "@command(app)\n"
        "def run(session):\n"
        "    Doomed()\n"
        "    threading.Event().wait()\n"
        "app()\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "program"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


@pytest.mark.slow
def test_processes_of_a_killed_demo_end_by_themselves(mcloud: Terminal) -> None:
    process = mcloud.start("demo", "--count", 60_000)
    await_phase(process, "sending", lambda: demo_home(mcloud.folder))
    process.kill()
    process.communicate(timeout=PATIENCE)
    eventually(lambda: left(mcloud.folder) == [])
    assert list(mcloud.folder.iterdir()) == []


@pytest.mark.parametrize("number", [INT, TERM])
def test_produce_delivers_what_it_has_read(mcloud_up: Terminal, number: signal.Signals) -> None:
    arguments = ("--source", "simulate", "--symbols", "STOPUSDT", "--speed", "realtime")
    process = mcloud_up.start("produce", *arguments, "--rate", 500, "-o", "json")
    # Two senders per site and a reader start after the handler is installed.
    eventually(lambda: threads(process) > 5)
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (130, "")
    answer = json.loads(out)
    assert answer["complete"] is True
    assert [site["trades"] for site in answer["sites"].values()] == [answer["read"]] * 2


def test_a_second_ctrl_c_does_not_wait_for_a_site_that_hangs(mcloud: Terminal) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        values = {field.name: "x" for field in fields(AwsResources)} | {
            "cloud": "aws",
            "region": "us-east-1",
            "endpoint_url": f"http://127.0.0.1:{silent.getsockname()[1]}",
        }
        text = "".join(f'{name} = "{value}"\n' for name, value in values.items())
        (mcloud.folder / "mcloud.toml").write_text(f"[profiles.prod.sites.aws]\n{text}")
        process = mcloud.start("--profile", "prod", "produce", "--source", "simulate", "-o", "json")
        eventually(lambda: threads(process) == 5)
        process.send_signal(INT)
        eventually(lambda: threads(process) == 4)  # the reader has ended, and the senders continue
        process.send_signal(INT)
        assert process.communicate(timeout=PATIENCE) == ("", "interrupted\n")
        assert process.returncode == 130


@pytest.fixture(autouse=True)
def _nothing_survives_a_failed_test(tmp_path: Path) -> Iterator[None]:
    yield
    for process in left(tmp_path):
        process.kill()
    control.down(tmp_path / "state" / "local")


def interrupt(
    process: subprocess.Popen[str], phase: str, number: signal.Signals, home: Callable[[], Home]
) -> None:
    """Send a signal in a phase. The process reports it and exits with 130."""
    await_phase(process, phase, home)
    process.send_signal(number)
    said = process.communicate(timeout=PATIENCE)
    if phase == "before anything" and process.returncode == -number:
        return  # Python itself had not started yet, and no code of mcloud had run
    assert said == ("", "interrupted\n")
    assert process.returncode == 130


def await_phase(process: subprocess.Popen[str], phase: str, home: Callable[[], Home]) -> None:
    eventually(lambda: process.poll() is not None or catches(process.pid, signal.SIGTERM))
    eventually(lambda: process.poll() is not None or PHASES[phase](home()))
    assert process.poll() is None, process.communicate()


def catches(pid: int, number: signal.Signals) -> bool:
    """Return whether a process has its own handler. Until then a signal simply ends it."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        pytest.skip("no /proc to read the signal handlers of a process from")
    mask = next(line for line in status.read_text().splitlines() if line.startswith("SigCgt"))
    return bool(int(mask.split()[1], 16) >> (number - 1) & 1)


def threads(process: subprocess.Popen[str]) -> int:
    assert process.poll() is None, process.communicate()
    return len(psutil.Process(process.pid).threads())


def demo_home(folder: Path) -> Home:
    return Home(next(folder.glob("mcloud-demo-*"), folder / "none yet"))


def left(folder: Path) -> list[psutil.Process]:
    """Return the processes of this test: they inherit its TMPDIR or have the mark of its clouds."""
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        marks = (environment.get("TMPDIR", ""), environment.get(MARK, ""))
        if process.pid != os.getpid() and any(mark.startswith(str(folder)) for mark in marks):
            found.append(process)
    return found


def _stage(home: Home) -> int:
    state = home.read()
    return STAGES.index((state.doing or state.phase).split(" ")[0]) if state else -1


def _staged(home: Home) -> int:
    """Return the number of staged objects in the embedded Cloud Storage."""
    staging = (home.data / "storage").glob("*-staging-*/**/*")
    return sum(1 for path in staging if path.is_file())


def test_an_interrupt_that_python_wraps_is_an_interrupt(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Ctrl-C during the creation of a class, as while a module loads."""

    class Interrupting:
        def __set_name__(self, owner: type, name: str) -> None:
            raise KeyboardInterrupt

    def run() -> None:
        type("Made", (), {"field": Interrupting()})

    signals = {each: signal.getsignal(each) for each in (INT, TERM, signal.SIGHUP, signal.SIGALRM)}
    hook = sys.unraisablehook
    try:
        with pytest.raises(typer.Exit) as exit_:
            session._guard(run, session.Session())
    finally:
        sys.unraisablehook = hook
        for each, handler in signals.items():
            signal.signal(each, handler)
    assert exit_.value.exit_code == session.INTERRUPTED
    assert capsys.readouterr().err == "interrupted\n"
