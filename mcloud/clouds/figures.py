"""Figures that the metrics services of the clouds measure. Each is declared once.

A figure has one name, from the query in ``aws/metrics`` and ``gcp/metrics`` to the screen. Its key
in the document of `mcloud status -o json`, its series for Prometheus, its row on the screens and
its unit in alerts follow from its entry here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Unit = Literal["age", "latency", "calls", "writes"]
"""Ages and latencies are in seconds, and their newest value counts. Calls and writes are summed
over a window.
"""


@dataclass(frozen=True)
class MeasuredFigure:
    name: str
    """Name in ``ports.Figures``."""
    part: Literal["queue", "function", "store"]
    """Part of the site that the figure describes."""
    unit: Unit
    help: str
    published_as: str = ""
    """Key in the document, if it does not follow from the name."""
    label: str = ""
    """Label of its row, if it differs from the name. Figures with the same label share a row."""
    note: str = ""
    """Word shown after its count in a shared row, such as ``throttled``."""
    is_whole: bool = True
    """Whether a count is a whole number. A billed amount may be a fraction."""
    is_fault: bool = False
    """Whether a count above 0 is a problem."""
    unmeasured: Mapping[str, str] = field(default_factory=dict)
    """Reason why a cloud does not measure the figure, by cloud."""

    @property
    def is_time(self) -> bool:
        return self.unit in ("age", "latency")

    @property
    def key(self) -> str:
        """Key in the part of the document."""
        return self.published_as or (f"{self.name}_s" if self.is_time else self.name)

    @property
    def series(self) -> str:
        """Name for Prometheus, without the prefix of mcloud."""
        return f"{self.part}_{self.name}{'_seconds' if self.is_time else ''}"

    @property
    def row(self) -> str:
        """Label of its row on the screens."""
        return self.label or self.name.replace("_", " ")


FIGURES = (
    MeasuredFigure(
        "oldest_age", "queue", "age", "Age of the oldest message in the queue.", label="oldest"
    ),
    MeasuredFigure(
        "calls",
        "function",
        "calls",
        "Calls of the function in the last minutes (see function_window_seconds).",
        published_as="count",
    ),
    MeasuredFigure(
        "errors", "function", "calls", "Calls that failed, in the same window.", is_fault=True
    ),
    MeasuredFigure(
        "throttles",
        "function",
        "calls",
        "Calls that were throttled, in the same window. On Google Cloud, pushes that found no free "
        "instance, were not allowed, or did not reach the function.",
        is_fault=True,
    ),
    MeasuredFigure(
        "p95",
        "function",
        "latency",
        "95th percentile of the duration of a call, in the last busy minute.",
    ),
    MeasuredFigure(
        "writes",
        "store",
        "writes",
        "Writes that the candle store bills, in the window of the function.",
        is_whole=False,
    ),
    MeasuredFigure(
        "write_throttles",
        "store",
        "writes",
        "Writes that it throttled, in the same window.",
        label="writes",
        note="throttled",
        is_fault=True,
        unmeasured={"gcp": "Firestore reports none"},
    ),
)
"""All figures, in the order of their rows. The time of the first count of a part applies to all its
counts.
"""


def of_part(part: str) -> list[MeasuredFigure]:
    return [each for each in FIGURES if each.part == part]


def rows_of(part: str) -> dict[str, list[MeasuredFigure]]:
    """Return the figures of a part by the label of their row."""
    rows: dict[str, list[MeasuredFigure]] = {}
    for each in of_part(part):
        rows.setdefault(each.row, []).append(each)
    return rows
