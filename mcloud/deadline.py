"""Ask many things at once and wait for none of them longer than agreed."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


def gather(
    calls: Mapping[Key, Callable[[], Value]], seconds: float
) -> dict[Key, Value | Exception]:
    """The answer of every call, or what it raised; TimeoutError for one that is not back in time.

    A late call goes on in a daemon thread, which keeps no process alive.
    """
    answers: dict[Key, Value | Exception] = {}

    def ask(key: Key, call: Callable[[], Value]) -> None:
        try:
            answers[key] = call()
        except Exception as error:  # noqa: BLE001 - handed to the caller
            answers[key] = error

    threads = {
        key: threading.Thread(target=ask, args=(key, call), daemon=True)
        for key, call in calls.items()
    }
    for thread in threads.values():
        thread.start()
    deadline = time.monotonic() + seconds
    for thread in threads.values():
        thread.join(max(0.0, deadline - time.monotonic()))
    late = TimeoutError(f"no answer within {seconds:g} s")
    # Copied key by key: a late call may still write.
    return {key: answers.get(key, late) for key in calls}
