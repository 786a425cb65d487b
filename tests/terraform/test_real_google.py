"""The whole life of a stack on Google Cloud, with Google's real Terraform provider.

The provider is in a mirror that ``MCLOUD_TEST_PROVIDERS`` names; each of its versions is tested. It
sends its requests to the server of ``tests/discovery``. Queue, store and function of the embedded
Google Cloud answer the smoke probe, as in ``test_deploy_gcp``.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.conftest import Terminal
from discovery.cloud import Settings
from discovery.google import Google
from discovery.server import Server, serving

from mcloud.local.state import State

from .module import terraform
from .test_deploy_gcp import describe, only

pytestmark = pytest.mark.nightly

PROVIDER = "registry.terraform.io/hashicorp/google"
PROJECT = "mcloud-local"


def versions() -> list[str]:
    """Return the versions of the provider in the mirror."""
    mirror = os.environ.get("MCLOUD_TEST_PROVIDERS")
    return sorted(each.name for each in Path(mirror, PROVIDER).iterdir()) if mirror else []


@pytest.fixture(params=versions() or [None])
def version(request: pytest.FixtureRequest) -> str:
    if request.param is None:
        pytest.skip("no mirror with hashicorp/google; name one in MCLOUD_TEST_PROVIDERS")
    return str(request.param)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    google = Google(Settings(projects={PROJECT: "123456789012"}, polls=1))
    with serving(tmp_path / "google", google) as running:
        yield running


@pytest.fixture
def site(tmp_path: Path, embedded: State, server: Server, version: str) -> Terminal:
    """A command line with a site that the real provider deploys on the server."""
    terraform()
    terminal = Terminal(tmp_path, tmp_path / "state")
    settings = tmp_path / "mirror.tfrc"
    only_one = tmp_path / "mirror" / PROVIDER / version
    only_one.mkdir(parents=True)
    for platform in Path(os.environ["MCLOUD_TEST_PROVIDERS"], PROVIDER, version).iterdir():
        (only_one / platform.name).symlink_to(platform)
    settings.write_text(
        f'provider_installation {{\n  filesystem_mirror {{ path = "{tmp_path / "mirror"}" }}\n}}\n'
    )
    terminal.environment |= {
        **server.environment(),
        "MCLOUD_PROFILE": "prod",
        "TF_CLI_CONFIG_FILE": str(settings),
    }
    set_variables(terminal, embedded)
    return terminal


def set_variables(site: Terminal, embedded: State, **variables: object) -> None:
    """Write mcloud.toml with other variables of the module."""
    describe(site.folder, embedded)
    document = site.folder / "mcloud.toml"
    more = "".join(f", {name} = {json.dumps(value)}" for name, value in variables.items())
    text = document.read_text()
    document.write_text(text.replace('database = "(default)"', f'database = "(default)"{more}'))


def test_the_life_of_a_stack(site: Terminal, server: Server, embedded: State) -> None:
    google = server.google
    first = site.run("plan", "-o", "json")
    assert first.returncode == 0, first.stderr
    total = only(first)["plan"]["counts"]["create"]
    assert total > 50
    deployed = site.run("deploy", "--yes", "-o", "json")
    assert deployed.returncode == 0, deployed.stderr + "\n".join(map(str, google.refused()))
    assert only(deployed)["done"] == total
    assert set(only(deployed)["services"].values()) == {"up"}
    again = site.run("plan", "--detailed-exitcode")
    assert again.returncode == 0, again.stdout
