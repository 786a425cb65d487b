"""Google's own system tests of its clients, on our services and on Google's emulators.

``MCLOUD_TEST_GOOGLE_SUITES`` names a folder with a checkout of each client and with ``venv``, an
environment that has the Python clients and what their tests need. The client for Node.js is
compiled in its checkout.
"""

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from xml.etree import ElementTree

import pytest

from .emulators import Running, official, ours

FOLDER = Path(os.environ.get("MCLOUD_TEST_GOOGLE_SUITES", ""))
NODE = FOLDER.resolve() / "nodejs-firestore"
MOCHA = NODE / "node_modules" / ".bin" / "mocha"
SECONDS = 1800.0  # for one suite on one server

Suite = Callable[[Mapping[str, str], Path], set[str]]
"""Runs a suite with environment variables and a folder for its report, and returns the names of the
tests that pass."""

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.timeout(2 * SECONDS + 120),
    pytest.mark.skipif(
        not FOLDER.name, reason="MCLOUD_TEST_GOOGLE_SUITES does not name a folder with the suites"
    ),
]


@pytest.mark.parametrize("suite", ["test_system.py", "test_system_async.py"])
def test_googles_suite_for_firestore_passes(suite: str, tmp_path: Path) -> None:
    file = FOLDER / "python-firestore" / "tests" / "system" / suite
    assert passed_on_emulator_only(python_suite(file), "firestore", tmp_path) == set()


@pytest.mark.skipif(
    not (NODE / "build" / "system-test").is_dir() or not MOCHA.exists(),
    reason=f"{NODE} is not installed and compiled",
)
def test_googles_suite_of_node_for_firestore_passes(tmp_path: Path) -> None:
    assert passed_on_emulator_only(node_suite, "firestore", tmp_path) == set()


def test_googles_suite_for_pubsub_passes(tmp_path: Path) -> None:
    file = FOLDER / "python-pubsub" / "tests" / "system.py"
    assert passed_on_emulator_only(python_suite(file), "pubsub", tmp_path) == set()


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
    assert passed_on_emulator_only(python_suite(file), "pubsub", tmp_path) <= REFUSED


def passed_on_emulator_only(suite: Suite, product: str, folder: Path) -> set[str]:
    """Return the tests that pass on Google's emulator and not on ours."""
    servers: list[Callable[[], AbstractContextManager[Running]]] = [
        lambda: official(product, folder),
        ours,
    ]
    theirs, ours_passed = (passed(suite, product, server, folder) for server in servers)
    print(f"{len(theirs)} tests pass on Google's emulator, {len(ours_passed)} on ours")
    assert theirs, "no test passes on Google's emulator"
    return theirs - ours_passed


def passed(
    suite: Suite,
    product: str,
    server: Callable[[], AbstractContextManager[Running]],
    folder: Path,
) -> set[str]:
    """Run a suite on a server, and return the names of the tests that pass."""
    nobody = folder / "nobody.json"
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
        return suite(environment, folder)


def python_suite(file: Path) -> Suite:
    def run(environment: Mapping[str, str], folder: Path) -> set[str]:
        report = folder / "report.xml"
        python = str(FOLDER.resolve() / "venv" / "bin" / "python")
        command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", file.name]
        subprocess.run(
            [*command, f"--junitxml={report}"],
            cwd=file.parent,
            env=environment,
            timeout=SECONDS,
            stdout=subprocess.DEVNULL,
        )
        cases = ElementTree.parse(report).iter("testcase")
        return {str(case.get("name")) for case in cases if len(case) == 0}

    return run


def node_suite(environment: Mapping[str, str], folder: Path) -> set[str]:
    report = folder / "report.json"
    command = [str(MOCHA), "build/system-test", "--exit", "--timeout", "15000"]
    subprocess.run(
        [*command, "--reporter", "json", "--reporter-option", f"output={report}"],
        cwd=NODE,
        env=environment,
        timeout=SECONDS,
        stdout=subprocess.DEVNULL,
    )
    return {str(case["fullTitle"]) for case in json.loads(report.read_text())["passes"]}
