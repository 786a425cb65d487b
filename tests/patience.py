"""Waiting for what is to come, as long as a loaded machine may take."""

import time
from collections.abc import Callable

PATIENCE = 120.0  # seconds; only a failing test waits as long


def eventually(condition: Callable[[], object], pause: float = 0.02) -> None:
    """Wait until the condition holds, looking every ``pause`` seconds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(pause)
