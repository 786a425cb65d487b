"""The history of a guard's decisions."""

from collections import deque
from dataclasses import dataclass, replace
from typing import Annotated

from mcloud.documents import OTHER_TEXTS, Count, Time
from mcloud.failover.decide import Decision, GuardAction

KEPT = 100  # decisions


@dataclass(frozen=True)
class Kept:
    """A decision. Equal decisions in a row are one entry with a count."""

    at: Time
    """Time of the first of the equal decisions."""
    until: Time
    """Time of the last of them."""
    times: Count
    action: Annotated[GuardAction, OTHER_TEXTS]
    site: str
    reason: str
    lines: tuple[str, ...]


def remember(history: deque[Kept], decision: Decision, now: float) -> bool:
    """Append a decision to the history. Return False if it repeats the last one."""
    fresh = Kept(now, now, 1, decision.action, decision.site, decision.reason, decision.lines)
    if not history or _what(history[-1]) != _what(fresh):
        history.append(fresh)
        return True
    last = history[-1]
    history[-1] = replace(fresh, at=last.at, times=last.times + 1)
    return False


def _what(kept: Kept) -> tuple[str, str, str]:
    """Return a decision without the figures in its reason, which change with every check."""
    words = "".join(each for each in kept.reason if not each.isdigit())
    return kept.action, kept.site, words
