"""``mcloud failover``, ``guard`` and ``drill``, in cases where nothing is moved."""

import json

import pytest

from mcloud.clouds.factory import open_site
from mcloud.local.state import State

from .conftest import Terminal


def test_a_dry_run_changes_nothing(mcloud_up: Terminal, embedded: State) -> None:
    sites = [open_site(name, each) for name, each in embedded.resources().items()]
    before = [site.control.record() for site in sites]
    done = mcloud_up.run("failover", "gcp", "--dry-run", "-o", "json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["would_move"] is True
    checks = {each["check"]: each["state"] for each in told["checks"]}
    for name in ("health queue", "health function", "health candles", "health archive", "canary"):
        assert checks[name] == "ok"
    assert told["estimate"]["seconds"] > 0
    assert [site.control.record() for site in sites] == before


def test_without_a_terminal_and_yes_nothing_is_done(mcloud_up: Terminal, embedded: State) -> None:
    done = mcloud_up.run("failover", "gcp")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "error: cannot ask without a terminal: make gcp the primary?; use --yes"
    )


def test_guards_pause_and_resume_with_entries_in_the_audit_log(mcloud_up: Terminal) -> None:
    paused = mcloud_up.run("guard", "pause", "--why", "a test", "-o", "json")
    resumed = mcloud_up.run("guard", "resume", "-o", "json")
    assert (paused.returncode, resumed.returncode) == (0, 0), paused.stderr + resumed.stderr
    assert json.loads(paused.stdout)["paused"] is True
    assert json.loads(resumed.stdout)["paused"] is False
    log = json.loads(mcloud_up.run("failover", "--history", "-o", "json").stdout)
    assert [each["step"] for each in log[-2:]] == ["guard pause", "guard resume"]
    assert log[-2]["why"] == "a test"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["failover"], "the name of the site is missing"),
        (["failover", "azure"], "unknown site 'azure'; choose from aws, gcp"),
        (
            ["failover", "gcp", "--force", "luck"],
            "unknown check 'luck'; choose from health, canary",
        ),
        (["drill", "--scenario", "flood"], "unknown scenario 'flood'; choose from cloud-outage"),
    ],
)
def test_unknown_names_are_refused(mcloud_up: Terminal, arguments: list[str], words: str) -> None:
    done = mcloud_up.run(*arguments)
    assert done.returncode == 2
    assert f"error: {words}" in done.stderr


def test_explain_needs_a_guard_that_has_run(mcloud: Terminal) -> None:
    done = mcloud.run("guard", "explain")
    assert done.returncode == 1
    assert done.stderr == (
        "error: no guard called 'guard' has run here; `mcloud guard run` starts one\n"
    )


def test_settings_that_cannot_work_are_refused(mcloud: Terminal) -> None:
    (mcloud.folder / "mcloud.toml").write_text("[guard]\ninterval = 60\n")
    done = mcloud.run("guard", "run")
    assert done.returncode == 2
    assert "an outage takes up to 62.4 s to find" in done.stderr
