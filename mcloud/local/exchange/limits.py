"""The limits that Binance documents, and the counters that enforce them.

https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
https://developers.binance.com/docs/binance-spot-api-docs/rest-api/limits
"""

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits for clients of the exchange. All times are in seconds.

    The defaults are Binance's documented values. Binance does not document how many refusals lead
    to a ban, how much it buffers for a slow reader, or how long before the end of a connection it
    sends a notice.
    """

    streams: int = 1024
    """Maximum number of streams on one connection."""
    messages: int = 5
    """Maximum frames per second that one connection may send, including pings and pongs."""
    connections: int = 300
    """Maximum number of new connections from one address within ``connections_period``."""
    connections_period: float = 300.0
    ping: float = 20.0
    """Time between two pings."""
    pong: float = 60.0
    """Timeout for the answer to a ping."""
    lifetime: float = 86_400.0
    """Maximum duration of a connection."""
    notice: float = 600.0
    """Time before the end of a connection at which ``serverShutdown`` is sent; at most half of its
    lifetime."""
    backlog: int = 10_000
    """Maximum number of messages (about 250 bytes each) buffered for a slow reader. The server
    disconnects a reader that exceeds it."""
    patience: float = 10.0
    """Maximum time for which a slow reader may delay a playback at full speed. The server then
    disconnects it."""
    weight: int = 6_000
    """Maximum weight of one address's REST requests to the spot market in ``weight_period``."""
    futures_weight: int = 2_400
    """Maximum weight of one address's REST requests to each of the two futures markets in
    ``weight_period``."""
    weight_period: float = 60.0
    refusals: int = 10
    """Number of 429 answers in one period after which the next request leads to a ban."""
    ban: float = 120.0
    """Duration of the first ban. Each further ban is twice as long."""
    longest_ban: float = 259_200.0


class RateWindow:
    """Counts events in a sliding window."""

    def __init__(self, count: int, period: float) -> None:
        self._count = count
        self._period = period
        self._times: deque[float] = deque()

    def allows(self, now: float) -> bool:
        """Count one event. Return False, without counting it, if it exceeds the limit."""
        while self._times and self._times[0] <= now - self._period:
            self._times.popleft()
        if len(self._times) >= self._count:
            return False
        self._times.append(now)
        return True


@dataclass(frozen=True)
class Verdict:
    """The result of checking a request against the REST limits."""

    used: int
    """Weight used in this period, including this request."""
    status: int = 200
    """HTTP status: 200, 429 if the limit is exceeded, or 418 for a ban."""
    retry_after: float = 0.0
    """Time until the limit allows another request, in seconds."""


class AddressBudget:
    """The REST weight used by one address. Periods are aligned to the clock, like Binance's
    minutes."""

    def __init__(self, limits: Limits, weight: int) -> None:
        self._limits = limits
        self._weight = weight
        self._period = -1
        self._used = 0
        self._refusals = 0
        self._banned_until = float("-inf")
        self._next_ban = limits.ban

    def spend(self, weight: int, now: float) -> Verdict:
        """Count a request of this weight and check it against the limit."""
        limits = self._limits
        period, into = divmod(now, limits.weight_period)
        if period != self._period:
            self._period, self._used, self._refusals = int(period), 0, 0
        self._used += weight
        if now < self._banned_until:
            return Verdict(self._used, 418, self._banned_until - now)
        if self._used <= self._weight:
            return Verdict(self._used)
        self._refusals += 1
        if self._refusals <= limits.refusals:
            return Verdict(self._used, 429, limits.weight_period - into)
        ban = self._next_ban
        self._banned_until = now + ban
        self._next_ban = min(2 * ban, limits.longest_ban)
        return Verdict(self._used, 418, ban)
