"""The state that a producer reports once a second: plain values for ``ps``, ``status`` and JSON."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from mcloud.documents import OMITTED, OTHER_TEXTS, Count, Seconds, Time
from mcloud.feed.feed import SourceSummary
from mcloud.producer.cursor import Hole
from mcloud.producer.route import ProducerMode, Route
from mcloud.producer.sender import SiteDelivery
from mcloud.runs import RunState

if TYPE_CHECKING:  # every command that shows processes reads these states
    from mcloud.producer.produce import ProducerProgress

DAY = 86_400.0  # seconds
RATE = 0.3  # weight of the newest second in the rate


@dataclass(frozen=True, kw_only=True)
class SourceAbout:
    """The part of a producer's source that does not change."""

    source: str
    symbols: tuple[str, ...] = ()
    """Symbols that were requested. In the state of a producer, also those of a recording."""
    live: bool = False
    exchange: str | None = field(default=None, metadata=OMITTED)
    """Address of the exchange of a live source."""
    market: str | None = field(default=None, metadata=OMITTED)
    follows: str | None = field(default=None, metadata=OMITTED)
    """Description of the wanted symbols if they are all those of a quote asset, such as
    ``all:USDT``.
    """
    shard: str | None = field(default=None, metadata=OMITTED)


@dataclass(frozen=True, kw_only=True)
class ProducerState(SourceAbout, RunState):
    """The state document of a producer."""

    live: bool
    mode: Annotated[ProducerMode, OTHER_TEXTS]
    read: Count
    repeats: Count
    rate: Seconds
    """Trades per second."""
    lag_s: Seconds | None
    route: Route
    sites: Mapping[str, SiteDelivery]
    holes: tuple[Hole, ...]
    spool_bytes: Count
    spool_full: bool
    problem: str
    month: str
    """Month of ``sent``, such as ``2026-11``."""
    sent: Mapping[str, Count]
    """Number of messages that each site has accepted in this month."""
    stalled: tuple[str, ...] = ()
    """Symbols of which the exchange has trades that its stream does not deliver."""
    name: str = ""
    started: Time = 0.0
    last_trade_time: Count | None = None
    """Time of the newest trade, in ms since 1970."""
    source_state: SourceSummary | None = None
    replayed: Mapping[str, Time] = field(default_factory=dict, metadata=OMITTED)
    """Symbols of recordings that earlier runs of this producer have read to their end in the last
    day, each with the time of that end in seconds since 1970."""

    @property
    def missing(self) -> int:
        """Number of missing trade ids."""
        return sum(hole.missing for hole in self.holes)


class ReportedState:
    """Converts progress to a state document, with the rate and the count of messages in the
    month.
    """

    def __init__(
        self,
        name: str,
        mode: ProducerMode,
        about: SourceAbout,
        last: ProducerState | None = None,
        *,
        symbols: Callable[[], tuple[str, ...]] = tuple,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Create an account.

        Args:
            last: the last state of the previous run, if there was one.
            symbols: returns the symbols of a recording that are known so far, since their names
                are in its lines.
        """
        self._name = name
        self._mode = mode
        self._about = about
        self._symbols = symbols
        self._clock = clock
        self._wall = wall
        self._started = wall()
        self._rate = 0.0
        self._seen = (clock(), 0)
        self._messages: dict[str, int] = {}
        self._month = last.month if last else ""
        self._sent: dict[str, int] = dict(last.sent) if last else {}
        self._replayed = _replayed(last) if last else {}
        self._turn_month()

    def sent_this_month(self, site: str) -> int:
        """Return the number of messages that the site accepted in this calendar month, UTC."""
        return self._sent.get(site, 0)

    def state(
        self, progress: "ProducerProgress", source: SourceSummary | None = None
    ) -> ProducerState:
        """Return the state; call it about once a second."""
        now = self._wall()
        self._measure(progress)
        lag = now - progress.last_time / 1000 if progress.last_time else None
        about = self._about
        return ProducerState(
            name=self._name,
            mode=self._mode,
            source=about.source,
            # The exchange may list and delist symbols during a run.
            symbols=source.symbols if source else about.symbols or self._symbols(),
            live=about.live,
            exchange=about.exchange,
            market=about.market,
            follows=about.follows,
            shard=about.shard,
            pid=os.getpid(),
            started=self._started,
            at=now,
            read=progress.read,
            repeats=progress.repeats,
            rate=round(self._rate, 1),
            last_trade_time=progress.last_time or None,
            lag_s=round(lag, 3) if lag is not None else None,
            route=progress.route,
            sites=progress.sites,
            holes=progress.holes,
            spool_bytes=progress.spool_bytes,
            spool_full=progress.spool_full,
            problem=progress.problem,
            source_state=source,
            stalled=source.stalled if source else (),
            replayed=self._replayed,
            month=self._month,
            sent={name: self.sent_this_month(name) for name in progress.sites},
        )

    def _measure(self, progress: "ProducerProgress") -> None:
        then, read = self._seen
        now = self._clock()
        if now > then:
            newest = (progress.read - read) / (now - then)
            self._rate += RATE * (newest - self._rate) if self._rate else newest
        self._seen = now, progress.read
        self._turn_month()
        for name, site in progress.sites.items():
            fresh = site.messages - self._messages.get(name, 0)
            self._sent[name] = self._sent.get(name, 0) + fresh
            self._messages[name] = site.messages

    def _turn_month(self) -> None:
        month = time.strftime("%Y-%m", time.gmtime(self._wall()))
        if month != self._month:
            self._month, self._sent = month, {}


def _replayed(last: ProducerState) -> Mapping[str, float]:
    ended = last.symbols if last.ended and not last.live else ()
    ends = {**last.replayed, **dict.fromkeys(ended, last.at)}
    return {symbol: end for symbol, end in sorted(ends.items()) if end > last.at - DAY}
