"""Rules of Google Cloud that the stand-in provider meets on the server of ``tests/discovery``."""

import itertools

import pytest
from cli.conftest import Terminal
from discovery.apis.iam import DAY
from discovery.google import Google as Cloud
from discovery.names import Json

pytest.importorskip("tf", reason="the stand-in provider needs the PyPI package tf")

from .provider import Google
from .test_deploy_gcp import google, only, served, site

__all__ = ["google", "served", "site"]


def test_the_address_for_alerts_can_be_removed(site: Terminal, google: Google) -> None:
    plain = (site.folder / "mcloud.toml").read_text()
    with_address = plain.replace("variables = { ", 'variables = { alert_email = "a@example.com", ')
    (site.folder / "mcloud.toml").write_text(with_address)
    assert site.run("deploy", "--yes").returncode == 0
    assert channels_of_policies(google) == channels(google) != set()
    (site.folder / "mcloud.toml").write_text(plain)
    removed = site.run("deploy", "--yes")
    assert removed.returncode == 0, removed.stderr
    assert channels_of_policies(google) == channels(google) == set()
    assert only(site.run("plan", "-o", "json"))["plan"]["changes"] == []


def test_a_dashboard_is_the_same_in_the_next_plan(site: Terminal, google: Google) -> None:
    assert site.run("deploy", "--yes").returncode == 0
    assert only(site.run("plan", "-o", "json"))["plan"]["changes"] == []
    (dashboard,) = stored(google, "monitoring", "dashboards")
    dashboard["displayName"] = "changed by hand"
    (drifted,) = only(site.run("plan", "-o", "json"))["plan"]["drift"]
    assert drifted["address"] == "google_monitoring_dashboard.this"


@pytest.mark.parametrize("days", [1, 8, 38])
def test_a_stack_is_made_again_after_some_days(days: int, site: Terminal, google: Google) -> None:
    """A deleted role can be restored for 7 days, and its id is reserved until the 37th day."""
    now = 0.0
    cloud_of(google).settings.clock = lambda: now
    assert site.run("deploy", "--yes").returncode == 0
    assert site.run("destroy", "--yes", "--confirm", "mcloud").returncode == 0
    now = days * DAY
    again = site.run("deploy", "--yes")
    assert again.returncode == 0, again.stderr


def test_the_second_function_can_be_switched_off_and_on(site: Terminal, google: Google) -> None:
    now = itertools.count(step=int(8 * DAY))  # the role of the function cannot be restored
    cloud_of(google).settings.clock = lambda: float(next(now))
    plain = (site.folder / "mcloud.toml").read_text()
    without = plain.replace("variables = { ", "variables = { anomalies = false, ")
    for text in (plain, without, plain):
        (site.folder / "mcloud.toml").write_text(text)
        done = site.run("deploy", "--yes")
        assert done.returncode == 0, done.stderr


def cloud_of(google: Google) -> Cloud:
    assert google.cloud
    return google.cloud


def channels(google: Google) -> set[str]:
    return {channel["name"] for channel in stored(google, "monitoring", "notificationChannels")}


def channels_of_policies(google: Google) -> set[str]:
    policies = stored(google, "monitoring", "alertPolicies")
    return {name for policy in policies for name in policy.get("notificationChannels", [])}


def stored(google: Google, api: str, collection: str) -> list[Json]:
    """Return the resources of a collection."""
    return [
        resource
        for (owner, name), resource in cloud_of(google).cloud.store.items()
        if owner == api and name.split("/")[-2] == collection
    ]
