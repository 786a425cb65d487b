"""Nothing is lost if AWS throttles, resets connections or is slow."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE, eventually

from mcloud.clouds.factory import open_site
from mcloud.clouds.ports import Site
from mcloud.clouds.resources import AwsResources
from mcloud.feed.simulate import Simulate
from mcloud.local.children import answers, free_ports
from mcloud.local.state import State
from mcloud.processor.ingest import ingest
from mcloud.rehearsal.demo import archived_ids, deliver, stored_rows
from mcloud.rehearsal.oracle import expected_rows

START = 1_735_775_880_000


class Proxy:
    """microburst in front of the embedded AWS."""

    def __init__(self, url: str, upstream: str) -> None:
        self.url = url
        self._upstream = upstream

    def inject(self, *rules: dict[str, Any]) -> None:
        self._call("POST", "rules", list(rules))

    def fired(self) -> list[dict[str, Any]]:
        answer = self._call("GET", "fired")
        fired: list[dict[str, Any]] = answer if isinstance(answer, list) else answer["fired"]
        return fired

    def site(self, resources: AwsResources) -> Site:
        """Return the embedded site behind the proxy."""
        queue_url = resources.queue_url.replace(self._upstream, self.url)
        return open_site("aws", replace(resources, queue_url=queue_url, endpoint_url=self.url))

    def _call(self, method: str, path: str, body: object = None) -> Any:
        request = urllib.request.Request(
            f"{self.url}/_microburst/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)


@pytest.fixture
def proxy(embedded: State, tmp_path: Path) -> Iterator[Proxy]:
    upstream = embedded.outputs["aws"]["endpoint_url"]
    (port,) = free_ports(1)
    command = Path(sys.executable).with_name("microburst")
    if not command.exists():
        pytest.skip("microburst is not installed")
    with (tmp_path / "microburst.log").open("wb") as log:
        process = subprocess.Popen(
            [command, "--upstream", upstream, "--host", "127.0.0.1", "--port", str(port)],
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=tmp_path,
        )
    try:
        eventually(lambda: process.poll() is not None or answers(f"127.0.0.1:{port}"))
        assert process.poll() is None, (tmp_path / "microburst.log").read_text()
        yield Proxy(f"http://127.0.0.1:{port}", upstream)
    finally:
        process.terminate()
        process.wait()


@pytest.mark.nightly
def test_a_producer_behind_throttling_and_resets_delivers_everything(
    embedded: State, proxy: Proxy
) -> None:
    site = proxy.site(embedded.resources()["aws"])
    proxy.inject(
        {"service": "sqs", "times": 4, "error": {"code": "RequestThrottled"}},
        {"service": "sqs", "times": 3, "reset": True},
        {"service": "sqs", "times": 2, "error": {"code": "ServiceUnavailable"}},
    )
    trades = list(Simulate(["THROTTLEDUSDT"], seed=4, start_time=START, count=4_000))
    progress = deliver(trades, {"aws": site.queue}, batch=100)
    assert progress.complete, progress.sites
    assert [each["service"] for each in proxy.fired()] == ["sqs"] * 9
    direct = open_site("aws", embedded.resources()["aws"])
    expected = expected_rows(trades)
    eventually(lambda: stored_rows(direct, ["THROTTLEDUSDT"]) == expected)
    eventually(lambda: len(archived_ids(direct, ["THROTTLEDUSDT"])) == 4_000, pause=0.5)


@pytest.mark.nightly
def test_stores_that_throttle_end_exact_after_enough_tries(embedded: State, proxy: Proxy) -> None:
    """The function's work for a message is repeated until it succeeds, as the queue does."""
    from mcloud.errors import Unavailable

    site = proxy.site(embedded.resources()["aws"])
    proxy.inject(
        {
            "service": "dynamodb",
            "sequence": [2, 3],
            "error": {"code": "ProvisionedThroughputExceededException"},
        },
        {"service": "s3", "sequence": [2, 3], "error": {"code": "SlowDown", "status": 503}},
        {"service": "dynamodb", "sequence": [1, 9], "reset": True},
    )
    trades = list(Simulate(["SLOWUSDT"], seed=6, start_time=START, count=1_000))
    for begin in range(0, len(trades), 200):
        for _ in range(50):
            try:
                ingest(trades[begin : begin + 200], site.archive, site.candles)
            except Unavailable:
                continue
            break
    assert {each["service"] for each in proxy.fired()} == {"dynamodb", "s3"}
    proxy.inject()
    assert stored_rows(site, ["SLOWUSDT"]) == expected_rows(trades)
    assert len(archived_ids(site, ["SLOWUSDT"])) == 1_000
