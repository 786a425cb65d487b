"""Bulk writes of candles to Firestore: their pace, and documents that fail one by one."""

import ast
import importlib
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.cloud.firestore_v1.types import BatchWriteRequest, BatchWriteResponse
from google.rpc.code_pb2 import (
    ABORTED,
    INVALID_ARGUMENT,
    RESOURCE_EXHAUSTED,
    UNAVAILABLE,
)
from google.rpc.status_pb2 import Status

from mcloud.clouds import gcp, optimistic
from mcloud.clouds.factory import open_site
from mcloud.clouds.gcp.candles import FirestoreCandles
from mcloud.clouds.gcp.client import make_firestore
from mcloud.clouds.gcp.ramp import PHASE, WriteRamp
from mcloud.errors import Refused, Unavailable
from mcloud.local.state import State
from mcloud.market.candle import MINUTE, Candle, fold

from .test_contract import trades

_numbers = itertools.count()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def written(ramp: WriteRamp, clock: Clock, until: float) -> int:
    """Return how many writes are sent until a time by a writer that never rests."""
    count = 0
    while clock.now < until:
        ramp.wait(100)
        count += 100
    return count


def test_the_rate_begins_at_500_and_grows_by_half_every_five_minutes() -> None:
    clock = Clock()
    ramp = WriteRamp(clock, clock.sleep)
    for phase, rate in enumerate((500, 750, 1_125, 1_687.5)):
        count = written(ramp, clock, (phase + 1) * PHASE)
        assert count / PHASE == pytest.approx(rate, rel=0.01)


def test_a_slow_writer_never_waits_and_a_pause_restarts_the_ramp() -> None:
    clock = Clock()
    ramp = WriteRamp(clock, clock.sleep)
    written(ramp, clock, 3 * PHASE)
    clock.now = 5 * PHASE
    assert written(ramp, clock, 5 * PHASE + 10) == pytest.approx(5_000, rel=0.05)
    for _ in range(10):
        clock.now += 1
        before = clock.now
        ramp.wait(100)
        assert clock.now == before


def test_real_sites_have_a_ramp_and_embedded_ones_have_none(
    embedded: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = embedded.resources()["gcp"]
    waited: list[int] = []
    monkeypatch.setattr(WriteRamp, "wait", lambda self, writes: waited.append(writes))
    candles = open_site("gcp", replace(to, candles_collection=collection())).candles
    candles.create(some(3))
    assert waited == []
    real = FirestoreCandles(
        make_firestore(to.project, to.database, to.firestore_endpoint),
        collection(),
        WriteRamp().wait,
    )
    real.create(some(3))
    assert waited == [3]


class Api:
    """Firestore's API that fails documents of the next bulk writes."""

    def __init__(self, api: Any, failures: list[dict[int, int]]) -> None:
        self._api = api
        self.failures = failures
        """Codes by position in the request, for each of the next requests."""
        self.sizes: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._api, name)

    def batch_write(self, request: BatchWriteRequest, **options: Any) -> BatchWriteResponse:
        self.sizes.append(len(request.writes))
        failing = self.failures.pop(0) if self.failures else {}
        kept = BatchWriteRequest(
            database=request.database,
            writes=[each for n, each in enumerate(request.writes) if n not in failing],
        )
        answers = iter(self._api.batch_write(request=kept, **options).status)
        return BatchWriteResponse(
            status=[
                Status(code=failing[n], message="as the test wants it")
                if n in failing
                else next(answers)
                for n in range(len(request.writes))
            ]
        )


def collection() -> str:
    return f"bulk-{next(_numbers)}"


def some(count: int) -> list[Candle]:
    candles = []
    for n in range(count):
        (trade,) = trades(1)
        start = trade.time // MINUTE * MINUTE + n * MINUTE
        moved = trade._replace(id=n, time=start)
        candles.append(fold(Candle(trade.symbol, start), [moved]).candle)
    return candles


@pytest.fixture
def stored(embedded: State, monkeypatch: pytest.MonkeyPatch) -> tuple[FirestoreCandles, Api]:
    monkeypatch.setattr(optimistic, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(optimistic, "LONGEST_PAUSE", 0.0)
    to = embedded.resources()["gcp"]
    client = make_firestore(to.project, to.database, to.firestore_endpoint)
    api = Api(client._firestore_api, [])
    monkeypatch.setattr(type(client), "_firestore_api", property(lambda self: api))
    return FirestoreCandles(client, collection()), api


def test_documents_that_could_not_be_written_are_sent_again(stored: Any) -> None:
    candles, api = stored
    api.failures = [
        {1: ABORTED, 3: UNAVAILABLE, 4: RESOURCE_EXHAUSTED},
        {0: ABORTED},
    ]
    wanted = some(6)
    assert candles.create(wanted) == []
    assert api.sizes == [6, 3, 1]
    assert list(candles.range(wanted[0].symbol, 0, wanted[-1].start + MINUTE)) == wanted


def test_existing_documents_are_returned_also_after_a_retry(stored: Any) -> None:
    candles, api = stored
    wanted = some(4)
    assert candles.create(wanted[:1]) == []
    api.failures = [{1: ABORTED}]
    assert candles.create(wanted) == wanted[:1]


def test_a_document_that_is_wrong_is_not_sent_again(stored: Any) -> None:
    candles, api = stored
    api.failures = [{0: INVALID_ARGUMENT, 1: ABORTED}]
    with pytest.raises(Refused, match="as the test wants it"):
        candles.create(some(2))
    assert api.sizes == [2]


def test_a_document_that_never_passes_ends_in_an_error(stored: Any) -> None:
    candles, api = stored
    api.failures = [{0: UNAVAILABLE}] * optimistic.ATTEMPTS
    with pytest.raises(Unavailable, match="as the test wants it"):
        candles.create(some(1))
    assert len(api.sizes) == optimistic.ATTEMPTS


PRIVATE = {
    "_connection": ("google.cloud.storage", "Client"),
    "_database_string": ("google.cloud.firestore", "Client"),
    "_emulator_channel": ("google.cloud.firestore", "Client"),
    "_firestore_api": ("google.cloud.firestore", "Client"),
    "_firestore_api_helper": ("google.cloud.firestore", "Client"),
    "_http": ("google.cloud.storage", "Client"),
    "_parent_info": ("google.cloud.firestore", "CollectionReference"),
    "_rpc_metadata": ("google.cloud.firestore", "Client"),
    "_to_protobuf": ("google.cloud.firestore", "Query"),
}
"""Private members of Google's libraries that the adapters use, with their owners.

pyproject.toml bounds the versions of the libraries."""

OF_INSTANCES = {"_connection"}
"""Members that exist only in instances."""


def test_each_private_member_of_googles_libraries_is_named_here() -> None:
    used = set()
    for path in Path(gcp.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Attribute) or not node.attr.startswith("_"):
                continue
            of_self = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            if not of_self and not node.attr.startswith("__"):
                used.add(node.attr)
    # The client's method is overridden here and not called.
    assert used | {"_emulator_channel"} == set(PRIVATE)


@pytest.mark.parametrize("name", sorted(set(PRIVATE) - OF_INSTANCES))
def test_the_installed_libraries_have_them(name: str) -> None:
    module, owner = PRIVATE[name]
    assert hasattr(getattr(importlib.import_module(module), owner), name)
