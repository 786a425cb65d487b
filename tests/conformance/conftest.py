"""Run the same cases on our services and on Google's emulators."""

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from google.cloud import firestore
from google.cloud.pubsub_v1 import PublisherClient, SubscriberClient

from .emulators import official, ours
from .firestore_client import connect
from .pubsub_client import Cloud

SERVICES = ["ours", pytest.param("official", marks=pytest.mark.slow)]


@pytest.fixture(scope="session", params=SERVICES)
def pubsub_host(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Yield the "host:port" of a Pub/Sub."""
    with _server(request.param, "pubsub", tmp_path_factory) as running:
        yield running.host


@pytest.fixture
def cloud(
    pubsub_host: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cloud]:
    # The client warns of return_immediately, which the tests need to show that nothing is waiting.
    warnings.filterwarnings("ignore", "The return_immediately", DeprecationWarning)
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub_host)
    is_ours = request.node.callspec.params["pubsub_host"] == "ours"
    with SubscriberClient() as subscriber:
        publisher = PublisherClient()
        yield Cloud(publisher, subscriber, is_ours)
        publisher.stop()
        publisher.transport.close()


@pytest.fixture(scope="session", params=SERVICES)
def firestore_host(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Yield the "host:port" of a Firestore."""
    with _server(request.param, "firestore", tmp_path_factory) as running:
        yield running.host


@pytest.fixture
def client(firestore_host: str) -> firestore.Client:
    return connect(firestore_host)


@pytest.fixture
def rows(client: firestore.Client) -> firestore.CollectionReference:
    return client.collection("rows")


def _server(whose: str, product: str, folders: pytest.TempPathFactory) -> Any:
    return ours() if whose == "ours" else official(product, folders.mktemp(product))
