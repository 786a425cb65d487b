"""A drill on real sites. It causes no outage, and only moves the route from the primary to another
site."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from mcloud.clouds.ports import Site
from mcloud.failover.audit import new_id
from mcloud.failover.execution import MoveOutcome, Tools, carry_out, reachable
from mcloud.failover.journal import MoveOrder


def rehearse(
    sites: Mapping[str, Site],
    leads: str,
    target: str,
    use: Tools,
    *,
    by: str,
    hold: float,
    tell: Callable[[str], None] = lambda words: None,
) -> tuple[MoveOutcome, MoveOutcome]:
    """Let ``target`` lead for ``hold`` seconds, and then ``leads`` again, even if interrupted.

    Before ``leads`` leads again, the differences between the two are repaired and verified.
    """
    use = replace(use, tell=tell)
    away = None
    try:
        away = carry_out(_order(target, leads, by, recover=False), reachable(sites), use)
        tell(f"{target} is the primary for {hold:.0f} s")
        use.stop.wait(hold)
    finally:
        tell(f"{leads} is the primary again")
        # Ending the drill early must not stop the move back.
        use = replace(use, stop=threading.Event())
        back = carry_out(_order(leads, target, by, recover=True), reachable(sites), use)
    return away, back


def _order(target: str, leads: str, by: str, *, recover: bool) -> MoveOrder:
    at = round(time.time(), 3)
    return MoveOrder(
        id=new_id(at),
        target=target,
        mode="drill",
        reason="a drill" if not recover else "the drill is over",
        by=by,
        at=at,
        epoch=0,
        leads=leads,
        recover=recover,
        wait=recover,
    )
