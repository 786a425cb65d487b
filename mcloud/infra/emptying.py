"""Deletion of everything in a bucket before Terraform deletes the bucket.

The providers delete one version of an object after another, which takes hours for a large archive.
Here several requests run at once. No progress is stored: after an interruption, the next run
continues with the remaining objects.
"""

import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from threading import Event

from mcloud.backoff import grown
from mcloud.clouds.bucket import Bucket, ObjectVersion
from mcloud.errors import Unavailable
from mcloud.infra.terraform import Interrupted

RETRIES = 6  # number of retries of a deletion that the cloud throttles or does not answer
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 32.0  # seconds
REPORT = 1.0  # seconds between two reports of the progress


def empty(bucket: Bucket, stop: Event, progress: Callable[[int], None]) -> int:
    """Delete all versions of all objects, and return their number.

    Args:
        stop: stops the deletion after the requests that are under way.
        progress: called with the number of deleted versions about every second.

    Raises:
        Interrupted: it was stopped; another call deletes the rest.
        Unavailable: the cloud did not delete a version in any of several attempts.
        Refused: the cloud keeps a version.
    """
    deleted, told = 0, time.monotonic()
    with ThreadPoolExecutor(bucket.workers) as pool:
        under_way: set[Future[int]] = set()

        def finish(least: int) -> None:
            """Wait until at most ``least`` requests are under way."""
            nonlocal deleted, told, under_way
            while len(under_way) > least:
                done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                deleted += sum(each.result() for each in done)
                if time.monotonic() - told >= REPORT:
                    told = time.monotonic()
                    progress(deleted)

        try:
            for versions in _until(stop, bucket.versions()):
                under_way.add(pool.submit(_delete, bucket, versions, stop))
                finish(2 * bucket.workers)
            finish(0)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    if stop.is_set():
        raise Interrupted(
            f"interrupted after {deleted:,} versions of objects were deleted",
            remedy="run the same command again to continue",
        )
    return deleted


def _until(stop: Event, pages: Iterable[list[ObjectVersion]]) -> Iterable[list[ObjectVersion]]:
    for versions in pages:
        if stop.is_set():
            return
        yield versions


def _delete(bucket: Bucket, versions: list[ObjectVersion], stop: Event) -> int:
    for retry in range(RETRIES):
        try:
            bucket.delete(versions)
        except Unavailable:
            if stop.wait(grown(FIRST_PAUSE, retry, LONGEST_PAUSE)):
                return 0
        else:
            return len(versions)
    bucket.delete(versions)
    return len(versions)
