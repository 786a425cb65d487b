"""Interruption, repetition and failure while a bucket is emptied."""

from collections.abc import Iterator, Sequence
from threading import Event, Lock

import pytest

from mcloud.clouds.bucket import ObjectVersion
from mcloud.errors import Refused, Unavailable
from mcloud.infra import emptying
from mcloud.infra.emptying import empty
from mcloud.infra.terraform import Interrupted

PAGE = 10


class MemoryBucket:
    """A bucket in memory; see ``bucket.Bucket``."""

    workers = 4

    def __init__(self, versions: int) -> None:
        self.left = {ObjectVersion(f"raw/{number}", "1"): None for number in range(versions)}
        self.errors: list[Exception] = []
        """Errors of the next deletions, which delete half of their versions nevertheless."""
        self.calls = 0
        self._lock = Lock()

    def versions(self) -> Iterator[list[ObjectVersion]]:
        found = list(self.left)
        for start in range(0, len(found), PAGE):
            yield found[start : start + PAGE]

    def delete(self, versions: Sequence[ObjectVersion]) -> None:
        with self._lock:
            self.calls += 1
            error = self.errors.pop() if self.errors else None
            for each in versions[: len(versions) // 2] if error else versions:
                self.left.pop(each, None)
            if error:
                raise error

    def soft_delete_days(self) -> float:
        return 0.0


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emptying, "LONGEST_PAUSE", 0.0)
    monkeypatch.setattr(emptying, "REPORT", 0.0)


def test_progress_grows_to_the_number_of_versions() -> None:
    bucket, told = MemoryBucket(95), []
    assert empty(bucket, Event(), told.append) == 95
    assert not bucket.left
    assert told == sorted(told)
    assert told[-1] == 95


def test_another_run_continues_after_an_interruption() -> None:
    bucket, stop = MemoryBucket(1_000), Event()

    def interrupt(deleted: int) -> None:
        if deleted >= 300:
            stop.set()

    with pytest.raises(Interrupted, match=r"interrupted after (\d+) versions") as caught:
        empty(bucket, stop, interrupt)
    deleted = 1_000 - len(bucket.left)
    assert 300 <= deleted < 1_000
    assert f"after {deleted} versions" in caught.value.message
    assert empty(bucket, Event(), lambda deleted: None) == 1_000 - deleted
    assert not bucket.left


def test_a_throttled_deletion_is_tried_again() -> None:
    bucket = MemoryBucket(50)
    bucket.errors = [Unavailable("SlowDown") for _ in range(emptying.RETRIES)]
    assert empty(bucket, Event(), lambda deleted: None) == 50
    assert not bucket.left


def test_a_cloud_that_stays_unavailable_ends_the_run() -> None:
    bucket = MemoryBucket(PAGE)
    bucket.errors = [Unavailable("SlowDown") for _ in range(emptying.RETRIES + 1)]
    with pytest.raises(Unavailable, match="SlowDown"):
        empty(bucket, Event(), lambda deleted: None)


def test_a_locked_version_ends_the_run_early() -> None:
    bucket = MemoryBucket(100_000)
    bucket.errors = [Refused("locked")]
    with pytest.raises(Refused, match="locked"):
        empty(bucket, Event(), lambda deleted: None)
    assert bucket.calls < 1_000
