"""Wait for conditions, for as long as a loaded machine may take."""

import time
from collections.abc import Callable

PATIENCE = 120.0  # seconds; only a failing test waits for so long


def eventually(condition: Callable[[], object], pause: float = 0.02) -> None:
    """Wait until the condition holds, and check it every ``pause`` seconds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(pause)
