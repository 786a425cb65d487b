"""Outages on the embedded clouds: each affects what it should, and nothing is lost."""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from patience import eventually

from mcloud.clouds.factory import open_site
from mcloud.clouds.gcp import client as gcp
from mcloud.clouds.ports import SERVICES
from mcloud.feed.replay import open_replay
from mcloud.feed.simulate import Simulate
from mcloud.local import outage
from mcloud.local.outage import SLOW, THROTTLED
from mcloud.local.state import State
from mcloud.rehearsal import demo as demo
from mcloud.rehearsal.oracle import expected_rows

Call = Callable[[], object]
Key = tuple[str, str]


@pytest.fixture
def home(embedded: State) -> Iterator[Path]:
    folder = Path(embedded.options["home"])
    yield folder
    outage.end(folder)


@pytest.fixture(scope="module")
def calls(embedded: State) -> dict[Key, Call]:
    """Return a call of each service of each site, without retries and with a short timeout."""
    aws, google = embedded.outputs["aws"], embedded.outputs["gcp"]
    sqs, lambda_, dynamodb, s3 = (
        _impatient(each, aws) for each in ("sqs", "lambda", "dynamodb", "s3")
    )
    publisher = gcp.make_publisher(google["pubsub_endpoint"])
    firestore = gcp.make_firestore(
        google["project"], google["database"], google["firestore_endpoint"]
    )
    topic = f"projects/{google['project']}/topics/{google['topic']}"
    bucket = f"{google['storage_endpoint']}/storage/v1/b/{google['raw_bucket']}"
    return {
        ("aws", "queue"): lambda: sqs.get_queue_attributes(QueueUrl=aws["queue_url"]),
        ("aws", "function"): lambda: lambda_.get_function(FunctionName=aws["function"]),
        ("aws", "candles"): lambda: dynamodb.describe_table(TableName=aws["candles_table"]),
        ("aws", "archive"): lambda: s3.head_bucket(Bucket=aws["raw_bucket"]),
        ("gcp", "queue"): lambda: publisher.get_topic(topic=topic, retry=None, timeout=PATIENT),
        ("gcp", "function"): lambda: _get(google["function_url"]),
        ("gcp", "candles"): lambda: (
            firestore.collection("control").document("x").get(retry=None, timeout=PATIENT)
        ),
        ("gcp", "archive"): lambda: _get(bucket),
    }


PATIENT = 4 * SLOW  # seconds; longer than a slow answer takes, also on a loaded machine


def _impatient(service: str, aws: dict[str, str]) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.session.Session().client(
        service,
        region_name=aws["region"],
        endpoint_url=aws["endpoint_url"],
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=PATIENT),
    )


def _get(url: str) -> None:
    if requests.get(url, timeout=PATIENT).status_code in (429, 503):
        raise ConnectionError


def answered(calls: dict[Key, Call]) -> dict[Key, bool]:
    """Make all calls at once, and return which of them succeed."""

    def attempt(call: Call) -> bool:
        try:
            call()
        except Exception:  # noqa: BLE001 - whatever an SDK makes of it
            return False
        return True

    with ThreadPoolExecutor(len(calls)) as pool:
        return dict(zip(calls, pool.map(attempt, calls.values()), strict=True))


def without(service: str, calls: dict[Key, Call]) -> dict[Key, bool]:
    return {key: key[1] != service for key in calls}


@pytest.mark.parametrize("service", SERVICES)
def test_an_outage_of_a_service_affects_only_this_service_and_ends(
    home: Path, calls: dict[Key, Call], service: str
) -> None:
    for site in ("aws", "gcp"):
        outage.begin(home, site, service, "refuse", None)
    assert answered(calls) == without(service, calls)
    outage.end(home)
    assert all(answered(calls).values())


def test_an_outage_of_a_site_affects_only_this_site(home: Path, calls: dict[Key, Call]) -> None:
    for site in ("aws", "gcp"):
        outage.begin(home, site, None, "refuse", None)
        assert answered(calls) == {key: key[0] != site for key in calls}
        outage.end(home)


def test_a_throttled_service_refuses_a_known_share(home: Path, calls: dict[Key, Call]) -> None:
    for site, service in calls:
        outage.begin(home, site, service, "throttle", None)
        here = {key: each for key, each in calls.items() if key == (site, service)}
        there = {key: each for key, each in calls.items() if key != (site, service)}
        taken = [answered(here)[site, service] for _ in range(2 * THROTTLED)]
        assert taken.count(False) == THROTTLED, (site, service)
        assert all(answered(there).values())
        outage.end(home)


