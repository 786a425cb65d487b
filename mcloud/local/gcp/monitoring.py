"""The embedded Cloud Monitoring: time series of the other embedded services, and custom ones.

The built-in series are the backlog of every subscription, the pushes to every function and the
operations on every database. They have the names, kinds and units of Google's own metrics
(https://cloud.google.com/monitoring/api/metrics_gcp), and are sampled into a bounded history.
Series of ``custom.googleapis.com/*`` are kept for a day. Unlike Google's service, a query up to the
current time ends with a current point, and not with one that is minutes old.
"""

import asyncio
import base64
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import grpc
from google.api.distribution_pb2 import Distribution
from google.cloud.monitoring_v3.types import metric as metric_types
from google.cloud.monitoring_v3.types import metric_service as service_types
from google.protobuf.empty_pb2 import Empty
from google.protobuf.timestamp_pb2 import Timestamp

from mcloud.local.gcp.monitoring_align import (
    DELTA,
    DISTRIBUTION,
    DOUBLE,
    GAUGE,
    INT64,
    Point,
    Series,
    aggregate,
)
from mcloud.local.gcp.monitoring_distribution import Histogram
from mcloud.local.gcp.monitoring_operations import METRICS, Operations
from mcloud.local.gcp.protobuf_times import to_seconds
from mcloud.local.gcp.pubsub import SubscriptionObservation
from mcloud.local.gcp.rpc import Refusal, Service, invalid, not_offered

SAMPLE_SECONDS: Final = 10.0
MAX_SAMPLES: Final = 2_160  # number for six hours
CUSTOM_SECONDS: Final = 24 * 3600.0
MAX_CUSTOM_SERIES: Final = 500
MAX_CUSTOM_POINTS: Final = 8_640  # maximum for each series; one every ten seconds for a day
MAX_SERIES_A_REQUEST: Final = 200  # https://cloud.google.com/monitoring/quotas

_TERM: Final = re.compile(
    r"\s*AND\s+(metric\.type|resource\.type|(?:metric|resource)\.labels?\.\w+)"
    r'\s*=\s*"((?:[^"\\]|\\.)*)"',
)
_VALUE_FIELDS: Final = {
    "bool_value": 1,  # MetricDescriptor.ValueType
    "int64_value": INT64,
    "double_value": DOUBLE,
    "string_value": 4,
    "distribution_value": DISTRIBUTION,
}

_TimeSeries: Any = metric_types.TimeSeries.pb()
_ListRequest: Any = service_types.ListTimeSeriesRequest.pb()
_ListResponse: Any = service_types.ListTimeSeriesResponse.pb()
_CreateRequest: Any = service_types.CreateTimeSeriesRequest.pb()


@dataclass(frozen=True, slots=True)
class _Sample:
    """One sample of a subscription. Latencies are counted from the start of the process."""

    time: float
    seen: SubscriptionObservation


