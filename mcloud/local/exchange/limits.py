"""The limits that Binance documents, and the counting that enforces them.

https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
https://developers.binance.com/docs/binance-spot-api-docs/rest-api/limits
"""

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What a client may do; times are seconds.

    The defaults are Binance's own where it names them. It does not say how many refusals bring a
    ban, how much it buffers for a slow reader, nor how long before the end of a connection it
    speaks up.
    """

    streams: int = 1024
    """On one connection."""
    messages: int = 5
    """From a client on one connection within a second, pings and pongs included."""
    connections: int = 300
    """New ones of one address within ``connections_period``."""
    connections_period: float = 300.0
    ping: float = 20.0
    """Between two pings."""
    pong: float = 60.0
    """For the answer to a ping."""
    lifetime: float = 86_400.0
    """Of a connection."""
    notice: float = 600.0
    """Before the end of its lifetime, at most half of it: when ``serverShutdown`` is sent."""
    backlog: int = 10_000
    """Messages that wait for a slow reader (about 250 bytes each); with more it is cut."""
    patience: float = 10.0
    """For a reader that keeps up the play at full speed; then it is cut."""
    weight: int = 6_000
    """Of the REST requests of one address to the spot market within ``weight_period``."""
    futures_weight: int = 2_400
    """As above, to each of the two futures markets."""
    weight_period: float = 60.0
    refusals: int = 10
    """Answers 429 in one period; who goes on is banned."""
    ban: float = 120.0
    """The first; each further one is twice as long."""
    longest_ban: float = 259_200.0


class Window:
    """Counts events in a sliding window."""

    def __init__(self, count: int, period: float) -> None:
        self._count = count
        self._period = period
        self._times: deque[float] = deque()

    def allows(self, now: float) -> bool:
        """Count one event; False where it is one too many, which then does not count."""
        while self._times and self._times[0] <= now - self._period:
            self._times.popleft()
        if len(self._times) >= self._count:
            return False
        self._times.append(now)
        return True


@dataclass(frozen=True)
class Verdict:
    """What the REST limits say to a request."""

    used: int
    """Weight used in this period, this request included."""
    status: int = 200
    """Or 429 for too much, or 418 for a ban."""
    retry_after: float = 0.0
    """Seconds until a request would pass."""


class Budget:
    """The REST weight of one address. Periods are whole ones of the clock, as Binance's minutes."""

    def __init__(self, limits: Limits, weight: int) -> None:
        self._limits = limits
        self._weight = weight
        self._period = -1
        self._used = 0
        self._refusals = 0
        self._banned_until = float("-inf")
        self._next_ban = limits.ban

    def spend(self, weight: int, now: float) -> Verdict:
        """Count a request of this weight."""
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
