"""Google's own system tests of its clients, on our services and on Google's emulators.

``MCLOUD_TEST_GOOGLE_SUITES`` names a folder with a checkout of each client and with ``venv``, an
environment that has the clients and what their tests need.
"""

import json
import os
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from xml.etree import ElementTree

import pytest

from .emulators import Running, official, ours

FOLDER = Path(os.environ.get("MCLOUD_TEST_GOOGLE_SUITES", ""))
SECONDS = 1800.0  # for one suite on one server

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(
        not FOLDER.name, reason="MCLOUD_TEST_GOOGLE_SUITES does not name a folder with the suites"
    ),
]


@pytest.mark.parametrize("suite", ["test_system.py", "test_system_async.py"])
def test_googles_suite_for_firestore_passes(suite: str, tmp_path: Path) -> None:
    file = FOLDER / "python-firestore" / "tests" / "system" / suite
    assert passed_on_emulator_only(file, "firestore", tmp_path) == set()


def test_googles_suite_for_pubsub_passes(tmp_path: Path) -> None:
    file = FOLDER / "python-pubsub" / "tests" / "system.py"
    assert passed_on_emulator_only(file, "pubsub", tmp_path) == set()


REFUSED = {
    *("test_create_topic_with_kinesis_ingestion", "test_create_topic_with_cloud_storage_ingestion"),
    *(
        "test_create_topic_with_aws_msk_ingestion",
        "test_create_topic_with_confluent_cloud_ingestion",
    ),
    *("test_create_topic_with_azure_event_hubs_ingestion", "test_update_topic_type"),
    *("test_create_with_smt", "test_create_subscription_with_smt"),
    "test_create_push_no_wrapper_subscription",
}
"""Samples for ingestion, transforms and unwrapped pushes. Google's emulator stores these settings,
and ingests and transforms nothing; the embedded Pub/Sub refuses them."""


@pytest.mark.parametrize("suite", ["publisher_test.py", "schema_test.py", "subscriber_test.py"])
def test_pubsub_samples(suite: str, tmp_path: Path) -> None:
    file = FOLDER / "python-pubsub" / "samples" / "snippets" / suite
    assert passed_on_emulator_only(file, "pubsub", tmp_path) <= REFUSED


def passed_on_emulator_only(suite: Path, product: str, folder: Path) -> set[str]:
    """Return the tests that pass on Google's emulator and not on ours."""
    servers: list[Callable[[], AbstractContextManager[Running]]] = [
        lambda: official(product, folder),
        ours,
    ]
    theirs, ours_passed = (passed(suite, product, server, folder) for server in servers)
    assert theirs, "no test passes on Google's emulator"
    return theirs - ours_passed


def passed(
    suite: Path,
    product: str,
    server: Callable[[], AbstractContextManager[Running]],
    folder: Path,
) -> set[str]:
    """Run a suite, and return the names of the tests that pass."""
    report, nobody = folder / "report.xml", folder / "nobody.json"
    # The tests want default credentials, which nothing asks of an emulator.
    unused = {"client_id": "unused", "client_secret": "unused", "refresh_token": "unused"}
    nobody.write_text(json.dumps({"type": "authorized_user", **unused}))
    with server() as running:
        environment = {
            **os.environ,
            f"{product.upper()}_EMULATOR_HOST": running.host,
            "GOOGLE_CLOUD_PROJECT": "suite",
            "GCLOUD_PROJECT": "suite",
            "GOOGLE_APPLICATION_CREDENTIALS": str(nobody),
        }
        python = str(FOLDER.resolve() / "venv" / "bin" / "python")
        command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", suite.name]
        subprocess.run(
            [*command, f"--junitxml={report}"],
            cwd=suite.parent,
            env=environment,
            timeout=SECONDS,
            stdout=subprocess.DEVNULL,
        )
    cases = ElementTree.parse(report).iter("testcase")
    return {str(case.get("name")) for case in cases if len(case) == 0}