class Monitoring:
    """The metrics of one server.

    Args:
        observe: returns the current state of every subscription.
        clock: seconds since the epoch.
    """

    def __init__(
        self, observe: Callable[[], list[SubscriptionObservation]], clock: Callable[[], float]
    ) -> None:
        self._observe = observe
        self._clock = clock
        self._samples: dict[tuple[str, str], deque[_Sample]] = {}
        self._custom: dict[bytes, deque[Any]] = {}
        self.operations = Operations(clock(), MAX_SAMPLES)

    def services(self) -> list[Service]:
        """The gRPC services to put on a server."""
        service = Service("google.monitoring.v3.MetricService", "Cloud Monitoring")
        service.unary("ListTimeSeries", self.list_time_series, _ListRequest, _ListResponse)
        service.unary("CreateTimeSeries", self.create_time_series, _CreateRequest, Empty)
        return [service]

    def dump(self) -> dict[str, Any]:
        """Return the custom series. The history of the built-in ones starts again with each
        process.
        """
        self._drop_old()
        return {
            "custom": [
                base64.b64encode(point.SerializeToString()).decode("ascii")
                for points in self._custom.values()
                for point in points
            ]
        }

    def load(self, dump: dict[str, Any]) -> None:
        """Load the result of ``dump``."""
        for encoded in dump["custom"]:
            self._keep(_TimeSeries.FromString(base64.b64decode(encoded)))

    async def sample_forever(self) -> None:
        """Take a sample every ``SAMPLE_SECONDS``, until cancelled."""
        while True:
            self.sample()
            await asyncio.sleep(SAMPLE_SECONDS)

    def sample(self) -> None:
        """Add one point to the history of every existing subscription."""
        now = self._clock()
        seen_now = {}
        for seen in self._observe():
            key = (seen.project, seen.subscription)
            samples = self._samples.get(key) or deque(maxlen=MAX_SAMPLES)
            samples.append(_Sample(now, _frozen(seen, samples[-1].seen if samples else None)))
            seen_now[key] = samples
        self._samples = seen_now
        self.operations.sample(now)

    async def list_time_series(self, request: Any, _context: Any) -> Any:
        """Return the series that a filter selects, newest point first."""
        terms = _parse_filter(request.filter)
        start, end = _interval(request.interval)
        project = request.name.removeprefix("projects/")
        found = [
            replace(series, points=points)
            for series in self._all_series(terms["metric.type"], project, end)
            if _matches(series, terms)
            and (points := [point for point in series.points if _lies_in(point, start, end)])
        ]
        if request.HasField("aggregation"):
            found = aggregate(found, request.aggregation, end)
        if request.HasField("secondary_aggregation"):
            raise not_offered("Cloud Monitoring", "a secondary aggregation")
        first = int(request.page_token) if request.page_token.isdecimal() else 0
        size = request.page_size if request.page_size > 0 else len(found)
        page = found[first : first + size]
        has_points = request.view != _ListRequest.HEADERS
        return _ListResponse(
            time_series=[_message(series, has_points) for series in page],
            next_page_token=str(first + size) if first + size < len(found) else "",
        )

    async def create_time_series(self, request: Any, _context: Any) -> Any:
        """Write one point to each of up to 200 custom series, or to none of them."""
        if len(request.time_series) > MAX_SERIES_A_REQUEST:
            raise invalid(f"A request may write at most {MAX_SERIES_A_REQUEST} time series.")
        self._drop_old()
        project = request.name.removeprefix("projects/")
        keys = set(self._custom)
        for series in request.time_series:
            series.resource.type = series.resource.type or "global"
            series.resource.labels["project_id"] = project
            _check_custom(series)
            key = _key(series)
            newest = self._custom[key][-1] if key in self._custom else None
            if newest and _end(series) <= _end(newest):
                raise invalid(
                    "Points must be written in order. One or more of the points specified had an "
                    "older end time than the most recent point."
                )
            keys.add(key)
        if len(keys) > MAX_CUSTOM_SERIES:
            raise Refusal(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"the embedded Cloud Monitoring keeps {MAX_CUSTOM_SERIES} custom series.",
            )
        for series in request.time_series:
            self._keep(series)
        return Empty()

    def _all_series(self, metric: str, project: str, end: float) -> Iterator[Series]:
        if metric.startswith("custom.googleapis.com/"):
            self._drop_old()
            for points in self._custom.values():
                if points[0].metric.type == metric:
                    yield _custom_series(points)
            return
        if metric in METRICS.values():
            # The client's current time is slightly before ours, and its point must lie before it.
            now = self._clock()
            yield from self.operations.series(
                metric, project, min(now, end) if end >= now - SAMPLE_SECONDS else now
            )
            return
        make = _BUILT_IN.get(metric)
        if not make:
            return
        for samples in self._samples_until(end):
            seen = samples[-1].seen
            if seen.project == project:
                yield from make(metric, seen, samples)

    def _samples_until(self, end: float) -> Iterator[list[_Sample]]:
        """Yield the histories. If the query reaches up to now, they end with a current sample."""
        now = self._clock()
        is_fresh = end >= now - SAMPLE_SECONDS
        for seen in self._observe():
            samples = list(self._samples.get((seen.project, seen.subscription), ()))
            # The client's current time is slightly before ours, and its point must lie before it.
            time = min(now, end)
            if is_fresh and (not samples or samples[-1].time < time):
                samples.append(_Sample(time, seen))
            if samples:
                yield samples

    def _keep(self, series: Any) -> None:
        points = self._custom.setdefault(_key(series), deque(maxlen=MAX_CUSTOM_POINTS))
        points.append(series)

    def _drop_old(self) -> None:
        oldest = self._clock() - CUSTOM_SECONDS
        for key, points in list(self._custom.items()):
            while points and _end(points[0]) < oldest:
                points.popleft()
            if not points:
                del self._custom[key]


