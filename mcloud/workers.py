"""A pool of threads for concurrent requests to the sites."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """A pool of daemon threads. Unlike ``ThreadPoolExecutor``, a hanging call blocks no exit."""

    def __init__(self, count: int) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._count = count
        for _ in range(count):
            threading.Thread(target=self._run, name="replicate", daemon=True).start()

    def submit(
        self, call: Callable[P, Result], *args: P.args, **kwargs: P.kwargs
    ) -> "Future[Result]":
        future: Future[Result] = Future()

        def job() -> None:
            try:
                future.set_result(call(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
                future.set_exception(error)

        self._jobs.put(job)
        return future

    def map(self, call: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Wait for all calls, and return their results or raise the error of the first failure."""
        return results([self.submit(call, item) for item in items])

    def close(self) -> None:
        """End the threads after they have finished all submitted calls."""
        for _ in range(self._count):
            self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


def results(futures: Iterable["Future[Result]"]) -> list[Result]:
    """Wait for all futures, even if one fails, and then raise the error of the first failure."""
    futures = list(futures)
    for future in futures:
        future.exception()
    return [future.result() for future in futures]
