"""Our Pub/Sub compared with Google's emulator: start, memory, publish, streaming pull."""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

import pytest
from conformance.emulators import official, ours
from google.cloud.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1 import PublisherClient as BarePublisher

pytestmark = pytest.mark.benchmark

DATA = b"x" * 2048
CALLS, MESSAGES = 500, 3_000
ROUNDS = 9


def test_the_embedded_pubsub_starts_fast_and_is_small() -> None:
    with ours() as running:
        memory = running.resident_mb()
    print(f"\nready after {running.ready_seconds:.2f} s, {memory:.0f} MB")
    assert running.ready_seconds < 3
    assert memory < 150


def test_the_embedded_pubsub_is_at_least_as_fast_as_googles_emulator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The medians of short alternating rounds count, so that load affects both equally."""
    rates: dict[str, dict[str, list[float]]] = {}
    with ExitStack() as stack:
        servers = [
            ("ours", stack.enter_context(ours())),
            ("official", stack.enter_context(official("pubsub", tmp_path))),
        ]
        for number in range(ROUNDS):
            for whose, server in servers if number % 2 else reversed(servers):
                monkeypatch.setenv("PUBSUB_EMULATOR_HOST", server.host)
                for what, rate in _rates().items():
                    rates.setdefault(what, {}).setdefault(whose, []).append(rate)
        memory = {whose: server.resident_mb() for whose, server in servers}
        ready = {whose: server.ready_seconds for whose, server in servers}
    print()
    ratios = {}
    for what, by in rates.items():
        mine, theirs = median(by["ours"]), median(by["official"])
        ratios[what] = mine / theirs
        print(f"{what}: {mine:,.0f}/s, Google's {theirs:,.0f}/s, ratio {ratios[what]:.2f}")
    print(f"ready: {ready['ours']:.1f} s, Google's {ready['official']:.1f} s")
    print(f"memory at the end: {memory['ours']:.0f} MB, Google's {memory['official']:.0f} MB")
    assert ratios["streaming pull"] >= 1
    # A publish is mostly work of the client on the same cores, so the ratio is about one.
    assert min(ratios.values()) >= 0.9


def _rates() -> dict[str, float]:
    """Return the messages per second, by operation."""
    topic = f"projects/benchmark/topics/t-{uuid4().hex}"
    subscription = f"projects/benchmark/subscriptions/s-{uuid4().hex}"
    publisher = PublisherClient()
    publisher.create_topic(name=topic)
    message = [{"data": DATA}]

    def call() -> None:
        for _ in range(CALLS):
            BarePublisher.publish(publisher, topic=topic, messages=message)

    def publish() -> None:
        for future in [publisher.publish(topic, DATA) for _ in range(MESSAGES)]:
            future.result(timeout=60)

    rates = {"publish, one a call": CALLS / _seconds(call)}
    with SubscriberClient() as subscriber:
        subscriber.create_subscription(request={"name": subscription, "topic": topic})
        rates["publish, client in batches"] = MESSAGES / _seconds(publish)
        received: set[str] = set()
        is_done = threading.Event()

        def take(message: Any) -> None:
            message.ack()
            received.add(message.message_id)
            if len(received) == MESSAGES:
                is_done.set()

        def pull() -> None:
            streaming = subscriber.subscribe(subscription, take)
            assert is_done.wait(timeout=60)
            streaming.cancel()

        rates["streaming pull"] = MESSAGES / _seconds(pull)
    return rates


def _seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