def _frozen(
    seen: SubscriptionObservation, before: SubscriptionObservation | None
) -> SubscriptionObservation:
    """Return a copy with the current latencies. Unchanged ones are shared with the last sample."""
    earlier = before.latencies if before else {}
    latencies = {}
    for code_class, histogram in seen.latencies.items():
        last = earlier.get(code_class)
        latencies[code_class] = last if last == histogram else histogram.snapshot()
    return replace(seen, latencies=latencies)


def _undelivered(
    metric: str, seen: SubscriptionObservation, samples: list[_Sample]
) -> Iterator[Series]:
    points = [Point(one.time, one.time, one.seen.undelivered) for one in samples]
    yield _subscription_series(metric, seen, "1", points)


def _oldest_age(
    metric: str, seen: SubscriptionObservation, samples: list[_Sample]
) -> Iterator[Series]:
    points = [Point(one.time, one.time, int(one.seen.oldest_age)) for one in samples]
    yield _subscription_series(metric, seen, "s", points)


def _subscription_series(
    metric: str, seen: SubscriptionObservation, unit: str, points: list[Point]
) -> Series:
    labels = {"project_id": seen.project, "subscription_id": seen.subscription}
    return Series(metric, {}, "pubsub_subscription", labels, GAUGE, INT64, unit, points)


def _push_requests(
    metric: str, seen: SubscriptionObservation, samples: list[_Sample]
) -> Iterator[Series]:
    labels = {"project_id": seen.project, "subscription_id": seen.subscription}
    for code_class in seen.latencies:
        points = [
            Point(start, end, histogram.count)
            for start, end, histogram in _deltas(samples, code_class)
        ]
        response = "ack" if code_class == "2xx" else f"remote_server_{code_class}"
        yield Series(
            *(metric, {"response_class": response}, "pubsub_subscription", labels),
            *(DELTA, INT64, "1", points),
        )


def _request_count(
    metric: str, seen: SubscriptionObservation, samples: list[_Sample]
) -> Iterator[Series]:
    for code_class in seen.latencies:
        points = [
            Point(start, end, histogram.count)
            for start, end, histogram in _deltas(samples, code_class)
        ]
        yield _function_series(metric, seen, code_class, INT64, "1", points)


def _request_latencies(
    metric: str, seen: SubscriptionObservation, samples: list[_Sample]
) -> Iterator[Series]:
    for code_class in seen.latencies:
        points = [
            Point(start, end, histogram.to_distribution())
            for start, end, histogram in _deltas(samples, code_class)
        ]
        yield _function_series(metric, seen, code_class, DISTRIBUTION, "ms", points)


def _deltas(samples: list[_Sample], code_class: str) -> Iterator[tuple[float, float, Histogram]]:
    """Yield the values added in each interval between two samples, except in empty ones."""
    nothing = Histogram()
    before = samples[0]
    # The values of the first sample were added since the one before it, unless older samples have
    # been dropped.
    if code_class in before.seen.latencies and len(samples) < MAX_SAMPLES:
        yield before.time - SAMPLE_SECONDS, before.time, before.seen.latencies[code_class]
    for sample in samples[1:]:
        earlier = before.seen.latencies.get(code_class, nothing)
        later = sample.seen.latencies.get(code_class, nothing)
        if later != earlier:
            yield before.time, sample.time, later.since(earlier)
        before = sample


def _function_series(
    metric: str,
    seen: SubscriptionObservation,
    code_class: str,
    value_type: int,
    unit: str,
    points: list[Point],
) -> Series:
    labels = {"project_id": seen.project, "service_name": seen.function}
    return Series(
        metric,
        {"response_code_class": code_class},
        "cloud_run_revision",
        labels,
        DELTA,
        value_type,
        unit,
        points,
    )


_BUILT_IN: Final[
    dict[str, Callable[[str, SubscriptionObservation, list[_Sample]], Iterable[Series]]]
] = {
    "pubsub.googleapis.com/subscription/num_undelivered_messages": _undelivered,
    "pubsub.googleapis.com/subscription/oldest_unacked_message_age": _oldest_age,
    "pubsub.googleapis.com/subscription/push_request_count": _push_requests,
    "run.googleapis.com/request_count": _request_count,
    "run.googleapis.com/request_latencies": _request_latencies,
}


