"""Trades and their sources: a stream that a test controls, and a history that may fail."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal

from mcloud.feed.feed import HistoryAnswer
from mcloud.market.trade import Trade
from mcloud.producer.cursor import Hole
from mcloud.producer.produce import ProducerProgress
from mcloud.producer.route import Route

PATIENCE = 60.0  # seconds after which a test has failed
START = 1_723_161_255_342

Step = list[Trade] | Callable[[], bool]
"""Trades to yield, or a condition to wait for."""


def trade(id_: int, symbol: str = "BTCUSDT") -> Trade:
    """Return the trade with this id. The same id always gives the same trade."""
    return Trade(symbol, id_, Decimal(1 + id_ % 7), Decimal(1 + id_ % 3), START + 10 * id_, True)


def trades(ids: Iterable[int], symbol: str = "BTCUSDT") -> list[Trade]:
    return [trade(id_, symbol) for id_ in ids]


def hole(
    first: int,
    last: int,
    symbol: str = "BTCUSDT",
    *,
    since: int = START,
    attempts: int = 0,
    reason: str = "",
) -> Hole:
    return Hole(symbol, first, last, since, attempts, reason)


def progress(**changes: object) -> ProducerProgress:
    """Return the progress of a run without problems, with these changes."""
    values: dict[str, object] = {
        "read": 0,
        "repeats": 0,
        "last_time": 0,
        "sites": {},
        "route": Route(("aws",), "the only site"),
        "holes": (),
        "spool_bytes": 0,
        "spool_full": False,
        "problem": "",
    }
    return ProducerProgress(**values | changes)  # type: ignore[arg-type]


class Script:
    """A source that runs its steps one after the other, and ends."""

    def __init__(self, *steps: Step) -> None:
        self._steps = steps
        self._stopped = False

    def chunks(self, timeout: float) -> Iterator[list[Trade]]:
        for step in self._steps:
            if isinstance(step, list):
                yield step
                continue
            deadline = time.monotonic() + PATIENCE
            while not step() and not self._stopped:
                assert time.monotonic() < deadline, "it did not happen"
                time.sleep(0.005)
                yield []

    def stop(self) -> None:
        self._stopped = True


class FakeHistory:
    """A history with the trades of some ids. It first gives the answers that a test sets."""

    def __init__(self, known: Iterable[Trade], *answers: Exception | list[Trade]) -> None:
        self._known = sorted(known)
        self._answers = deque(answers)
        self._changed = threading.Condition()
        self.asked: list[tuple[str, int, int]] = []

    def trades_from(self, symbol: str, first_id: int, limit: int) -> list[Trade]:
        with self._changed:
            self.asked.append((symbol, first_id, limit))
            self._changed.notify_all()
            answer = self._answers.popleft() if self._answers else None
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            return answer
        return [t for t in self._known if t.symbol == symbol and t.id >= first_id][:limit]

    def search(
        self, symbol: str, first_id: int, last_id: int, margin: int, *, background: bool
    ) -> HistoryAnswer:
        assert background
        count = last_id - first_id + 1 + 2 * margin
        return HistoryAnswer.of(self.trades_from(symbol, max(0, first_id - margin), count))

    def latest_id(self, symbol: str, *, background: bool) -> int | None:
        assert background
        return max((t.id for t in self._known if t.symbol == symbol), default=None)
