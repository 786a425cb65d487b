"""The heartbeat of the function: counts of its work, and the versions that it can read."""

import threading
import time
from collections.abc import Callable, Sequence
from itertools import groupby
from operator import attrgetter

from mcloud.clouds.heartbeats import by_document
from mcloud.clouds.ports import Control, Heartbeat
from mcloud.errors import McloudError
from mcloud.market.envelope import VERSION
from mcloud.market.trade import Trade, is_reserved
from mcloud.processor.envelope_support import ENVELOPES, SUPPORT

INTERVAL = 60.0
"""Seconds between two writes of the heartbeats."""

ANNOUNCEMENT = 600.0  # seconds between two notes about the versions that an instance reads


class Pulse:
    """Add up the calls of one instance, and write the sums when they are due."""

    def __init__(
        self,
        control: Control,
        *,
        interval: float = INTERVAL,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._control = control
        self._interval = interval
        self._clock = clock
        # One instance on Cloud Functions serves several calls at once.
        self._lock = threading.Lock()
        self._pending: dict[str, Heartbeat] = {}
        self._written = 0.0
        self._announced = 0.0

    def add(self, trades: Sequence[Trade], is_time_left: Callable[[], bool] = lambda: True) -> None:
        """Count one message, and write the counts if they are due and the time allows.

        Raises:
            McloudError: the store did not accept them. The counts are kept for the next call.
        """
        try:
            self._count(trades, is_time_left)
        finally:
            if is_time_left():
                self._announce()

    def _count(self, trades: Sequence[Trade], is_time_left: Callable[[], bool]) -> None:
        with self._lock:
            now = self._clock()
            for symbol, group in groupby(trades, attrgetter("symbol")):
                if not is_reserved(symbol):
                    times = [trade.time for trade in group]
                    self._keep(Heartbeat(symbol, max(times), len(times), 1, now))
            if not self._pending:
                return
            if now - self._written < self._interval or not is_time_left():
                return
            # The time is also updated if the write fails: an unavailable store must not be called
            # for every message.
            self._written = now
            due, self._pending = self._pending, {}
        left = dict(due)
        try:
            for beats in by_document(due.values()).values():
                if not is_time_left():
                    break
                damaged = self._control.beat(beats)
                for beat in beats:
                    if beat not in damaged:
                        del left[beat.symbol]
        finally:
            with self._lock:
                for beat in left.values():
                    self._keep(beat)

    def _announce(self) -> None:
        """Note which envelopes this function reads."""
        with self._lock:
            now = self._clock()
            if now - self._announced < ANNOUNCEMENT:
                return
            self._announced = now
        try:
            self._control.keep(SUPPORT.name, ENVELOPES, {"highest": VERSION, "at": now})
        except McloudError:
            # An unavailable store must not be called for every message.
            self._announced = now - ANNOUNCEMENT + self._interval
            raise

    def _keep(self, beat: Heartbeat) -> None:
        before = self._pending.get(beat.symbol)
        self._pending[beat.symbol] = beat if before is None else before.plus(beat)
