"""Makes the sites equal again after one of them was left, and proves it.

What a site still held in its queue goes through its function first. Then the sites are compared
over the time in question, what one lacks comes from the others, in both directions, and they are
compared again. Trades that no site has are named: they are what the outage has cost.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mcloud.clock import SYSTEM, Clocks, Limit, is_recent
from mcloud.clouds.ports import Site
from mcloud.documents import sound
from mcloud.errors import McloudError
from mcloud.failover.canary import Canary
from mcloud.failover.decide import Debt
from mcloud.market.archive import HOUR
from mcloud.replication.digest import Window
from mcloud.replication.ids import Ids
from mcloud.replication.repair import Fetch, plan, repair
from mcloud.replication.report import Finding, Report
from mcloud.replication.scope import Scope
from mcloud.replication.verify import verify

ROUNDS = 4  # of mending, while trades go on coming
PATIENCE = 120.0  # seconds for a queue to empty
POLL = 0.5
PAUSE = 2.0  # seconds between two looks at what differs
EVERYTHING = Scope()


@dataclass(frozen=True)
class CaughtUp:
    site: str
    ok: bool
    """True where the sites are proven equal."""
    reason: str
    """Why they are not, or empty."""
    since: int
    """From this hour of trades on they were compared, ms since 1970."""
    candles: int
    """That some site got, or has more of."""
    objects: int
    """Raw ones, copied."""
    missing: Mapping[str, tuple[tuple[int, int], ...]]
    """Ids that no site has, by symbol."""
    seconds: float

    @property
    def missing_ids(self) -> int:
        return sum(Ids(runs).count for runs in self.missing.values())

    def to_json(self) -> dict[str, Any]:
        return {
            "site": self.site,
            "ok": self.ok,
            "reason": self.reason,
            "candles": self.candles,
            "objects": self.objects,
            "ids_missing": self.missing_ids,
            "missing": {name: [list(run) for run in runs] for name, runs in self.missing.items()},
            "seconds": round(self.seconds, 1),
        }


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
    """Pay a debt; nothing is noted anywhere.

    Raises:
        Unavailable, Refused: a site cannot be read; it may be tried again.
    """
    stop = stop or threading.Event()
    begun = time.monotonic()
    tell(f"waiting for what {debt.site} holds")
    problem = drain(sites[debt.site], patience, stop)
    window = Window(since(sites, debt), Window().end)
    merged = objects = 0
    # What comes from now on may well be on one site only: producers send it to the one that leads.
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
        problem = f"{left} differences are left; `mcloud verify` names them"
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
    """Wait until a queue is empty and a canary came through it; why it is not so, or empty."""
    limit = Limit(patience, clocks.timer)
    flight = Canary(site).fly(patience)
    if flight.arrived is None:
        return f"{site.name}: no canary came through: {flight.reason or 'its queue waits'}"
    while not stop.is_set():
        try:
            depth = site.queue.depth()
        except McloudError as error:
            return f"{site.name}: its queue does not tell what it holds: {error}"
        # Where it is not known, as with metrics that lag, the canary has to do.
        waiting = (depth.ready or 0) + (depth.in_flight or 0)
        if not waiting or not is_recent(depth.as_of, clocks.wall(), patience):
            return ""
        if limit.is_over:
            return f"{site.name}: {waiting} messages still wait in its queue"
        stop.wait(POLL)
    return ""


def since(sites: Mapping[str, Site], debt: Debt) -> int:
    """The hour of trades from which on the sites may differ, ms since 1970.

    By the trades as well as by the clock: a recording is of another day. Sites part no later than
    at the newest trade of the one that has got fewer; one that never had a symbol lacks all of it.
    """
    symbols = {beat.symbol for site in sites.values() for beat in sound(site.control.heartbeats())}
    parted = (_newest_time(site, symbol) for symbol in symbols for site in sites.values())
    start = min(parted, default=int(debt.since * 1000))
    # An hour more: trades come out of order.
    return max(0, min(start, int(debt.since * 1000)) // HOUR * HOUR - HOUR)


def _newest_time(site: Site, symbol: str) -> int:
    candle = site.candles.last(symbol)
    return 0 if candle is None else candle.start


def newest(sites: Mapping[str, Site]) -> dict[str, int]:
    """The newest trade id that any of the sites has in a candle, by symbol."""
    found: dict[str, int] = {}
    for site in sites.values():
        for beat in sound(site.control.heartbeats()):
            candle = site.candles.last(beat.symbol)
            if candle is not None:
                found[beat.symbol] = max(found.get(beat.symbol, 0), candle.last_id)
    return found


def differences(report: Report, until: Mapping[str, int]) -> int:
    """What is between the sites, up to these ids; what none of them has is not."""
    return sum(
        each.kind != "incomplete" and (not each.runs or bool(_known(each, until)))
        for each in report.findings
    )


def _known(finding: Finding, until: Mapping[str, int]) -> Ids:
    """Those of its ids that are not newer than the newest that was known."""
    return Ids(finding.runs).common(Ids([(0, until.get(finding.symbol, 0))]))
