"""The same cases on our services and on Google's emulators."""

from collections.abc import Iterator
from typing import Any

import pytest

from .emulators import official, ours


@pytest.fixture(scope="session", params=["ours", "official"])
def pubsub_host(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """ "host:port" of a Pub/Sub."""
    with _server(request.param, "pubsub", tmp_path_factory) as running:
        yield running.host


@pytest.fixture(scope="session", params=["ours", "official"])
def firestore_host(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """ "host:port" of a Firestore."""
    with _server(request.param, "firestore", tmp_path_factory) as running:
        yield running.host


def _server(whose: str, product: str, folders: pytest.TempPathFactory) -> Any:
    return ours() if whose == "ours" else official(product, folders.mktemp(product))
