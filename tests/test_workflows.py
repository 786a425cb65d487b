"""The workflows: what they run is fixed, and what they apply was reviewed."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).parents[1] / ".github" / "workflows"


BY_TAG = "pypa/gh-action-pypi-publish@v"  # its tag chooses the image that it runs


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yml")), ids=lambda path: path.name)
def test_every_action_is_fixed_by_its_commit(path: Path) -> None:
    """A tag may be moved, by its owner or by an attacker who has taken over the account."""
    used = re.findall(r"uses: *(.+)", path.read_text())
    assert used
    for each in used:
        if each.startswith(BY_TAG):
            continue
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each), each


@pytest.mark.parametrize("name", ["ci", "deploy", "release"])
def test_everything_that_is_installed_is_in_the_lock_file(name: str) -> None:
    """The nightly workflow alone takes the newest versions."""
    text = (FOLDER / f"{name}.yml").read_text()
    installed = re.findall(r"pip install (?:--quiet )?(.+)", text)
    assert installed[0] == "--require-hashes -r requirements-dev.txt"
    for each in installed[1:]:
        assert each in {
            "--require-hashes -r requirements-dev.txt",
            "--no-deps --no-build-isolation .",
            "--no-deps dist/*.whl",
        }
    for each in re.findall(r"python -m build(.*)", text):
        assert each == " --no-isolation"


def job(name: str, workflow: str = "deploy") -> dict[str, Any]:
    jobs = yaml.safe_load((FOLDER / f"{workflow}.yml").read_text())["jobs"]
    found: dict[str, Any] = jobs[name]
    return found


def commands(name: str) -> str:
    return "\n".join(step["run"] for step in job(name)["steps"] if "run" in step)


def test_the_plan_that_was_reviewed_is_applied_and_no_other() -> None:
    plan, deploy = job("plan"), job("deploy")
    assert deploy["needs"] == "plan"
    assert deploy["environment"] == "production"  # whose reviewers read the plan
    assert "environment" not in plan
    assert "mcloud plan all --out saved.plan" in commands("plan")
    assert re.findall(r"mcloud deploy .*", commands("deploy")) == [
        "mcloud deploy --plan saved.plan --yes -v"
    ]


def test_the_plan_is_handed_over_encrypted() -> None:
    (upload,) = (s for s in job("plan")["steps"] if "upload-artifact" in s.get("uses", ""))
    assert upload["with"]["path"] == "plan.enc"
    assert "-out plan.enc" in commands("plan")
    assert "-in plan.enc -out saved.plan" in commands("deploy")


def test_both_jobs_have_the_same_terraform() -> None:
    versions = {
        step["with"]["terraform_version"]
        for name in ("plan", "deploy")
        for step in job(name)["steps"]
        if "setup-terraform" in step.get("uses", "")
    }
    assert len(versions) == 1
    assert re.fullmatch(r"\d+\.\d+\.\d+", versions.pop())


def test_googles_suites_run_every_night() -> None:
    suites = job("suites", "nightly")
    folder = suites["env"]["MCLOUD_TEST_GOOGLE_SUITES"]
    assert folder == "${{ github.workspace }}/suites"
    fetched = {
        step["with"]["path"]: step["with"]["ref"]
        for step in suites["steps"]
        if "repository" in step.get("with", {})
    }
    assert fetched.keys() == {"suites/python-firestore", "suites/python-pubsub"}
    assert all(re.fullmatch("[0-9a-f]{40}", commit) for commit in fetched.values())
    assert suites["steps"][-1]["run"].endswith("tests/conformance/test_foreign_suites.py")
