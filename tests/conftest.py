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

# Every run uses the same examples without a deadline, so that no run fails by chance. To search for
# new examples, run `pytest --hypothesis-profile=default`.
settings.register_profile(
    "steady", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")

TERRAFORM = Path(__file__).parent / "terraform"

WORKERS = 4
"""Maximum number of test processes. Each starts its own embedded clouds of about 600 MB."""


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return how many processes run the tests: one for each core, up to ``WORKERS``.

    Tests run in pytest's own process if their output is shown (``-s``, which benchmarks need) or if
    a single test is named.
    """
    if config.option.capture == "no" or any("::" in word for word in config.args):
        return 0
    return min(os.cpu_count() or 1, WORKERS)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of the modules as slow, because Terraform takes seconds for a plan."""
    for item in items:
        if TERRAFORM in item.path.parents and item.get_closest_marker("nightly") is None:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def _usual_signals() -> None:
    """Reset the signal mask and handler, which a background job may have inherited."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def _usual_proxies() -> None:
    """Exclude the embedded clouds from proxies, as the command line does."""
    proxies.settle(os.environ)


@pytest.fixture(autouse=True)
def _notes_of_this_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the refused writes of other tests."""
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
    """Embedded clouds with a deployed stack, which all tests share until the run ends.

    Their folder is called ``local``. Its parent can be the MCLOUD_STATE of a command line.
    """
    yield from _clouds(tmp_path_factory, "embedded", official=False)


@pytest.fixture(scope="session")
def official(tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    """Embedded clouds with Google's own Pub/Sub and Firestore emulators."""
    if not (shutil.which("gcloud") and shutil.which("java")):
        pytest.skip("no gcloud or no Java for Google's emulators")
    yield from _clouds(tmp_path_factory, "official", official=True)


def _clouds(folders: pytest.TempPathFactory, name: str, *, official: bool) -> Iterator[State]:
    home = folders.mktemp(name) / "local"
    aws, gcp, storage, function = children.free_ports(4)
    # Nothing happens in these clouds unless a test asks for it.
    options = Options(
        *(str(home), aws, gcp, storage, function),
        official=official,
        owner=os.getpid(),
        scheduled=False,
    )
    with pytest.MonkeyPatch.context() as patch:
        # Not UTC, since the answers of the embedded clouds must not depend on the time zone.
        patch.setenv("TZ", "Asia/Kolkata")
        if not official:
            # Empty for as long as they live; gcloud needs that of the user.
            patch.setenv("HOME", str(folders.mktemp("home")))
            for variable in [each for each in os.environ if each.startswith("XDG_")]:
                patch.delenv(variable)
        # No process may import a module from the user's working folder.
        patch.chdir(Hostile(folders.mktemp("hostile")).folder)
        state = control.up(options)
    try:
        yield state
    finally:
        control.down(home)
