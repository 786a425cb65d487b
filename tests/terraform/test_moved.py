"""A stack whose state has the addresses of an earlier version of the module."""

import json

import pytest
from cli.conftest import Terminal

pytest.importorskip("tf", reason="the stand-in provider needs the PyPI package tf")

from .module import Module, terraform
from .test_deploy_gcp import google, served, site, workspace
from .test_foundation import cloud, interrupt_when, without_embedded_queue

__all__ = ["cloud", "google", "served", "site"]


def test_an_earlier_stack_is_not_changed_and_can_be_destroyed(site: Terminal) -> None:
    assert site.run("deploy", "--yes").returncode == 0
    assert module(site).move_back() > 10
    assert site.run("plan", "--detailed-exitcode").returncode == 0
    # The protection of the data stores is removed by a plan of these stores only.
    destroyed = site.run("destroy", "--yes", "--confirm", "mcloud")
    assert destroyed.returncode == 0, destroyed.stderr
    assert "are left" not in destroyed.stderr


@pytest.mark.usefixtures("cloud")
def test_an_earlier_stack_gets_accounts_before_the_rest(site: Terminal) -> None:
    assert site.run("deploy", "--yes").returncode == 0
    assert module(site).move_back() > 10
    # A later version of mcloud adds an account.
    module(site).run("state", "rm", "google_service_account.producer")
    embedded = without_embedded_queue(site)
    interrupt_when(site, "gcp: waiting for the accounts that were just created: 60 s\n")
    state = json.loads((workspace(site) / "terraform.tfstate").read_text())
    assert ("google_service_account", "scheduled") in {
        (each["type"], each["name"]) for each in state["resources"]
    }
    (site.folder / "mcloud.toml").write_text(embedded)
    assert site.run("plan", "--detailed-exitcode").returncode == 0


def module(site: Terminal) -> Module:
    return Module(workspace(site), (terraform(),), dict(site.environment))
