"""The decisions of a guard, as they are remembered."""

from collections import deque
from dataclasses import dataclass, replace

from mcloud.documents import Count, Time
from mcloud.failover.decide import Decision

KEPT = 100  # decisions


@dataclass(frozen=True)
class Kept:
    """A decision; equal ones in a row are one, with a count."""

    at: Time
    """Seconds since 1970, as ``until``."""
    until: Time
    times: Count
    action: str
    site: str
    reason: str
    lines: tuple[str, ...]


def remember(history: deque[Kept], decision: Decision, now: float) -> bool:
    """Add a decision at its end; False where it is the last one again."""
    fresh = Kept(now, now, 1, decision.action, decision.site, decision.reason, decision.lines)
    if not history or _what(history[-1]) != _what(fresh):
        history.append(fresh)
        return True
    last = history[-1]
    history[-1] = replace(fresh, at=last.at, times=last.times + 1)
    return False


def _what(kept: Kept) -> tuple[str, str, str]:
    """A decision without the figures in its reason, which change at every look."""
    words = "".join(each for each in kept.reason if not each.isdigit())
    return kept.action, kept.site, words
