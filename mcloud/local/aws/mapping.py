"""The event source mapping from SQS to Lambda, which ministack implements internally.

Its requests do not pass the middleware, so outages are applied here: during an outage of the queue
or the function of the site, no message is received. Messages wait in the queue, and none becomes a
dead letter because of the outage.
"""

import math
import threading
import time
from collections.abc import Callable
from typing import Any

from ministack.services import lambda_svc, sqs

from mcloud.backoff import grown
from mcloud.local.aws.metrics import EmbeddedMetrics
from mcloud.local.deployment import VISIBILITY
from mcloud.local.meter import Meter
from mcloud.local.outage import SLOW, Outages

FIRST_PAUSE, LONG_PAUSE = 1.0, 16.0
"""Pause of a mapping, in seconds, after a failed call, and after the next ones in a row.

Lambda also backs off when a function fails repeatedly, by giving the mapping fewer pollers:
https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html. A message that is not
received does not use up deliveries. ministack itself pauses for one second, which would use up the
deliveries of a valid message in the first half minute of an outage of the store.
"""
FIRST_RETURN, LONGEST_RETURN = 1.0, 4.0
"""Delay, in seconds, until a message that the function reported as failed is received again, and
its maximum: it doubles with each failure. On AWS it is the queue's visibility timeout, which is
minutes."""
HIDE = 2.0
"""Seconds between two extensions of the time for which messages are hidden."""

_batch = threading.local()
"""State of a thread that processes a batch of a queue: ``running``, and whether the call
``failed``."""


def install(outages: Outages, metrics: EmbeddedMetrics, meter: Meter) -> None:
    """Patch ministack's poller to check for outages first, and to report its calls."""
    lambda_svc._poll_sqs = _held_up(lambda_svc._poll_sqs, outages)
    lambda_svc._run_sqs_batch = _returning(_hiding(_slowed(lambda_svc._run_sqs_batch, outages)))
    lambda_svc._execute_function = _observed(lambda_svc._execute_function, metrics, meter)


def _held_up(poll: Callable[[], bool], outages: Outages) -> Callable[[], bool]:
    def poll_unless_out() -> bool:
        for service in ("queue", "function"):
            outage = outages.on(service)
            if outage is None:
                continue
            if outage.how in ("refuse", "hang"):
                return False
            if outage.how == "throttle" and outages.throttles(f"mapping of the {service}"):
                return False
            if outage.how == "slow" and service == "queue":
                time.sleep(SLOW)
        return poll()

    return poll_unless_out


def _slowed(run: Callable[..., None], outages: Outages) -> Callable[..., None]:
    """Delay the batch if the function is slow. Each batch has its own thread."""

    def run_slowly(*arguments: Any) -> None:
        outage = outages.on("function")
        if outage is not None and outage.how == "slow":
            time.sleep(SLOW)
        run(*arguments)

    return run_slowly


def _hiding(run: Callable[..., None]) -> Callable[..., None]:
    """Keep messages hidden while the function processes them, however slow the machine is.

    On AWS the queue hides them for six times the timeout of the function. Here that would be too
    long after a crash, so they are hidden again and again, each time for ``VISIBILITY``.
    """

    def run_hidden(
        mapping: Any, function: Any, event: Any, batch: list[dict[str, Any]], *where: Any
    ) -> None:
        ended = threading.Event()

        def hide() -> None:
            handles = [each["receipt_handle"] for each in batch]
            while not ended.wait(HIDE):
                with sqs._queues_lock:
                    until = time.time() + VISIBILITY
                    for message, handle in zip(batch, handles, strict=True):
                        if message["receipt_handle"] == handle:
                            message["visible_at"] = max(message["visible_at"], until)

        hiding = threading.Thread(target=hide, daemon=True)
        hiding.start()
        try:
            run(mapping, function, event, batch, *where)
        finally:
            ended.set()
            hiding.join()

    return run_hidden


def _returning(run: Callable[..., None]) -> Callable[..., None]:
    """Return messages that the function could not process to the queue after a short delay."""

    def run_and_return(
        mapping: Any, function: Any, event: Any, batch: list[dict[str, Any]], *where: Any
    ) -> None:
        handles = [each["receipt_handle"] for each in batch]
        _batch.running, _batch.failed = True, False
        try:
            run(mapping, function, event, batch, *where)
        finally:
            _batch.running = False
        if _batch.failed:
            return
        with sqs._queues_lock:
            # Processed messages are no longer in the queue, so this does not affect them.
            for message, handle in zip(batch, handles, strict=True):
                if message["receipt_handle"] == handle:
                    rest = grown(FIRST_RETURN, message["receive_count"] - 1, LONGEST_RETURN)
                    message["visible_at"] = min(message["visible_at"], time.time() + rest)

    return run_and_return


def _observed(
    execute: Callable[..., Any], metrics: EmbeddedMetrics, meter: Meter
) -> Callable[..., Any]:
    """Count each call, and set the pause of the mapping if a call for a queue failed."""
    lock = threading.Lock()
    rounds = 0
    failed_at = 0.0

    def execute_and_look(function: dict[str, Any], event: Any) -> Any:
        nonlocal rounds, failed_at
        begun = time.monotonic()
        result = execute(function, event)
        seconds, throttled = time.monotonic() - begun, bool(result.get("throttle"))
        config = function.get("config") or function
        name = config["FunctionName"]
        if not throttled:
            meter.add("lambda_requests", name)
            # Lambda bills each started millisecond: https://aws.amazon.com/lambda/pricing/
            meter.add("lambda_mib_ms", name, math.ceil(seconds * 1000) * config["MemorySize"])
        if not getattr(_batch, "running", False):
            return result
        _batch.failed = bool(result.get("error"))
        metrics.called(name, seconds, error=_batch.failed, throttled=throttled)
        with lock:
            if not _batch.failed:
                rounds = 0
            elif begun >= failed_at:
                # Several concurrent calls count as one failure, because they fail for one reason.
                rounds += 1
                failed_at = time.monotonic()
            lambda_svc._ESM_BACKOFF_SECONDS = FIRST_PAUSE if rounds < 2 else LONG_PAUSE
        return result

    return execute_and_look
