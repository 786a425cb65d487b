"""Events: the content of notifications."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

Severity = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""Severities, lowest first."""

EventState = Literal["firing", "resolved", "happened"]

FIRING: Final = "firing"
RESOLVED: Final = "resolved"
HAPPENED: Final = "happened"


@dataclass(frozen=True)
class Event:
    key: str
    """Subject of the event, such as ``dead-letters aws``. Events with the same key belong
    together.
    """
    title: str
    """Title in one line."""
    text: str
    """Cause and remedy, in any number of lines, or empty."""
    severity: Severity
    state: EventState
    """``firing`` until the same key is ``resolved``. ``happened`` is for an event without an
    end.
    """
    at: float
    """Time of the event, in seconds since 1970."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """Figures by name, for a table."""
    rule: str = ""
    """Name of the alert rule that raised the event, or empty."""
    figure: str = ""
    """Path of the event's figure or part, such as ``sites.aws.up``; see
    ``mcloud.observing.alert_figures``.
    """
    is_once: bool = False
    """Whether the key alone identifies a ``happened`` event, whatever its sender and time."""
    is_of_folder: bool = False
    """Whether the figure belongs to this folder, such as the spool of a producer. An event of
    another folder with the same key is then a different one.
    """


def is_at_least(severity: str, least: Severity) -> bool:
    """Return whether a severity is at least ``least``. An unknown one counts as the most severe,
    so that no event is lost.
    """
    rank = SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)
    return rank >= SEVERITIES.index(least)
