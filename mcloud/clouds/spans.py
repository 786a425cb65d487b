"""Spans, and the interface through which they are exported to X-Ray, Cloud Trace or a collector."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

TIMEOUT = 2.0  # seconds for one export


@dataclass(frozen=True)
class Span:
    """A timed part of a trace."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    start: float
    """Start time, in seconds since 1970, like ``end``."""
    end: float
    attributes: dict[str, str | int] = field(default_factory=dict)


class Exporter(Protocol):
    """Sends spans to the tracing service of a cloud."""

    def export(self, spans: Sequence[Span]) -> None:
        """Export spans within ``TIMEOUT``.

        Raises:
            Unavailable, Refused: the export failed.
        """
        ...
