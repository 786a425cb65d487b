"""Spans, and what takes them: X-Ray, Cloud Trace or a collector, by the adapters of each cloud."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

TIMEOUT = 2.0  # seconds that an exporter may take


@dataclass(frozen=True)
class Span:
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    start: float
    """Seconds since 1970, as ``end``."""
    end: float
    attributes: dict[str, str | int] = field(default_factory=dict)


class Exporter(Protocol):
    def export(self, spans: Sequence[Span]) -> None:
        """Hand spans over within ``TIMEOUT``; Unavailable or Refused where that does not work."""
        ...
