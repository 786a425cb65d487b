"""CloudWatch metrics that AWS records automatically and ministack does not.

They are written to ministack's own CloudWatch, under the names, dimensions and units of AWS, so
that every reader finds them in the usual place:
https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html,
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ministack.core import responses
from ministack.services import cloudwatch, sqs

from mcloud.local.deployment import ACCOUNT, REGION
from mcloud.local.meter import Meter

PERIOD = 2.0  # seconds between two writes of the recorded calls
SAMPLE = 10.0  # seconds between two samples of the queues; AWS samples once a minute

Scope = tuple[str, str]
"""Account and region."""
DEFAULT: Scope = (ACCOUNT, REGION)
"""The scope in which figures of the meters are recorded, since meters do not distinguish
accounts."""

# The metric for each meter, and the number of the meter's units in one unit of the metric.
_CONSUMED = {
    "dynamodb_writes": ("ConsumedWriteCapacityUnits", 1),
    "dynamodb_half_reads": ("ConsumedReadCapacityUnits", 2),
}


@dataclass
class _Calls:
    """The calls of one function since the last write."""

    count: int = 0
    errors: int = 0
    throttles: int = 0
    durations: list[float] = field(default_factory=list)  # ms


class EmbeddedMetrics:
    def __init__(self, meter: Meter, clock: Callable[[], float] = time.time) -> None:
        self._meter = meter
        self._clock = clock
        self._consumed = {name: meter.total(name) for name in _CONSUMED}
        self._lock = threading.Lock()
        self._calls: dict[tuple[Scope, str], _Calls] = defaultdict(_Calls)

    def called(self, function: str, seconds: float, *, error: bool, throttled: bool) -> None:
        """Count a call that a queue made. ministack counts calls through the API itself."""
        with self._lock:
            calls = self._calls[scope(), function]
            if throttled:  # a throttled call did not start, so it is not an invocation
                calls.throttles += 1
                return
            calls.count += 1
            calls.errors += error
            calls.durations.append(seconds * 1000)

    def write_calls(self) -> None:
        with self._lock:
            taken, self._calls = self._calls, defaultdict(_Calls)
        now = self._clock()
        for (where, function), calls in taken.items():
            dimensions = {"FunctionName": function}
            with within(where):
                for name, value in (
                    ("Invocations", calls.count),
                    ("Errors", calls.errors),
                    ("Throttles", calls.throttles),
                ):
                    _store("AWS/Lambda", name, dimensions, now, "Count", [value])
                if calls.durations:
                    _store(
                        "AWS/Lambda", "Duration", dimensions, now, "Milliseconds", calls.durations
                    )
                cloudwatch._evaluate_all_alarms()

    def sample_queues(self) -> None:
        now = self._clock()
        with sqs._queues_lock:
            seen = [
                ((account, region), queue["name"], *_ages(queue["messages"], now))
                for (account, region, _url), queue in sqs._queues._data.items()
            ]
        for where, name, visible, hidden, age in seen:
            dimensions = {"QueueName": name}
            with within(where):
                for metric, value, unit in (
                    ("ApproximateNumberOfMessagesVisible", visible, "Count"),
                    ("ApproximateNumberOfMessagesNotVisible", hidden, "Count"),
                    ("ApproximateAgeOfOldestMessage", age, "Seconds"),
                ):
                    _store("AWS/SQS", metric, dimensions, now, unit, [value])
                cloudwatch._evaluate_all_alarms()

    def write_consumed(self) -> None:
        """Write the capacity that tables consumed since the last call, from the meter."""
        now = self._clock()
        for meter, (metric, unit) in _CONSUMED.items():
            total = self._meter.total(meter)
            for table, count in total.items():
                added = count - self._consumed[meter].get(table, 0)
                if added:
                    with within(DEFAULT):
                        dimensions = {"TableName": table}
                        _store("AWS/DynamoDB", metric, dimensions, now, "Count", [added / unit])
            self._consumed[meter] = total
        with within(DEFAULT):
            cloudwatch._evaluate_all_alarms()

    def pump_forever(self, soon: Callable[[Callable[[], None]], None]) -> None:
        """Write the metrics regularly, in a separate thread.

        ``soon`` runs a function in ministack's own thread.
        """
        due = self._clock()
        while True:
            time.sleep(PERIOD)
            soon(self.write_calls)
            soon(self.write_consumed)
            if self._clock() >= due:
                due = self._clock() + SAMPLE
                soon(self.sample_queues)


def scope() -> Scope:
    """Return the account and region of ministack's current request."""
    return responses.get_account_id(), responses.get_region()


@contextmanager
def within(where: Scope) -> Iterator[None]:
    """Run the block in this account and region."""
    account = responses._request_account_id.set(where[0])
    region = responses._request_region.set(where[1])
    try:
        yield
    finally:
        responses._request_account_id.reset(account)
        responses._request_region.reset(region)


def _store(
    namespace: str,
    name: str,
    dimensions: dict[str, str],
    at: float,
    unit: str,
    values: list[float],
) -> None:
    cloudwatch._store_datum(namespace, name, dimensions, at, unit, None, values, None, None)


def _ages(messages: list[dict[str, float]], now: float) -> tuple[int, int, float]:
    """Return the numbers of visible and hidden messages, and the age of the oldest in seconds."""
    visible = sum(each["visible_at"] <= now for each in messages)
    oldest = min((each["sent_at"] for each in messages), default=now)
    return visible, len(messages) - visible, max(0.0, now - oldest)
