"""Log lines about the changes between two reports of a producer."""

import logging

from mcloud.market.candle import to_timestamp
from mcloud.producer.cursor import Hole
from mcloud.producer.produce import ProducerProgress
from mcloud.producer.sender import SiteDelivery

Line = tuple[int, str]
"""Level of ``logging``, and the message."""


def changes(before: ProducerProgress | None, now: ProducerProgress) -> list[Line]:
    """Return the events between two reports. With None, return those of the start of the run."""
    lines: list[Line] = []
    if before is None or before.route != now.route:
        lines.append((logging.INFO, f"sends to {', '.join(now.route.sites)}: {now.route.reason}"))
    for name, site in now.sites.items():
        was = before.sites[name] if before else SiteDelivery()
        if was.breaker != site.breaker:
            level = logging.INFO if site.breaker == "closed" else logging.WARNING
            lines.append((level, f"{name}: breaker {was.breaker} → {site.breaker}"))
        if site.error and site.error != was.error:
            level = logging.ERROR if site.refused else logging.WARNING
            lines.append((level, f"{name}: {site.error}"))
    lines += _holes(before, now)
    if now.spool_full != (before.spool_full if before else False):
        words = "is full: reading stops" if now.spool_full else "has room again"
        lines.append((logging.WARNING, f"the spool {words}"))
    if now.problem and now.problem != (before.problem if before else ""):
        lines.append((logging.ERROR, now.problem))
    if before and before.problem and not now.problem:
        lines.append((logging.INFO, "trades can be stored again"))
    return lines


def _holes(before: ProducerProgress | None, now: ProducerProgress) -> list[Line]:
    """Return the events of holes. A hole that overlaps an earlier one is what remains of it after a
    repair, and not a new hole.
    """
    earlier = dict.fromkeys(before.holes) if before else {}
    present = dict.fromkeys(now.holes)
    gone = [hole for hole in earlier if hole not in present]
    came = [hole for hole in present if hole not in earlier]
    lines: list[Line] = []
    for hole in came:
        origins = [each for each in gone if _overlap(each, hole)]
        name = f"{hole.symbol} {hole.first} to {hole.last}"
        if hole.missing > sum(each.missing for each in origins):
            words = f"hole: {name}, {hole.missing} trades, since {to_timestamp(hole.since)}"
            lines.append((logging.WARNING, words))
        elif hole.reason and all(hole.attempts > each.attempts for each in origins):
            lines.append((logging.WARNING, f"hole {name}: {hole.reason}"))
    for hole in gone:
        if not any(_overlap(hole, each) for each in came):
            words = f"hole filled: {hole.symbol} up to {hole.last}"
            lines.append((logging.INFO, words))
    return lines


def _overlap(one: Hole, other: Hole) -> bool:
    return one.symbol == other.symbol and one.first <= other.last and other.first <= one.last
