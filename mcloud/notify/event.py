"""What there is to tell."""

from collections.abc import Mapping
from dataclasses import dataclass, field

SEVERITIES = ("info", "warning", "critical")
"""From the least."""

FIRING, RESOLVED, HAPPENED = "firing", "resolved", "happened"


@dataclass(frozen=True)
class Event:
    key: str
    """What it is about: events of one key are one story. ``dead-letters aws``"""
    title: str
    """One line."""
    text: str
    """What is behind it and what to do; may be empty, or several lines."""
    severity: str
    """One of SEVERITIES."""
    state: str
    """``firing`` until the same key is ``resolved``; ``happened`` is over at once."""
    at: float
    """Seconds since 1970."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """Figures by name, for a table."""


def is_at_least(severity: str, least: str) -> bool:
    """An unknown one counts as the most severe: better told than lost."""
    rank = SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)
    return rank >= SEVERITIES.index(least)
