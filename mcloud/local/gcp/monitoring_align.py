"""Alignment and reduction of time series.

It follows https://cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.alertPolicies#Aligner. A
delta that spans two alignment periods counts in the one in which it ends. Google's service splits
it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from google.api.metric_pb2 import MetricDescriptor
from google.cloud.monitoring_v3.types import common

from mcloud.local.gcp.monitoring_distribution import merge, percentile
from mcloud.local.gcp.rpc import invalid, not_offered

GAUGE, DELTA = MetricDescriptor.GAUGE, MetricDescriptor.DELTA
INT64, DOUBLE = MetricDescriptor.INT64, MetricDescriptor.DOUBLE
DISTRIBUTION = MetricDescriptor.DISTRIBUTION

_Aggregation: Any = common.Aggregation.pb()


@dataclass(frozen=True, slots=True)
class Point:
    """A value and its interval, in seconds since the epoch. For a gauge, start and end are
    equal.
    """

    start: float
    end: float
    value: Any


@dataclass(frozen=True, slots=True)
class Series:
    """One time series, oldest point first. A value is a number, string, bool or Distribution."""

    metric: str
    metric_labels: dict[str, str]
    resource: str
    resource_labels: dict[str, str]
    kind: int
    value_type: int
    unit: str
    points: Sequence[Point]


@dataclass(frozen=True, slots=True)
class _Aligner:
    kinds: tuple[int, ...]
    takes_distributions: bool | None  # None stands for both distributions and numbers
    result_kind: int
    result_type: int | None  # None stands for the type of the input
    align: Callable[[list[Any], float], Any]


def _total(values: list[Any], _period: float) -> Any:
    return merge(values) if hasattr(values[0], "bucket_counts") else sum(values)


_ALIGNERS: Final[dict[int, _Aligner]] = {
    _Aggregation.ALIGN_DELTA: _Aligner((DELTA,), None, DELTA, None, _total),
    _Aggregation.ALIGN_SUM: _Aligner((GAUGE, DELTA), None, GAUGE, None, _total),
    _Aggregation.ALIGN_RATE: _Aligner(
        (DELTA,), False, GAUGE, DOUBLE, lambda values, period: sum(values) / period
    ),
    _Aggregation.ALIGN_MEAN: _Aligner(
        (GAUGE, DELTA), False, GAUGE, DOUBLE, lambda values, _: sum(values) / len(values)
    ),
    _Aggregation.ALIGN_MAX: _Aligner(
        (GAUGE, DELTA), False, GAUGE, None, lambda values, _: max(values)
    ),
    _Aggregation.ALIGN_PERCENTILE_95: _Aligner(
        (GAUGE, DELTA), True, GAUGE, DOUBLE, lambda values, _: percentile(merge(values), 95)
    ),
}


def _percentile_95(values: list[Any], _period: float) -> Any:
    if not hasattr(values[0], "bucket_counts"):
        raise ValueError("a percentile is offered of distributions")
    return percentile(merge(values), 95)


_REDUCERS: Final[dict[int, Callable[[list[Any], float], Any]]] = {
    _Aggregation.REDUCE_SUM: _total,
    _Aggregation.REDUCE_PERCENTILE_95: _percentile_95,
}


def aggregate(series: list[Series], aggregation: Any, end: float) -> list[Series]:
    """Apply an ``Aggregation`` to series whose last alignment period ends at ``end``.

    Raises:
        Refusal: an aligner or reducer is not supported, or does not fit the metric.
    """
    reducer = aggregation.cross_series_reducer
    if reducer and reducer not in _REDUCERS:
        raise not_offered("Cloud Monitoring", _Aggregation.Reducer.Name(reducer))
    name = _Aggregation.Aligner.Name(aggregation.per_series_aligner)
    if aggregation.per_series_aligner == _Aggregation.ALIGN_NONE:
        if reducer:
            raise invalid("A cross_series_reducer needs a per_series_aligner.")
        return series
    aligner = _ALIGNERS.get(aggregation.per_series_aligner)
    if not aligner:
        raise not_offered("Cloud Monitoring", name)
    period = aggregation.alignment_period.seconds + aggregation.alignment_period.nanos / 1e9
    if period < 60:
        raise invalid("The alignment_period must be at least 60 seconds.")
    aligned = [_align(one, aligner, name, period, end) for one in series]
    return _reduce(aligned, reducer, list(aggregation.group_by_fields)) if reducer else aligned


def _align(series: Series, aligner: _Aligner, name: str, period: float, end: float) -> Series:
    is_distribution = series.value_type == DISTRIBUTION
    fits = aligner.takes_distributions in (None, is_distribution)
    if (
        series.kind not in aligner.kinds
        or not fits
        or series.value_type not in (INT64, DOUBLE, DISTRIBUTION)
    ):
        raise invalid(
            f"The aligner cannot be applied to metrics with kind "
            f"{MetricDescriptor.MetricKind.Name(series.kind)} and value type "
            f"{MetricDescriptor.ValueType.Name(series.value_type)}: {name}, {series.metric}."
        )
    periods: dict[int, list[Any]] = {}
    for point in series.points:
        # Periods are counted back from the end of the query and include their own end.
        periods.setdefault(int((end - point.end) // period), []).append(point.value)
    points = []
    for back, values in sorted(periods.items(), reverse=True):
        until = end - back * period
        since = until - period if aligner.result_kind == DELTA else until
        points.append(Point(since, until, _merged(aligner.align, values, period)))
    return replace(
        series,
        kind=aligner.result_kind,
        value_type=series.value_type if aligner.result_type is None else aligner.result_type,
        points=points,
    )


def _reduce(series: list[Series], reducer: int, fields: list[str]) -> list[Series]:
    """Combine series into one for each combination of the labels to group by."""
    reduce = _REDUCERS[reducer]
    groups: dict[tuple[tuple[str, str], ...], list[Series]] = {}
    for one in series:
        key = tuple((field, _label(one, field)) for field in fields)
        groups.setdefault(key, []).append(one)
    reduced = []
    for key, members in groups.items():
        columns: dict[tuple[float, float], list[Any]] = {}
        for one in members:
            for point in one.points:
                columns.setdefault((point.start, point.end), []).append(point.value)
        reduced.append(
            replace(
                members[0],
                value_type=members[0].value_type if reduce is _total else DOUBLE,
                metric_labels=_kept_labels(key, "metric"),
                resource_labels=_kept_labels(key, "resource"),
                points=[
                    Point(start, end, _merged(reduce, values, 0))
                    for (start, end), values in sorted(columns.items())
                ],
            )
        )
    return reduced


def _label(series: Series, field: str) -> str:
    part, _, name = field.partition(".")
    label = name.removeprefix("labels.").removeprefix("label.")
    if label == name or part not in ("metric", "resource"):
        raise not_offered("Cloud Monitoring", f"group_by_fields of {field}")
    labels = series.metric_labels if part == "metric" else series.resource_labels
    return labels.get(label, "")


def _kept_labels(key: tuple[tuple[str, str], ...], part: str) -> dict[str, str]:
    return {field.rpartition(".")[2]: value for field, value in key if field.startswith(part)}


def _merged(total: Callable[[list[Any], float], Any], values: list[Any], period: float) -> Any:
    try:
        return total(values, period)
    except ValueError as error:
        raise invalid(f"Cannot merge distributions: {error}.") from error
