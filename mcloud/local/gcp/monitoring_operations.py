"""Counts of Firestore's operations, with the metrics of Cloud Monitoring.

https://cloud.google.com/monitoring/api/metrics_gcp_d_h#gcp-firestore
"""

from collections import defaultdict, deque
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from mcloud.local.gcp.monitoring_align import DELTA, INT64, Point, Series

# Metrics by the meter that counts the same operations.
METRICS: Final = {
    "firestore_reads": "firestore.googleapis.com/document/read_ops_count",
    "firestore_writes": "firestore.googleapis.com/document/write_ops_count",
    "firestore_deletes": "firestore.googleapis.com/document/delete_ops_count",
}

_Key = tuple[str, str, str]
"""Metric, project and database."""


class Operations:
    """Operations of every database since ``began``, in seconds since the epoch."""

    def __init__(self, began: float, most: int) -> None:
        self._counts: dict[_Key, int] = defaultdict(int)
        self._samples: dict[_Key, deque[tuple[float, int]]] = {}
        self._began = began
        self._most = most

    def add(self, meter: str, database: str, count: int) -> None:
        """Count operations on ``projects/P/databases/D``, or on a name below it."""
        parts = database.split("/")
        if meter in METRICS and len(parts) >= 4:
            self._counts[METRICS[meter], parts[1], parts[3]] += count

    def sample(self, now: float) -> None:
        """Record the current counts."""
        for key, count in self._counts.items():
            samples = self._samples.setdefault(key, deque([(self._began, 0)], maxlen=self._most))
            samples.append((now, count))
        self._began = now  # later counts began after this

    def series(self, metric: str, project: str, now: float) -> Iterator[Series]:
        """Yield the counts added between consecutive samples, and since the last one."""
        for key, count in self._counts.items():
            if key[:2] != (metric, project):
                continue
            samples = [*self._samples.get(key, [(self._began, 0)]), (now, count)]
            points = [
                Point(before[0], after[0], after[1] - before[1])
                for before, after in pairwise(samples)
                if after[1] > before[1] and after[0] > before[0]
            ]
            labels = {"resource_container": project, "database_id": key[2]}
            yield Series(
                metric, {}, "firestore.googleapis.com/Database", labels, DELTA, INT64, "1", points
            )
