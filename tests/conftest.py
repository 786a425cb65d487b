"""Fixtures for all tests."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcloud.local import children, control
from mcloud.local.state import State
from mcloud.local.supervisor import Options


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """Have Ctrl-C reach the processes of the tests, also where this one runs in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
    yield from _clouds(tmp_path_factory.mktemp("embedded") / "local", official=False)


@pytest.fixture(scope="session")
def official(tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    """The same with Google's own Pub/Sub and Firestore emulators."""
    if not (shutil.which("gcloud") and shutil.which("java")):
        pytest.skip("no gcloud or no Java for Google's emulators")
    yield from _clouds(tmp_path_factory.mktemp("official") / "local", official=True)


def _clouds(home: Path, *, official: bool) -> Iterator[State]:
    aws, gcp, storage, function = children.free_ports(4)
    options = Options(str(home), aws, gcp, storage, function, official=official, owner=os.getpid())
    state = control.up(options)
    try:
        yield state
    finally:
        control.down(home)
