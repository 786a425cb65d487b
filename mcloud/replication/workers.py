"""A few threads that carry calls to the sites side by side."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """Daemons, unlike those of ``ThreadPoolExecutor``: a call that hangs holds up no exit."""

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
        """Every result, once all calls are through; raises what the first of them raised."""
        return results([self.submit(call, item) for item in items])

    def close(self) -> None:
        """End the threads once they have done what was given to them."""
        for _ in range(self._count):
            self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


def results(futures: Iterable["Future[Any]"]) -> list[Any]:
    """Wait for all of them, whatever one raises; then raise what the first that failed raised."""
    futures = list(futures)
    for future in futures:
        future.exception()
    return [future.result() for future in futures]
