"""The cost of the meters and of the checks for outages: the request rate with and without them."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median

import psutil
import pytest
from patience import eventually

from mcloud.clouds.aws.client import make_client
from mcloud.clouds.gcp.client import make_storage
from mcloud.local import children
from mcloud.local.children import Child
from mcloud.local.state import State

ROUNDS, CALLS = 7, 60
WANTED = 0.75  # share of the rate without meters

pytestmark = pytest.mark.benchmark


def test_sends_to_sqs(tmp_path: Path) -> None:
    with_port, without_port = children.free_ports(2)
    (tmp_path / "home" / "data").mkdir(parents=True)
    ours = children.aws(with_port, tmp_path / "home", tmp_path / "home" / "data")
    bare = children.aws(without_port, tmp_path, tmp_path / "bare")
    bare = replace(bare, command=(bare.command[0], "-m", "ministack"))
    with running(ours, tmp_path), running(bare, tmp_path):
        sends = [sender(each.port) for each in (ours, bare)]
        print_ratio("SQS sends of 10 messages of 6 kB", *sends)


def test_uploads_to_cloud_storage(embedded: State) -> None:
    front = embedded.services["storage"]
    behind = psutil.Process(front.pid).net_connections()
    port = next(each.laddr.port for each in behind if each.status == psutil.CONN_LISTEN)
    uploads = [
        uploader(embedded, address, name)
        for address, name in ((front.address, "front"), (f"127.0.0.1:{port}", "behind"))
    ]
    print_ratio("Cloud Storage uploads and downloads of 100 kB", *uploads)


def print_ratio(what: str, with_: Callable[[], None], without: Callable[[], None]) -> None:
    """Alternate both, so that a busy machine slows them down equally, and print the ratio."""
    ratios = []
    for _ in range(ROUNDS):
        times = []
        for work in (with_, without):
            began = time.perf_counter()
            for _ in range(CALLS):
                work()
            times.append(time.perf_counter() - began)
        ratios.append(times[1] / times[0])
    print(f"\n{what}: {median(ratios):.2f} times the rate without meters")
    assert median(ratios) >= WANTED


def sender(port: int) -> Callable[[], None]:
    sqs = make_client("sqs", "us-east-1", f"http://127.0.0.1:{port}")
    url = sqs.create_queue(QueueName="bench")["QueueUrl"]
    entries = [{"Id": str(n), "MessageBody": "x" * 6000} for n in range(10)]
    return lambda: sqs.send_message_batch(QueueUrl=url, Entries=entries)


def uploader(state: State, address: str, name: str) -> Callable[[], None]:
    to = state.outputs["gcp"]
    bucket = make_storage(to["project"], f"http://{address}").bucket(to["raw_bucket"])
    body = os.urandom(100_000)
    blob = bucket.blob(f"bench/{name}")

    def up_and_down() -> None:
        blob.upload_from_string(body)
        assert len(blob.download_as_bytes()) == len(body)

    return up_and_down


@contextmanager
def running(child: Child, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    process = child.start(folder, folder / "log")
    try:
        eventually(lambda: children.answers(child.address))
        yield process
    finally:
        children.stop([process], patience=5)
