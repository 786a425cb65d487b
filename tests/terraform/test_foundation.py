"""A first deployment creates APIs and accounts before the rest, and waits for Google's servers."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.conftest import Terminal
from discovery.google import Google as Cloud
from discovery.server import serving as serving_google

from mcloud.infra.foundation import ACCOUNTS, APIS, created
from mcloud.infra.plan import parse

pytest.importorskip("tf", reason="the stand-in provider needs the PyPI package tf")

from patience import PATIENCE

from .provider import Google
from .test_deploy_gcp import google, read_until, served, site, workspace

__all__ = ["google", "served", "site"]

AGENT = "service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com"


@pytest.fixture
def cloud(tmp_path: Path, google: Google, site: Terminal) -> Iterator[Cloud]:
    """The cloud of the stand-in provider, as a server for the command line."""
    assert google.cloud
    google.cloud.settings.projects["mcloud-local"] = "123456789012"
    with serving_google(tmp_path / "google", google.cloud) as server:
        site.environment |= server.environment()
        yield google.cloud


def test_a_first_deployment_waits_for_apis_and_then_for_accounts(
    site: Terminal, cloud: Cloud
) -> None:
    embedded = without_embedded_queue(site)

    interrupt_when(site, "gcp: waiting for the APIs that were just enabled: 60 s\n")
    assert kinds(site) == {"google_project_service"}
    assert cloud.cloud.agents == {AGENT}

    # The APIs are known by now. The account that builds the functions has its permissions.
    interrupt_when(site, "gcp: waiting for the accounts that were just created: 60 s\n")
    made = {each["name"] for each in managed(site) if each["type"] == "google_service_account"}
    assert {"builder", "processor", "producer"} <= made
    assert "google_cloudfunctions2_function" not in kinds(site)
    assert "google_artifact_registry_repository_iam_member" in kinds(site)

    # Nothing of the foundation is new, so there is nothing to wait for.
    done = site.run("deploy", "--yes")
    assert "waiting for" not in done.stderr
    assert "google_cloudfunctions2_function" in kinds(site)
    (site.folder / "mcloud.toml").write_text(embedded)
    assert site.run("plan", "--detailed-exitcode").returncode == 0


def test_an_embedded_site_has_nothing_to_wait_for(site: Terminal, cloud: Cloud) -> None:
    done = site.run("deploy", "--yes")
    assert done.returncode == 0, done.stderr
    assert "waiting for" not in done.stderr
    assert cloud.cloud.agents == set()


def test_every_part_of_the_foundation_is_in_the_module(gcp_plan: dict[str, object]) -> None:
    plan = parse(gcp_plan)
    for part in (*APIS, *ACCOUNTS):
        assert created(plan, (part,)), part


def without_embedded_queue(site: Terminal) -> str:
    """Remove the embedded Pub/Sub from mcloud.toml. Return the earlier text."""
    document = site.folder / "mcloud.toml"
    text = document.read_text()
    lines = text.splitlines(keepends=True)
    document.write_text("".join(line for line in lines if "pubsub_endpoint" not in line))
    return text


def interrupt_when(site: Terminal, words: str) -> None:
    """Deploy, and stop when it says something."""
    process = site.start("deploy", "--yes")
    assert read_until(process, words.strip()).endswith(words)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err


def managed(site: Terminal) -> list[dict[str, str]]:
    """Return the resources in the state that exist in the cloud."""
    state = json.loads((workspace(site) / "terraform.tfstate").read_text())
    return [
        each
        for each in state["resources"]
        if each["mode"] == "managed" and each["type"] != "terraform_data"
    ]


def kinds(site: Terminal) -> set[str]:
    return {each["type"] for each in managed(site)}
