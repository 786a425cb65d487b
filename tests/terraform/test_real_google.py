"""The whole life of a stack on Google Cloud, with Google's real Terraform provider.

The provider is in a mirror that ``MCLOUD_TEST_PROVIDERS`` names; each of its versions is tested. It
sends its requests to the server of ``tests/discovery``. Queue, store and function of the embedded
Google Cloud answer the smoke probe, as in ``test_deploy_gcp``.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.conftest import Terminal
from discovery.apis.firestore import REUSE
from discovery.cloud import Settings
from discovery.failures import Failure
from discovery.google import Google
from discovery.server import Server, serving

from mcloud.local.state import State

from .module import mirror_settings, provider_versions, terraform
from .test_deploy_gcp import copy_of_mcloud, describe, only
from .test_foundation import without_embedded_queue

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(3600)]

PROJECT = "mcloud-local"
FUNCTION = "google_cloudfunctions2_function"


@pytest.fixture(params=provider_versions() or ["7.45.0"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    settings = Settings(projects={PROJECT: "123456789012"}, quota_project_apis=("billingbudgets",))
    google = Google(settings)
    with serving(tmp_path / "google", google) as running:
        yield running


@pytest.fixture
def site(tmp_path: Path, embedded: State, server: Server, version: str) -> Terminal:
    """A command line with a site that the real provider deploys on the server."""
    terraform()
    terminal = Terminal(tmp_path, tmp_path / "state")
    terminal.environment |= {
        **server.environment(),
        "MCLOUD_PROFILE": "prod",
        "TF_CLI_CONFIG_FILE": mirror_settings(tmp_path, version),
    }
    set_variables(terminal, embedded)
    return terminal


def set_variables(site: Terminal, embedded: State, **variables: object) -> None:
    """Write mcloud.toml with other variables of the module."""
    describe(site.folder, embedded)
    document = site.folder / "mcloud.toml"
    more = "".join(f", {name} = {toml(value)}" for name, value in variables.items())
    text = document.read_text()
    document.write_text(text.replace('database = "(default)"', f'database = "(default)"{more}'))


def toml(value: object) -> str:
    """Return a value in the syntax of an inline table."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {toml(each)}" for name, each in value.items()) + " }"
    return json.dumps(value)


CHANGES: list[dict[str, object]] = [
    {"labels": {"team": "desk"}},
    {"function_timeout": 90, "function_memory": 1024},
    {"function_concurrency": 20, "min_instances": 1},
    {"deliveries": 10, "backup_retention": 14},
    {"trusted_principals": ["group:traders@example.com"]},
    {"max_message_age": 600, "max_silence": 900},
    {"monthly_budget": 50, "billing_account": "012345-6789AB-CDEF01"},
    {"anomaly_schedule": "*/5 * * * *", "alert_email": "ops@example.com"},
    {"anomalies": False},
    {"compaction_schedule": "20 */2 * * *"},
    {"compaction": False},
    {"deletion_protection": False},
    {},
]
"""Variables of the module, changed one after another in the same stack."""


def test_the_life_of_a_stack(
    site: Terminal, server: Server, embedded: State, tmp_path: Path
) -> None:
    google = server.google
    assert doctor(site) == {"deployment": "warning", "APIs": "fault"}
    google.cloud.enabled[PROJECT, "cloudresourcemanager.googleapis.com"] = 0
    assert doctor(site) == {"deployment": "warning"}
    first = site.run("plan", "-o", "json")
    assert first.returncode == 0, first.stderr
    total = only(first)["plan"]["counts"]["create"]
    assert total > 50
    deployed = deploy(site, server)
    assert only(deployed)["done"] == total
    assert set(only(deployed)["services"].values()) == {"up"}
    assert_no_changes(site)

    # Each setting is changed in place: nothing that holds data is replaced.
    for variables in CHANGES:
        set_variables(site, embedded, **variables)
        changes = only(deploy(site, server))["plan"]["changes"]
        assert changes, variables
        assert [each["address"] for each in changes if each["loses"]] == [], variables
        assert_no_changes(site)

    # Somebody changes a resource by hand.
    name = f"projects/{PROJECT}/subscriptions/mcloud-trades-processor"
    google.cloud.store["pubsub", name]["ackDeadlineSeconds"] = 11
    (drifted,) = only(site.run("plan", "-o", "json"))["plan"]["drift"]
    assert drifted["address"] == "google_pubsub_subscription.processor"
    deploy(site, server)
    assert google.cloud.store["pubsub", name]["ackDeadlineSeconds"] != 11

    # A new bundle is built. A build that fails is repeated in place by the next deployment.
    upgraded = copy_of_mcloud(tmp_path / "upgraded")
    with (upgraded / "functions" / "gcp" / "main.py").open("a") as main:
        main.write("# other code\n")
    google.failures = [
        Failure(
            "cloudfunctions.projects.locations.functions.patch",
            operation={"code": 3, "message": "Build failed with status: FAILURE."},
        )
    ]
    failed = site.run("deploy", "--yes", PYTHONPATH=str(upgraded))
    assert failed.returncode == 1
    assert "Build failed with status: FAILURE" in failed.stderr
    google.failures = []
    retried = only(deploy(site, server, PYTHONPATH=str(upgraded)))["plan"]["changes"]
    assert {each["action"] for each in retried if each["kind"] == FUNCTION} == {"change"}
    replaced = [each["address"] for each in retried if each["action"] == "replace"]
    assert replaced == ["terraform_data.build"]
    assert_no_changes(site, PYTHONPATH=str(upgraded))
    assert {state_of(google, name) for name in functions(google)} == {"ACTIVE"}

    # A destroy that is not confirmed changes nothing.
    before = set(google.cloud.store)
    kept = site.run("destroy", "--yes")
    assert kept.returncode == 2
    assert set(google.cloud.store) == before
    destroyed = site.run("destroy", "--yes", "--confirm", "mcloud")
    assert destroyed.returncode == 0, destroyed.stderr
    assert left(google) == {"iam roles"}

    # The name of the database is refused for five seconds more, which the deployment waits for.
    deleted = google.cloud.deleted["firestore", f"projects/{PROJECT}/databases/(default)"]
    google.log.clear()
    google.settings.clock = lambda: deleted + REUSE - (0 if is_refused(google) else 5)
    remade = site.run("deploy", "--yes")
    assert remade.returncode == 0, remade.stderr
    assert "waiting for" in remade.stderr
    assert is_refused(google)
    assert_no_changes(site)