def _custom_series(points: deque[Any]) -> Series:
    first = points[0]
    field = first.points[0].value.WhichOneof("value")
    return Series(
        first.metric.type,
        dict(first.metric.labels),
        first.resource.type,
        dict(first.resource.labels),
        first.metric_kind or GAUGE,
        _VALUE_FIELDS[field],
        first.unit,
        [
            Point(
                to_seconds(series.points[0].interval.start_time)
                if series.points[0].interval.HasField("start_time")
                else _end(series),
                _end(series),
                getattr(series.points[0].value, field),
            )
            for series in points
        ],
    )


def _check_custom(series: Any) -> None:
    if not series.metric.type.startswith("custom.googleapis.com/"):
        raise invalid(f"Metrics outside custom.googleapis.com are read-only: {series.metric.type}.")
    if len(series.points) != 1:
        raise invalid("Each time series of a request must have exactly one point.")
    if series.points[0].value.WhichOneof("value") is None:
        raise invalid(f"The point of {series.metric.type} has no value.")
    if not series.points[0].interval.HasField("end_time"):
        raise invalid(f"The point of {series.metric.type} has no end time.")


def _parse_filter(text: str) -> dict[str, str]:
    """Return the terms of a filter by the names that they compare: ``metric.labels.x`` and so
    on.
    """
    terms = {}
    rest = f"AND {text}"
    while rest.strip():
        found = _TERM.match(rest)
        if not found:
            raise not_offered(
                "Cloud Monitoring", f'the filter {text!r}, only NAME = "VALUE" joined by AND'
            )
        terms[found[1].replace(".label.", ".labels.")] = re.sub(r"\\(.)", r"\1", found[2])
        rest = rest[found.end() :]
    if "metric.type" not in terms:
        raise invalid("The filter must name a metric.type.")
    return terms


def _matches(series: Series, terms: dict[str, str]) -> bool:
    actual = {"metric.type": series.metric, "resource.type": series.resource}
    for name, value in series.metric_labels.items():
        actual[f"metric.labels.{name}"] = value
    for name, value in series.resource_labels.items():
        actual[f"resource.labels.{name}"] = value
    return all(actual.get(name) == value for name, value in terms.items())


def _lies_in(point: Point, start: float, end: float) -> bool:
    """Return whether a point lies in an interval. The start is excluded, unless the interval is a
    single moment.
    """
    return start < point.end <= end or point.end == end


def _interval(interval: Any) -> tuple[float, float]:
    if not interval.HasField("end_time"):
        raise invalid("The interval must have an end time.")
    end = to_seconds(interval.end_time)
    start = to_seconds(interval.start_time) if interval.HasField("start_time") else end
    if start > end:
        raise invalid("The interval ends before it starts.")
    return start, end


def _message(series: Series, has_points: bool) -> Any:
    message = _TimeSeries(metric_kind=series.kind, value_type=series.value_type, unit=series.unit)
    message.metric.type = series.metric
    message.metric.labels.update(series.metric_labels)
    message.resource.type = series.resource
    message.resource.labels.update(series.resource_labels)
    for point in reversed(series.points) if has_points else ():
        added = message.points.add()
        if series.kind != GAUGE:
            added.interval.start_time.CopyFrom(_timestamp(point.start))
        added.interval.end_time.CopyFrom(_timestamp(point.end))
        _set_value(added.value, point.value, series.value_type)
    return message


def _set_value(value: Any, content: Any, value_type: int) -> None:
    if isinstance(content, Distribution):
        value.distribution_value.CopyFrom(content)
        return
    field = next(field for field, one in _VALUE_FIELDS.items() if one == value_type)
    setattr(value, field, content)


def _key(series: Any) -> bytes:
    """Return a key that is equal for two writes to the same series."""
    header = _TimeSeries(metric=series.metric, resource=series.resource)
    return bytes(header.SerializeToString(deterministic=True))


def _end(series: Any) -> float:
    return to_seconds(series.points[0].interval.end_time)


def _timestamp(seconds: float) -> Any:
    whole = int(seconds)
    return Timestamp(seconds=whole, nanos=int((seconds - whole) * 1e9))
