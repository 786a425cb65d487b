"""Fixtures for all tests."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile import Hostile
from hypothesis import HealthCheck, settings

from mcloud import best_effort, proxies
from mcloud.local import children, control
from mcloud.local.state import State
from mcloud.local.supervisor import Options

# The same examples in each run, however slow the machine: no run fails by chance. To look for new
# ones: `pytest --hypothesis-profile=default`.
settings.register_profile(
    "steady", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")


WORKERS = 4
"""Maximum number of test processes. Each starts embedded clouds of its own, of about 600 MB."""


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return how many processes run the tests: one for each core, up to ``WORKERS``.

    Tests run in pytest's own process where their output is to be seen (``-s``, as benchmarks need
    it) and where a single test is named.
    """
    if config.option.capture == "no" or any("::" in word for word in config.args):
        return 0
    return min(os.cpu_count() or 1, WORKERS)


@pytest.fixture(scope="session", autouse=True)
def _usual_signals() -> None:
    """For the processes of the tests, whatever this one has inherited, in the background say."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def _usual_proxies() -> None:
    """As the command line does: what goes to the embedded clouds goes through no proxy."""
    proxies.settle(os.environ)


@pytest.fixture(autouse=True)
def _notes_of_this_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the disk refused in another test is not known in this one."""
    monkeypatch.setattr(best_effort, "_refused", {})


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of recorded Binance trades, ``shared/data`` beside the repository."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no recorded trades: {folder} is missing")
    return folder


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    """Embedded clouds that all tests share, with the stack deployed; they end with the run.

    Their folder is called ``local``: its parent is an MCLOUD_STATE for the command line.
    """
    yield from _clouds(tmp_path_factory, "embedded", official=False)


@pytest.fixture(scope="session")
def official(tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    """The same with Google's own Pub/Sub and Firestore emulators."""
    if not (shutil.which("gcloud") and shutil.which("java")):
        pytest.skip("no gcloud or no Java for Google's emulators")
    yield from _clouds(tmp_path_factory, "official", official=True)


def _clouds(folders: pytest.TempPathFactory, name: str, *, official: bool) -> Iterator[State]:
    home = folders.mktemp(name) / "local"
    aws, gcp, storage, function = children.free_ports(4)
    # Nothing happens in them that no test asked for.
    options = Options(
        *(str(home), aws, gcp, storage, function),
        official=official,
        owner=os.getpid(),
        scheduled=False,
    )
    with pytest.MonkeyPatch.context() as patch:
        # Not where it is UTC: what the embedded clouds tell is the same everywhere.
        patch.setenv("TZ", "Asia/Kolkata")
        if not official:
            # Empty for as long as they live; gcloud needs that of the user.
            patch.setenv("HOME", str(folders.mktemp("home")))
            for variable in [each for each in os.environ if each.startswith("XDG_")]:
                patch.delenv(variable)
        # None of them imports a module of the folder in which a user happens to start them.
        patch.chdir(Hostile(folders.mktemp("hostile")).folder)
        state = control.up(options)
    try:
        yield state
    finally:
        control.down(home)
