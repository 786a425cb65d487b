"""Distributions of Cloud Monitoring: histograms with exponential buckets, and their percentiles."""

import bisect
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from google.api.distribution_pb2 import Distribution

# The buckets of Google's own latency metrics: bucket i ends at 1.4^i (milliseconds here).
FINITE_BUCKETS: Final = 64
GROWTH: Final = 1.4
_BOUNDS: Final = [GROWTH**i for i in range(FINITE_BUCKETS + 1)]


@dataclass(slots=True)
class Histogram:
    """A histogram: the number of values in each bucket, their sum and the sum of their squares."""

    counts: list[int] = field(default_factory=lambda: [0] * (FINITE_BUCKETS + 2))
    total: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect.bisect_right(_BOUNDS, value)] += 1
        self.total += value
        self.squares += value * value

    def snapshot(self) -> "Histogram":
        """Return a copy that later values do not change."""
        return Histogram(list(self.counts), self.total, self.squares)

    def since(self, earlier: "Histogram") -> "Histogram":
        """Return the values added since an earlier snapshot of this histogram."""
        return Histogram(
            [new - old for new, old in zip(self.counts, earlier.counts, strict=True)],
            self.total - earlier.total,
            self.squares - earlier.squares,
        )

    @property
    def count(self) -> int:
        return sum(self.counts)

    def to_distribution(self) -> Any:
        """Return the protobuf ``google.api.Distribution``."""
        count = self.count
        mean = self.total / count if count else 0.0
        distribution = Distribution(
            count=count,
            mean=mean,
            sum_of_squared_deviation=max(0.0, self.squares - count * mean * mean),
            bucket_counts=self.counts,
        )
        buckets = distribution.bucket_options.exponential_buckets
        buckets.num_finite_buckets = FINITE_BUCKETS
        buckets.growth_factor = GROWTH
        buckets.scale = 1.0
        return distribution


def merge(distributions: Iterable[Any]) -> Any:
    """Return one distribution of all values of several.

    Raises:
        ValueError: their buckets differ.
    """
    first, *others = distributions
    merged = Distribution()
    merged.CopyFrom(first)
    for other in others:
        if other.bucket_options != merged.bucket_options:
            raise ValueError("the distributions have different buckets")
        count = merged.count + other.count
        if not other.count:
            continue
        # This is Chan's parallel form of the variance.
        apart = other.mean - merged.mean
        merged.sum_of_squared_deviation += (
            other.sum_of_squared_deviation + apart * apart * merged.count * other.count / count
        )
        merged.mean += apart * other.count / count
        merged.count = count
        for i, more in enumerate(other.bucket_counts):
            if i < len(merged.bucket_counts):
                merged.bucket_counts[i] += more
            else:
                merged.bucket_counts.append(more)
    return merged


def percentile(distribution: Any, percent: float) -> float:
    """Return the value below which ``percent`` of the values lie, interpolated within its
    bucket.
    """
    bounds = _bounds(distribution.bucket_options)
    wanted = distribution.count * percent / 100
    seen = 0
    for i, count in enumerate(distribution.bucket_counts):
        if count and seen + count >= wanted:
            low = bounds[i - 1] if i else 0.0
            high = bounds[i] if i < len(bounds) else low
            return float(low + (high - low) * (wanted - seen) / count)
        seen += count
    return float(distribution.mean)


def _bounds(options: Any) -> list[float]:
    kind = options.WhichOneof("options")
    if kind == "exponential_buckets":
        buckets = options.exponential_buckets
        return [
            buckets.scale * buckets.growth_factor**i for i in range(buckets.num_finite_buckets + 1)
        ]
    if kind == "linear_buckets":
        buckets = options.linear_buckets
        return [buckets.offset + buckets.width * i for i in range(buckets.num_finite_buckets + 1)]
    return list(options.explicit_buckets.bounds)
