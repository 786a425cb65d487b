"""How long a catch-up waits for the queue of a site that was left."""

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from mcloud.canary import Canary, Flight
from mcloud.clouds.ports import Depth
from mcloud.failover import catch_up
from mcloud.failover.catch_up import drain

PATIENCE = 0.2  # seconds


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catch_up, "POLL", 0.02)
    arrived = Flight(0.0, was_sent=True, arrived=1.0)
    monkeypatch.setattr(Canary, "fly", lambda self, patience: arrived)


class Queue:
    """A queue whose only batch failed and, as in SQS, is hidden for the visibility timeout."""

    def __init__(self, hidden: float, stays: bool = False, lengths: tuple[int, ...] = ()) -> None:
        self._hidden = hidden
        self._stays = stays
        self._lengths = list(lengths)
        self._begun = time.monotonic()

    def depth(self) -> Depth:
        is_over = time.monotonic() - self._begun > self._hidden and not self._stays
        if self._lengths:
            time.sleep(PATIENCE / 2)
            return Depth(self._lengths.pop(0), 0, time.time())
        return Depth(0, 0 if is_over else 10, time.time(), redelivery=self._hidden)


def drained(queue: Queue) -> str:
    site: Any = SimpleNamespace(name="aws", queue=queue)
    return drain(site, PATIENCE, threading.Event())


def test_the_wait_is_longer_than_a_failed_batch_is_hidden() -> None:
    assert drained(Queue(hidden=3 * PATIENCE)) == ""


def test_a_queue_that_does_not_get_shorter_is_reported() -> None:
    assert drained(Queue(hidden=PATIENCE, stays=True)) == "aws: 10 messages still wait in its queue"


def test_the_wait_continues_while_the_queue_gets_shorter() -> None:
    assert drained(Queue(hidden=0.0, lengths=(50, 40, 30, 20, 10, 0))) == ""
