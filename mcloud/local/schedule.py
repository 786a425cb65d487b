"""Calls of the anomaly function every minute, in place of Cloud Scheduler."""

import threading
import time
from collections.abc import Callable

from mcloud import http
from mcloud.errors import McloudError, Unavailable

ANOMALY = "anomaly"  # as in functions.py, which is not imported because it loads too much

PERIOD = 60.0  # seconds, as in terraform/gcp


class Schedule:
    """Calls the function in a thread, one call at a time, so that a slow call blocks nothing
    else.
    """

    def __init__(self, function_url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = anomaly_url(function_url)
        self._clock = clock
        self._due = clock() + PERIOD
        self._call: threading.Thread | None = None

    def tick(self) -> None:
        """Call the function if it is due. This method has to be called often."""
        now = self._clock()
        if now < self._due or (self._call is not None and self._call.is_alive()):
            return
        self._due = now + PERIOD
        self._call = threading.Thread(target=self._try, daemon=True)
        self._call.start()

    def _try(self) -> None:
        try:
            call(self._url)
        except McloudError as error:
            print(f"the anomaly function failed, or was not reached: {error}", flush=True)


def anomaly_url(function_url: str) -> str:
    """Return the URL of the anomaly function, which runs beside the processor."""
    return f"{function_url}/{ANOMALY}/"


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