def test_a_hanging_service_answers_when_its_time_is_over(
    home: Path, calls: dict[Key, Call]
) -> None:
    """Everything hangs, but nothing fails or happens too early, even if the caller has exited."""
    began = time.time()
    ends = {site: outage.begin(home, site, None, "hang", 1.5).until for site in ("aws", "gcp")}
    times: dict[Key, float] = {}

    def note(key: Key) -> None:
        calls[key]()
        times[key] = time.time()

    with ThreadPoolExecutor(len(calls)) as pool:
        list(pool.map(note, calls))
    assert all(times[key] >= (ends[key[0]] or began) for key in calls)


@pytest.mark.parametrize("service", ["queue", "candles"])
def test_while_one_service_hangs_the_others_answer(
    home: Path, calls: dict[Key, Call], service: str
) -> None:
    for site in ("aws", "gcp"):
        outage.begin(home, site, service, "hang", None)
    hanging = {key: call for key, call in calls.items() if key[1] == service}
    with ThreadPoolExecutor(40) as pool:
        stuck = [pool.submit(call) for call in list(hanging.values()) * 20]
        others = {key: call for key, call in calls.items() if key[1] != service}
        assert all(answered(others).values())
        assert not any(each.done() for each in stuck)
        outage.end(home)
        for each in stuck:
            each.result()


def test_a_slow_service_answers_late(home: Path, calls: dict[Key, Call]) -> None:
    for site, service in (("aws", "queue"), ("aws", "archive"), ("gcp", "candles")):
        outage.begin(home, site, service, "slow", None)
    times: dict[Key, float] = {}

    def measure(key: Key) -> None:
        began = time.monotonic()
        calls[key]()
        times[key] = time.monotonic() - began

    with ThreadPoolExecutor(len(calls)) as pool:
        list(pool.map(measure, calls))
    slow = {key for key, seconds in times.items() if seconds >= SLOW}
    assert slow >= {("aws", "queue"), ("aws", "archive"), ("gcp", "candles")}


def test_messages_wait_for_a_function_that_is_out(embedded: State, home: Path) -> None:
    symbol = f"WAIT{os.getpid()}USDT"
    trades = list(Simulate([symbol], seed=1, start_time=1_735_775_880_000, count=100))
    sites = {name: open_site(name, each) for name, each in embedded.resources().items()}
    until = {
        name: outage.begin(home, name, "function", how, 2.0).until or 0.0
        for name, how in (("aws", "hang"), ("gcp", "refuse"))
    }
    assert demo.deliver(trades, {name: site.queue for name, site in sites.items()}).complete
    stored: dict[str, float] = {}

    def look() -> bool:
        for name, site in sites.items():
            if name not in stored and demo.stored_rows(site, [symbol]) == expected_rows(trades):
                stored[name] = time.time()
        return len(stored) == len(sites)

    eventually(look)
    assert all(stored[name] >= until[name] for name in sites)


@pytest.mark.slow
def test_a_dead_candle_store_is_a_backlog_that_drains_exactly(
    embedded: State, home: Path, recordings: Path
) -> None:
    symbol = f"OUT{os.getpid()}USDT"
    recorded = list(open_replay(recordings / "spot-btcusdt-trades-20240808.jsonl.gz"))[:3000]
    trades = [trade._replace(symbol=symbol) for trade in recorded]
    sites = {name: open_site(name, each) for name, each in embedded.resources().items()}
    dead = {name: site.queue.dead_letter_depth().ready for name, site in sites.items()}
    for name in sites:
        outage.begin(home, name, "candles", "refuse", None)
    queues = {name: site.queue for name, site in sites.items()}
    delivery = demo.deliver(trades, queues, batch=300)
    assert delivery.complete

    def waiting(name: str) -> int:
        depth = sites[name].queue.depth()
        return (depth.ready or 0) + (depth.in_flight or 0)

    ids = {(trade.symbol, trade.id) for trade in trades}
    # The function archives first, so it had begun all messages but stored no candles.
    for name, site in sites.items():
        eventually(lambda site=site: demo.archived_ids(site, [symbol]) == ids, pause=0.5)
        eventually(lambda name=name: waiting(name) == delivery.sites[name].messages)
    outage.end(home)
    for name, site in sites.items():
        eventually(
            lambda site=site: demo.stored_rows(site, [symbol]) == expected_rows(trades), pause=0.2
        )
        eventually(lambda name=name: waiting(name) == 0)
        assert site.queue.dead_letter_depth().ready == dead[name]
