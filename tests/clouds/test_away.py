"""If a cloud is unavailable, every call raises a transient error within a time limit."""

import time
from collections.abc import Callable

import pytest

from mcloud.clouds.factory import open_site
from mcloud.clouds.ports import Heartbeat, Site
from mcloud.clouds.resources import AwsResources
from mcloud.errors import Refused, Unavailable
from mcloud.local.children import free_ports
from mcloud.local.deployment import gcp_resources
from mcloud.market.archive import ArchiveObject
from mcloud.market.candle import Folded
from mcloud.market.envelope import Message

BOUND = 55.0  # seconds; by default the clients try for one to ten minutes

CALLS: dict[str, Callable[[Site], object]] = {
    "send": lambda site: site.queue.send([Message("{}")]),
    "depth": lambda site: site.queue.depth(),
    "update": lambda site: site.candles.update("BTCUSDT", 0, lambda candle: Folded(candle, ())),
    "range": lambda site: list(site.candles.range("BTCUSDT", 0, 60_000)),
    "tip": lambda site: site.candles.tip(),
    "last": lambda site: site.candles.last("BTCUSDT"),
    "put": lambda site: site.archive.put(ArchiveObject("raw/x", b"x")),
    "list": lambda site: list(site.archive.list("raw/")),
    "symbols": lambda site: list(site.archive.symbols()),
    "take": lambda site: site.queue.take_dead_letters(1),
    "beat": lambda site: site.control.beat([Heartbeat("BTCUSDT", 1, 1, 1, 1.0)]),
    "record": lambda site: site.control.record(),
    "figures": lambda site: site.metrics.figures(60),
    "probe": lambda site: site.probe.check("queue", 5),
}


@pytest.fixture(params=["aws", "gcp"])
def away(request: pytest.FixtureRequest) -> Site:
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    if request.param == "gcp":
        to = gcp_resources(
            pubsub=address,
            firestore=address,
            monitoring=address,
            storage=f"http://{address}",
            function_url=f"http://{address}",
        )
        return open_site("gcp", to)
    url = f"http://{address}"
    queues = f"{url}/0/q", f"{url}/0/d"
    return open_site("aws", AwsResources("us-east-1", *queues, *"ckbf", endpoint_url=url))


@pytest.mark.slow
def test_every_call_raises_unavailable_in_time(away: Site) -> None:
    from mcloud.deadline import gather

    began = time.monotonic()
    answers = gather({name: lambda call=call: call(away) for name, call in CALLS.items()}, BOUND)
    late = [name for name, answer in answers.items() if isinstance(answer, TimeoutError)]
    assert late == []
    assert time.monotonic() - began < BOUND
    assert {name: type(answer) for name, answer in answers.items()} == dict.fromkeys(
        CALLS, Unavailable
    )


def test_a_profile_of_the_user_does_not_reach_the_embedded_aws(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mcloud.clouds.aws.client import make_client

    monkeypatch.setenv("AWS_PROFILE", "there-is-none-such")
    make_client("sqs", "us-east-1", "http://127.0.0.1:1")
    with pytest.raises(Refused, match="there-is-none-such"):
        make_client("sqs", "us-east-1")


def test_no_google_credentials_come_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    from mcloud.clouds.gcp.client import make_publisher

    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/there-is-none-such.json")
    with pytest.raises(Refused, match="gcloud auth application-default login"):
        make_publisher()
