"""The contract tests on a profile: a process of their own takes embedded clouds for real ones."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mcloud.clouds.aws.client import make_client
from mcloud.clouds.gcp.client import make_firestore, make_publisher, make_storage
from mcloud.local.state import State

from .conftest import MADE, live_sites

CONTRACT = [
    str(Path(__file__).with_name(name)) for name in ("test_contract.py", "test_control_contract.py")
]


@pytest.mark.slow
def test_the_sites_of_a_profile_are_tested_and_left_as_they_were(
    embedded: State, tmp_path: Path
) -> None:
    with (tmp_path / "mcloud.toml").open("w") as file:
        for name, resources in embedded.resources().items():
            print(f'[profiles.staging.sites.{name}]\ncloud = "{name}"', file=file)
            for key, value in resources.to_outputs().items():
                print(f'{key} = "{value}"', file=file)
    chosen = "sends_more_than or stores_and_reads_back or puts_once or keeps_documents"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", "-m", "live"),
            *(*CONTRACT, "-k", chosen),
        ],
        cwd=tmp_path,
        env={**os.environ, "MCLOUD_TEST_PROFILE": "staging"},
        capture_output=True,
        text=True,
    )
    assert "8 passed" in done.stdout, done.stdout + done.stderr
    assert left_behind(embedded) == []


def left_behind(state: State) -> list[str]:
    """Return what the tests made and did not delete."""
    aws, gcp = state.resources()["aws"], state.resources()["gcp"]
    clients = [
        make_client(each, aws.region, aws.endpoint_url) for each in ("sqs", "dynamodb", "s3")
    ]
    found = [
        *clients[0].list_queues(QueueNamePrefix=MADE).get("QueueUrls", []),
        *clients[1].list_tables()["TableNames"],
        *(each["Name"] for each in clients[2].list_buckets()["Buckets"]),
        *(
            each.name
            for each in make_publisher(gcp.pubsub_endpoint).list_topics(
                project=f"projects/{gcp.project}"
            )
        ),
        *(each.name for each in make_storage(gcp.project, gcp.storage_endpoint).list_buckets()),
        *(
            each.path
            for each in make_firestore(gcp.project, gcp.database, gcp.firestore_endpoint)
            .collection(MADE)
            .list_documents()
        ),
    ]
    return [each for each in found if MADE in each]


@pytest.mark.parametrize(
    ("profile", "problem"),
    [("staging", "unknown profile 'staging'"), ("prod", "'aws' .* not deployed")],
)
def test_a_profile_that_cannot_be_used_is_reported(
    tmp_path: Path, profile: str, problem: str
) -> None:
    (tmp_path / "mcloud.toml").write_text('[profiles.prod.sites.aws]\ncloud = "aws"\n')
    with pytest.raises(pytest.UsageError, match=f"MCLOUD_TEST_PROFILE={profile}: .*{problem}"):
        live_sites(profile, tmp_path)


def test_without_a_profile_the_live_tests_are_skipped(tmp_path: Path) -> None:
    assert live_sites("", tmp_path) == {}
