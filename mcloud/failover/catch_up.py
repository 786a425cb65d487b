"""Makes the sites equal again after one of them was replaced as primary, and verifies that they are
equal.

The function of the site first processes the messages that are still in its queue. Then the sites
are compared over the time in question, missing trades are copied in both directions, and the sites
are compared again. Trades that no site has are reported by id: they are the loss of the outage.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf

from mcloud.canary import Canary
from mcloud.clock import SYSTEM, Clocks, Limit, is_recent
from mcloud.clouds.ports import Site
from mcloud.documents import Count, Seconds, sound
from mcloud.errors import McloudError
from mcloud.failover.decide import Debt
from mcloud.market.archive import HOUR
from mcloud.market.ids import Ids
from mcloud.replication.hour_digest import HourWindow
from mcloud.replication.repair import Fetch, plan, repair
from mcloud.replication.scope import Scope
from mcloud.replication.verify import verify
from mcloud.replication.verify_report import Finding, VerifyReport

ROUNDS = 4  # maximum number of repairs, since new trades keep arriving
PATIENCE = 120.0  # seconds for a queue to empty
POLL = 0.5
PAUSE = 2.0  # seconds between two comparisons
EVERYTHING = Scope()


@dataclass(frozen=True)
class CaughtUp:
    site: str
    ok: bool
    """Whether the sites are proven equal."""
    reason: str
    """Why the sites are not equal, or empty."""
    since: int
    """Start of the comparison: an hour of trades, in ms since 1970."""
    candles: int
    """Number of candles that were added to or completed on some site."""
    objects: int
    """Number of raw objects that were copied."""
    missing: Mapping[str, tuple[tuple[int, int], ...]]
    """Ids that no site has, by symbol."""
    seconds: float

    @property
    def missing_ids(self) -> int:
        return sum(Ids(runs).count for runs in self.missing.values())

    @property
    def report(self) -> "CatchUpReport":
        return CatchUpReport(
            site=self.site,
            ok=self.ok,
            reason=self.reason,
            candles=self.candles,
            objects=self.objects,
            ids_missing=self.missing_ids,
            missing=self.missing,
            seconds=round(self.seconds, 1),
        )


@dataclass(frozen=True)
class CatchUpReport:
    """A catch-up in a journal, in the audit log and in the answer of a command."""

    site: str
    ok: bool
    reason: str
    candles: Count
    objects: Count
    ids_missing: Count
    missing: Mapping[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    """Ids that no site has, by symbol."""
    seconds: Seconds = 0.0


def catch_up(
    sites: Mapping[str, Site],
    debt: Debt,
    scope: Scope = EVERYTHING,
    *,
    fetch: Fetch | None = None,
    patience: float = PATIENCE,
    pause: float = PAUSE,
    tell: Callable[[str], None] = lambda words: None,
    stop: threading.Event | None = None,
) -> CaughtUp:
    """Pay a debt. The caller records the result.

    Raises:
        Unavailable, Refused: a site cannot be read; it may be tried again.
    """
    stop = stop or threading.Event()
    begun = time.monotonic()
    tell(f"waiting for the queue of {debt.site}")
    problem = drain(sites[debt.site], patience, stop)
    window = HourWindow(since(sites, debt), HourWindow().end)
    merged = objects = 0
    # Newer trades may be on only one site, because producers send them to the primary.
    until = newest(sites)
    report = verify(sites, scope, window, pause=pause, tell=tell)
    for _ in range(ROUNDS):
        if problem or not differences(report, until) or stop.is_set():
            break
        made = plan(report, sites, has_exchange=fetch is not None)
        done = repair(made, sites, fetch, tell=tell)
        merged += done.merged + done.rewritten
        objects += done.copied + done.replaced
        report = verify(sites, scope, window, pause=pause, tell=tell)
    left = differences(report, until)
    if stop.is_set():
        problem = "interrupted"
    elif not problem and left:
        problem = f"{left} differences are left; `mcloud verify` shows them"
    missing: dict[str, Ids] = {}
    for each in report.of("incomplete"):
        missing.setdefault(each.symbol, Ids()).update(_known(each, until))
    return CaughtUp(
        site=debt.site,
        ok=not problem,
        reason=problem,
        since=window.start,
        candles=merged,
        objects=objects,
        missing={symbol: tuple(ids.runs) for symbol, ids in missing.items() if ids},
        seconds=time.monotonic() - begun,
    )


def drain(site: Site, patience: float, stop: threading.Event, clocks: Clocks = SYSTEM) -> str:
    """Wait until a canary has passed through the queue and the queue is empty.

    Return the reason why that did not happen, or an empty string. There is no limit as long as the
    queue gets shorter. Otherwise it waits for ``patience`` seconds plus the time after which a
    failed message is delivered again.
    """
    limit, fewest = Limit(0.0, clocks.timer), inf
    flight = Canary(site).fly(patience)
    if flight.arrived is None:
        return f"{site.name}: no canary came through: {flight.reason or 'its queue waits'}"
    while not stop.is_set():
        try:
            depth = site.queue.depth()
        except McloudError as error:
            return f"{site.name}: its queue does not report its depth: {error}"
        # If the depth is unknown, for example because metrics lag, the canary has to suffice.
        waiting = (depth.ready or 0) + (depth.in_flight or 0)
        if not waiting or not is_recent(depth.as_of, clocks.wall(), patience):
            return ""
        if waiting < fewest:
            fewest, limit = waiting, Limit(patience + depth.redelivery, clocks.timer)
        if limit.is_over:
            return f"{site.name}: {waiting} messages still wait in its queue"
        stop.wait(POLL)
    return ""


def since(sites: Mapping[str, Site], debt: Debt) -> int:
    """Return the hour of trades from which the sites may differ, in ms since 1970.

    Both the trades and the clock count, because the trades of a recording are of another day. Sites
    differ at the latest from the newest trade of the site that has received fewer. A site that
    never had a symbol lacks all of its trades.
    """
    symbols = {beat.symbol for site in sites.values() for beat in sound(site.control.heartbeats())}
    parted = (_newest_time(site, symbol) for symbol in symbols for site in sites.values())
    start = min(parted, default=int(debt.since * 1000))
    # Start one hour earlier, because trades may arrive out of order.
    return max(0, min(start, int(debt.since * 1000)) // HOUR * HOUR - HOUR)


def _newest_time(site: Site, symbol: str) -> int:
    candle = site.candles.last(symbol)
    return 0 if candle is None else candle.start


def newest(sites: Mapping[str, Site]) -> dict[str, int]:
    """Return the newest trade id in a candle of any of the sites, by symbol."""
    found: dict[str, int] = {}
    for site in sites.values():
        for beat in sound(site.control.heartbeats()):
            candle = site.candles.last(beat.symbol)
            if candle is not None:
                found[beat.symbol] = max(found.get(beat.symbol, 0), candle.last_id)
    return found


def differences(report: VerifyReport, until: Mapping[str, int]) -> int:
    """Return the number of differences between the sites up to these ids, without trades that no
    site has.
    """
    return sum(
        each.kind != "incomplete" and (not each.runs or bool(_known(each, until)))
        for each in report.findings
    )


def _known(finding: Finding, until: Mapping[str, int]) -> Ids:
    """Return the finding's ids that are not newer than the newest known id of its symbol."""
    return Ids(finding.runs).common(Ids([(0, until.get(finding.symbol, 0))]))
