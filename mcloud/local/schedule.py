"""Calls of the scheduled functions at their intervals, in place of Cloud Scheduler."""

import threading
import time
from collections.abc import Callable

from mcloud import http
from mcloud.errors import McloudError, Unavailable

PERIODS = {"anomaly": 60.0, "compact": 3600.0}
"""Seconds between two calls of each function, as in terraform/gcp. The names are those in
``functions``, which is not imported because it loads too much."""


class Schedule:
    """Calls a function in a thread, one call at a time, so that a slow call blocks nothing else."""

    def __init__(
        self, function_url: str, name: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name = name
        self._url = url_of(function_url, name)
        self._clock = clock
        self._due = clock() + PERIODS[name]
        self._call: threading.Thread | None = None

    def tick(self) -> None:
        """Call the function if it is due. This method has to be called often."""
        now = self._clock()
        if now < self._due or (self._call is not None and self._call.is_alive()):
            return
        self._due = now + PERIODS[self._name]
        self._call = threading.Thread(target=self._try, daemon=True)
        self._call.start()

    def _try(self) -> None:
        try:
            call(self._url)
        except McloudError as error:
            print(f"the function {self._name} failed, or was not reached: {error}", flush=True)


def url_of(function_url: str, name: str) -> str:
    """Return the URL of a scheduled function, which runs beside the processor."""
    return f"{function_url}/{name}/"


def call(url: str) -> bytes:
    """Call a function as Cloud Scheduler does, and return its answer.

    Raises:
        Unavailable: the function fails or does not exist.
    """
    header = {"X-CloudScheduler": "true"}
    answer = http.ask("POST", url, http.FUNCTION, body=b"", headers=header)
    if not answer.ok:
        raise Unavailable(f"{url}: HTTP {answer.status} {answer.text[:200]}".strip())
    return answer.body
