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
    rule: str = ""
    """Name of the alert rule that it comes from; empty where there is none."""
    figure: str = ""
    """Path of the figure or the part that it is about, such as ``sites.aws.up``; see
    ``mcloud.alerts.figures``."""
    is_once: bool = False
    """True for what happened where the key alone names it, whoever tells it and when."""
    is_of_folder: bool = False
    """True for a figure of this folder, such as the spool of a producer: the event of another
    folder with the same key is another story."""


def is_at_least(severity: str, least: str) -> bool:
    """An unknown one counts as the most severe: better told than lost."""
    rank = SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)
    return rank >= SEVERITIES.index(least)