def is_refused(google: Google) -> bool:
    """Return whether the creation of a database was refused."""
    return any(entry.method.endswith("databases.create") for entry in google.refused())


def test_a_new_project_needs_one_deployment(
    site: Terminal, server: Server, embedded: State
) -> None:
    """All APIs are disabled at first, and answer some time after they were enabled.

    Nothing that is refused for that is tried: mcloud waits before it.
    """
    google = server.google
    google.settings.enforce_services, google.settings.activation_lag = True, 20
    google.settings.requires_agents = True
    google.cloud.enabled[PROJECT, "cloudresourcemanager.googleapis.com"] = 0
    without_embedded_queue(site)
    with site.start("deploy", "--yes", "-o", "json") as process:
        out, err = process.communicate(timeout=1800)
    assert json.loads(out)["sites"]["gcp"]["result"] == "deployed", err
    assert err.count("gcp: waiting for") == 2
    # The provider ignores the answers of these two, which no site needs.
    assert {each.request.api for each in google.refused() if each.status == 403} <= {
        "cloudbilling",
        "compute",
    }
    set_variables(site, embedded)
    assert_no_changes(site)


def test_a_token_that_expires_in_the_middle(site: Terminal, server: Server) -> None:
    expired = Failure(
        "pubsub.projects.topics.create",
        status=401,
        times=1,
        message="Request had invalid authentication credentials. Expected OAuth 2 access token,"
        " login cookie or other valid authentication credential.",
        reason="ACCESS_TOKEN_EXPIRED",
        service="pubsub.googleapis.com",
    )
    server.google.failures = [expired]
    deploy(site, server)
    assert expired.used == 1
    assert_no_changes(site)


def test_deletion_protection_stops_terraform_itself(site: Terminal, server: Server) -> None:
    """A destroy without mcloud deletes nothing while protection is on."""
    deploy(site, server)
    before = set(server.google.cloud.store)
    folder = Path(site.environment["MCLOUD_STATE"]) / "terraform" / "prod" / "gcp"
    destroyed = subprocess.run(
        (terraform(), "destroy", "-auto-approve", "-input=false"),
        cwd=folder,
        env=site.environment,
        capture_output=True,
        text=True,
    )
    assert destroyed.returncode == 1
    assert "deletion_protection is on" in destroyed.stdout + destroyed.stderr
    assert set(server.google.cloud.store) == before


def doctor(site: Terminal) -> dict[str, str]:
    """Return the checks of the site that are not ok, with their states."""
    checks = json.loads(site.run("doctor", "-o", "json").stdout)["checks"]
    return {
        check["subject"]: check["state"]
        for check in checks
        if check["site"] == "gcp" and check["state"] != "ok"
    }


def deploy(site: Terminal, server: Server, **environment: str) -> subprocess.CompletedProcess[str]:
    """Deploy, and fail with what the server refused."""
    done = site.run("deploy", "--yes", "-o", "json", **environment)
    refused = "\n".join(map(str, server.google.refused()[-20:]))
    assert done.returncode == 0, f"{done.stderr}\n{refused}"
    return done


def assert_no_changes(site: Terminal, **environment: str) -> None:
    planned = site.run("plan", "--detailed-exitcode", **environment)
    assert planned.returncode == 0, planned.stdout + planned.stderr


def functions(google: Google) -> list[str]:
    return [name for api, name in google.cloud.store if api == "cloudfunctions"]


def state_of(google: Google, function: str) -> str:
    return str(google.cloud.store["cloudfunctions", function]["state"])


def left(google: Google) -> set[str]:
    """Return the collections that are not empty."""
    return {f"{api} {name.split('/')[-2]}" for api, name in google.cloud.store}
