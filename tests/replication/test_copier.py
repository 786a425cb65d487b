"""Copying raw objects with more than one process."""

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import psutil
import pytest
from patience import eventually
from producer.sources import trades

from mcloud.archive.raw import Copied
from mcloud.clouds.factory import open_site
from mcloud.errors import McloudError, Unavailable
from mcloud.local.state import State
from mcloud.market.archive import pack
from mcloud.replication.copier import TRANSFERS, Copier
from mcloud.workers import Workers

from . import folder
from .folder import helpers
from .stores import fresh


class Copies:
    """Copies the same objects repeatedly, each time to an empty folder."""

    def __init__(self, path: Path, alone: int = 0, failing: Exception | None = None) -> None:
        self.source, self.objects = folder.filled(path / "source", failing)
        self.target = folder.empty(path / "target")
        self.workers = Workers(TRANSFERS)
        self.copier = Copier(self.source, self.target, self.workers, processes=1, alone=alone)

    def copy(self) -> set[int]:
        """Copy the objects once, and return the ids of the other processes that helped."""
        for file in self.target.archive.path.iterdir():
            file.unlink()
        size = sum(each.stored.size for each in self.objects)
        assert self.copier.copy(self.objects) == Copied(len(self.objects), size, [])
        return self.target.archive.writers() - {os.getpid()}

    def close(self) -> None:
        self.copier.close()
        self.workers.close()


@pytest.fixture
def copies(tmp_path: Path) -> Iterator[Callable[..., Copies]]:
    with ExitStack() as open_:

        def make(**options: object) -> Copies:
            return open_.enter_context(closing(Copies(tmp_path, **options)))  # type: ignore[arg-type]

        yield make


def test_many_objects_are_copied_by_several_processes(
    copies: Callable[..., Copies],
) -> None:
    copying = copies(alone=2 * folder.OBJECTS)
    before = helpers()
    copying.copy()
    copying.copy()
    assert helpers() == before
    eventually(copying.copy)
    assert copying.copy() <= helpers() - before


def test_work_of_a_failed_process_is_done_by_the_others(copies: Callable[..., Copies]) -> None:
    copying = copies()
    eventually(copying.copy)
    (helper,) = helpers()
    os.kill(helper, signal.SIGKILL)
    eventually(lambda: not copying.copy())


def test_ctrl_c_does_not_end_a_copying_process(copies: Callable[..., Copies]) -> None:
    copying = copies()
    eventually(copying.copy)
    (helper,) = helpers()
    os.kill(helper, signal.SIGINT)
    eventually(copying.copy)
    assert helpers() == {helper}


@pytest.mark.parametrize(
    ("failing", "said"),
    [
        (Unavailable("S3 raw: away", remedy="wait"), "S3 raw: away; wait"),
        (LookupError("a fault"), "LookupError: a fault"),
    ],
)
def test_errors_of_another_process_are_raised_here(
    copies: Callable[..., Copies], failing: Exception, said: str
) -> None:
    copying = copies(failing=failing)

    def fails() -> bool:
        try:
            copying.copy()
        except McloudError as error:
            return str(error) == said
        return False

    eventually(fails)


def test_the_work_continues_if_a_process_cannot_open_a_site(
    copies: Callable[..., Copies], capfd: pytest.CaptureFixture[str]
) -> None:
    copying = copies()
    copying.target.opens_elsewhere = False
    copying.copy()
    eventually(helpers)
    eventually(lambda: not helpers())
    assert not copying.copy()
    assert capfd.readouterr().err == ""


def test_a_copying_process_ends_with_the_copier_even_if_a_copy_hangs(
    copies: Callable[..., Copies],
) -> None:
    copying = copies()
    eventually(copying.copy)
    (helper,) = helpers()
    os.kill(helper, signal.SIGSTOP)
    hanging = threading.Thread(target=copying.copier.copy, args=(copying.objects,))
    hanging.start()
    copying.copier.close()
    hanging.join()
    eventually(lambda: not helpers())


def test_a_copying_process_ends_with_its_parent(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "replication.folder", str(tmp_path / "s"), str(tmp_path / "t")],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
    ) as running:
        assert running.stdout is not None
        helper = psutil.Process(int(running.stdout.readline()))
        running.kill()
    eventually(lambda: not helper.is_running() or helper.status() == psutil.STATUS_ZOMBIE)


def test_a_copying_process_opens_its_own_sites(embedded: State) -> None:
    for name, resources in fresh(embedded, "aws", "gcp").items():
        site = open_site(name, resources)
        (item,) = pack(trades([1]))
        site.archive.put(item)
        again = pickle.loads(pickle.dumps(site))
        assert again.name == name
        assert again.archive.get(item.key) == item.body
