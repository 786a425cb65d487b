"""A tiny trade that shows whether a site works, from its queue to its candles.

All canaries of a site are trades of one candle, of the first minute of 1970, with ids that count
from 1. The id determines the whole trade. A canary may therefore be sent any number of times and by
any process, or get lost, and the candle keeps a constant size. A rule of the bucket deletes the raw
object of each, some 200 bytes, after a day. All other readers ignore canaries: see
``market.trade.is_reserved``.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import TypeVar

from mcloud.backoff import grown
from mcloud.clock import Limit
from mcloud.clouds.ports import Site
from mcloud.deadline import Asker
from mcloud.errors import McloudError, reason_of, shows_outage
from mcloud.market.candle import MINUTE
from mcloud.market.envelope import encode
from mcloud.market.trade import CANARY, Trade

Value = TypeVar("Value")

FIRST_LOOK, LONGEST_LOOK = 0.1, 10.0  # seconds between two reads of its candle
SLOWER = 1.5
CALL_TIMEOUT = 10.0  # seconds for one call, so that a call that hangs does not block the canary
AGAIN = 60.0  # seconds after which it is sent again, since the first may be a dead letter by now


@dataclass(frozen=True)
class Flight:
    """The state of one canary. Times are by the clock of the sender."""

    began: float
    arrived: float | None = None
    """Time when its candle was seen to contain it. None before that."""
    reason: str = ""
    """Why it was not sent, or why its candle cannot be read just now."""
    was_sent: bool = False
    is_blind: bool = False
    """Whether the last read failed for a reason that is not an outage, such as a missing
    permission.
    """

    @property
    def seconds(self) -> float | None:
        return None if self.arrived is None else self.arrived - self.began

    @property
    def is_over(self) -> bool:
        return self.arrived is not None or (bool(self.reason) and not self.was_sent)


class Canary:
    """Sends canaries through one site, one at a time, each in its own thread."""

    def __init__(
        self,
        site: Site,
        *,
        clock: Callable[[], float] = time.monotonic,
        count: Callable[[str], None] = lambda call: None,
    ) -> None:
        """``count`` is called for every call to the site: with ``canary`` for a message sent, and
        with ``candle`` for a read.
        """
        self._site = site
        self._clock = clock
        self._count = count
        self._last = 0
        self._asker: Asker[str] = Asker()
        self._stop = threading.Event()
        self.flight: Flight | None = None

    def start(self) -> None:
        """Send a canary, unless the last one is still on its way."""
        if self.flight is None or self.flight.is_over:
            self.flight = Flight(self._clock())
            threading.Thread(target=self.fly, name="canary", daemon=True).start()

    def stop(self) -> None:
        self._stop.set()

    def fly(self, patience: float | None = None) -> Flight:
        """Send a canary and wait until it arrives, or for ``patience`` seconds."""
        flight = self.flight = Flight(self._clock())
        try:
            id_ = self._ask("next", self._next)
            problem = self._ask("send", partial(self._send, id_))
        except Exception as error:  # noqa: BLE001 - or it would be on its way for good
            problem = reason_of(error)
        if problem:
            flight = self.flight = replace(flight, reason=f"not sent: {problem}")
            return flight
        flight = self.flight = replace(flight, was_sent=True)
        looks, sent = 0, flight.began
        limit = None if patience is None else Limit(patience, self._clock)
        while not self._stop.wait(grown(FIRST_LOOK, looks, LONGEST_LOOK, SLOWER)):
            try:
                there, reason, is_blind = self._ask("look", self._newest) >= id_, "", False
            except Exception as error:  # noqa: BLE001 - a thread that is gone looks like an outage
                there, reason = False, f"its candle cannot be read: {reason_of(error)}"
                is_blind = not shows_outage(error)
            now = self._clock()
            flight = self.flight = replace(
                flight,
                arrived=now if there else None,
                reason=reason,
                is_blind=is_blind,
            )
            if there or (limit is not None and limit.is_over):
                break
            looks += 1
            if now - sent > AGAIN:
                sent = now
                with suppress(TimeoutError):
                    self._ask("send", partial(self._send, id_))
        return flight

    def _ask(self, what: str, call: Callable[[], Value]) -> Value:
        """Return the answer of a call. Raise TimeoutError if it hangs; its thread is left
        behind.
        """
        answer = self._asker.gather({what: call}, CALL_TIMEOUT)[what]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _send(self, id_: int) -> str:
        """Send a canary. Return why it was not sent, or an empty string."""
        self._count("canary")
        try:
            unsent = self._site.queue.send([encode([trade(id_)])])
        except Exception as error:  # noqa: BLE001 - see ``fly``
            return reason_of(error)
        return unsent[0].reason if unsent else ""

    def _next(self) -> int:
        """Return the id after the newest stored one. If that cannot be read, use our own last
        id.
        """
        try:
            newest = self._newest()
        except McloudError:
            if not self._last:
                raise
            newest = self._last
        self._last = newest + 1
        return self._last

    def _newest(self) -> int:
        self._count("candle")
        candles = list(self._site.candles.range(CANARY, 0, MINUTE))
        return candles[0].last_id if candles else 0


def trade(id_: int) -> Trade:
    """Return the canary of that id."""
    return Trade(CANARY, id_, Decimal(1), Decimal(1), 0, False)
