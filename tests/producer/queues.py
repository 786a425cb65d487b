"""A fake queue that can fail in every way, and records the messages it accepts."""

import threading
from collections import deque
from collections.abc import Callable, Sequence

from mcloud.clouds.ports import Unsent
from mcloud.market.envelope import Message, decode
from mcloud.market.trade import Trade

Answer = Exception | Sequence[Unsent] | Callable[[], object]
"""Outcome of a send: an error to raise, refused messages, or a call that runs before all messages
are accepted."""


class FakeQueue:
    """The part of a Queue that a sender needs. It gives the answers in turn, and then accepts all.

    Alternatively it repeats the last answer forever.
    """

    def __init__(self, *answers: Answer, for_ever: bool = False) -> None:
        self._answers = deque(answers)
        self._for_ever = for_ever
        self._changed = threading.Condition()
        self.calls = 0
        self.taken: list[Message] = []

    @property
    def trades(self) -> list[Trade]:
        """Return all trades that the queue accepted, ordered by id."""
        with self._changed:
            found = [trade for message in self.taken for trade in decode(message.body).trades]
        return sorted(found)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, 60), "it did not happen"

    def send(self, messages: Sequence[Message]) -> list[Unsent]:
        with self._changed:
            self.calls += 1
            keep = self._for_ever and len(self._answers) == 1
            answer = self._answers[0] if keep else self._answers.popleft() if self._answers else ()
            self._changed.notify_all()
        if isinstance(answer, Exception):
            raise answer
        unsent = [] if callable(answer) else [each for each in answer if each.index < len(messages)]
        if callable(answer):
            answer()
        refused = {each.index for each in unsent}
        with self._changed:
            self.taken += [each for index, each in enumerate(messages) if index not in refused]
            self._changed.notify_all()
        return unsent
