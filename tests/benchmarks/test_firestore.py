"""Our Firestore and Google's emulator do the same work through the real client, in one run.

Run with ``pytest -m benchmark -s tests/benchmarks/test_firestore.py``. A ratio is Google's time
over ours, so 2.0 is twice as fast. Each time is the best of several alternating rounds.
"""

import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from conformance.emulators import official, ours
from conformance.firestore_client import connect
from google.cloud import firestore
from google.cloud.firestore_v1.base_query import FieldFilter
from google.cloud.firestore_v1.bulk_writer import BulkWriterOptions

pytestmark = pytest.mark.benchmark

ROUNDS = 3
DOCUMENTS = 5_000


@pytest.fixture(scope="module")
def our_client() -> Iterator[firestore.Client]:
    with ours() as running:
        yield connect(running.host)


@pytest.fixture(scope="module")
def clients(
    our_client: firestore.Client, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, firestore.Client]]:
    """A client of the embedded Firestore and one of Google's emulator. Skips if Google's emulator
    is not installed."""
    with official("firestore", tmp_path_factory.mktemp("official")) as running:
        yield {"ours": our_client, "google": connect(running.host)}


def test_bulk_writes_in_batches(clients: dict[str, firestore.Client]) -> None:
    def write(client: firestore.Client, collection: str) -> None:
        fill(client, collection, DOCUMENTS)

    assert ratio("batches of 500", clients, write, DOCUMENTS) >= 1


def test_bulk_writer(clients: dict[str, firestore.Client]) -> None:
    def write(client: firestore.Client, collection: str) -> None:
        options = BulkWriterOptions(initial_ops_per_second=10**9, max_ops_per_second=10**9)
        writer = client.bulk_writer(options)
        for number in range(2_000):
            writer.set(client.document(f"{collection}/{number}"), candle(number))
        writer.close()

    assert ratio("BulkWriter", clients, write, 2_000) >= 1


def test_conditional_commits(clients: dict[str, firestore.Client]) -> None:
    def write(client: firestore.Client, collection: str) -> None:
        document = client.document(f"{collection}/a")
        version = document.set(candle(0)).update_time
        for number in range(1, 301):
            option = client.write_option(last_update_time=version)
            version = document.update({"trade_count": number}, option).update_time

    assert ratio("conditional commit", clients, write, 300) >= 1


def test_transactions(clients: dict[str, firestore.Client]) -> None:
    def write(client: firestore.Client, collection: str) -> None:
        document = client.document(f"{collection}/a")
        document.set({"n": 0})
        for _ in range(100):
            increment(client.transaction(), document)
        assert document.get().get("n") == 100

    assert ratio("transaction", clients, write, 100) >= 1


def test_transactions_of_many_threads(clients: dict[str, firestore.Client]) -> None:
    """Each thread has its own document, since Google's emulator fails if they share one."""

    def write(client: firestore.Client, collection: str) -> None:
        documents = [client.document(f"{collection}/{number}") for number in range(8)]
        for document in documents:
            document.set({"n": 0})

        def run(document: Any) -> None:
            for _ in range(20):
                increment(client.transaction(), document)

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(run, documents))
        assert [document.get().get("n") for document in documents] == [20] * 8

    assert ratio("transaction, 8 threads", clients, write, 160) >= 1


@pytest.mark.parametrize("length", [60, 1_440])
@pytest.mark.parametrize("path", ["timestamp", "__name__"])
def test_range_queries(clients: dict[str, firestore.Client], length: int, path: str) -> None:
    for client in clients.values():
        fill(client, "range", DOCUMENTS)

    def read(client: firestore.Client, _collection: str) -> None:
        rows = client.collection("range")
        low, high = (
            rows.document(candle_id(number)) if path == "__name__" else candle_id(number)
            for number in (1_000, 1_000 + length)
        )
        query = rows.where(filter=FieldFilter(path, ">=", low)).where(
            filter=FieldFilter(path, "<", high)
        )
        for _ in range(3):
            assert sum(1 for _ in query.stream()) == length

    # Long results mostly take time in the client, so a tie is the best possible outcome.
    ratio(f"range of {length} by {path}", clients, read, 3 * length)


def test_range_queries_of_a_large_collection(our_client: firestore.Client) -> None:
    """The cost of a range of 100,000 documents depends on its result only."""
    for total in (1_000, 100_000):
        fill(our_client, f"large{total}", total)
    times = {}
    for total in (1_000, 100_000):
        query = (
            our_client.collection(f"large{total}")
            .where(filter=FieldFilter("timestamp", ">=", candle_id(500)))
            .limit(60)
        )
        query.get()
        times[total] = min(seconds(query.get) for _ in range(ROUNDS))
    growth = times[100_000] / times[1_000]
    print(f"\n60 of 100,000 documents take {growth:.2f} times as long as 60 of 1,000")
    assert growth < 10


@firestore.transactional  # type: ignore[untyped-decorator]
def increment(transaction: firestore.Transaction, document: Any) -> None:
    number = document.get(transaction=transaction).get("n")
    transaction.update(document, {"n": number + 1})


def candle_id(number: int) -> str:
    return f"BTCUSDT_{number:07}"


def candle(number: int) -> dict[str, Any]:
    """Return a document of about the size and shape of a stored candle."""
    return {
        "symbol": "BTCUSDT",
        "timestamp": candle_id(number),
        **dict.fromkeys(["open", "high", "low", "close", "volume"], "61234.56000000"),
        "trade_count": number,
        "fragments": [{"first_id": number, "last_id": number + 500, "volume": "1.25"}],
    }


def fill(client: firestore.Client, collection: str, count: int) -> None:
    for start in range(0, count, 500):
        batch = client.batch()
        for number in range(start, min(start + 500, count)):
            batch.set(client.document(f"{collection}/{candle_id(number)}"), candle(number))
        batch.commit()


def ratio(
    name: str,
    clients: dict[str, firestore.Client],
    work: Callable[[firestore.Client, str], None],
    count: int,
) -> float:
    """Return and print Google's best time over ours."""
    times: dict[str, float] = {}
    for _ in range(ROUNDS):
        for label, client in clients.items():
            taken = seconds(partial(work, client, f"c{uuid.uuid4().hex}"))
            times[label] = min(taken, times.get(label, taken))
    rates = ", ".join(f"{label} {count / taken:,.0f}/s" for label, taken in times.items())
    result = times["google"] / times["ours"]
    print(f"\n{name}: {rates}, ratio {result:.2f}")
    return result


def seconds(work: Callable[[], object]) -> float:
    """Return the seconds that the work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
