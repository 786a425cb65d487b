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
    clients = ("nodejs-firestore", "python-firestore", "python-pubsub")
    assert fetched.keys() == {f"suites/{client}" for client in clients}
    assert all(re.fullmatch("[0-9a-f]{40}", commit) for commit in fetched.values())
    assert suites["steps"][-1]["run"].endswith("tests/conformance/test_foreign_suites.py")


def test_the_client_for_node_is_compiled_with_the_node_that_is_set_up() -> None:
    steps = job("suites", "nightly")["steps"]
    uses = [step.get("uses", "").partition("@")[0] for step in steps]
    compiled = [step.get("working-directory") for step in steps].index("suites/nodejs-firestore")
    assert uses.index("actions/setup-node") < compiled
    assert steps[compiled]["run"].startswith("npm install")


REPOSITORY = "OWNER/REPOSITORY"


def subjects(name: str) -> set[str]:
    """Return the subjects of a job's tokens on a push to main and in a pull request.

    https://docs.github.com/actions/reference/security/oidc#example-subject-claims
    """
    described = job(name)
    if "environment" in described:
        return {f"repo:{REPOSITORY}:environment:{described['environment']}"}
    events = yaml.safe_load((FOLDER / "deploy.yml").read_text())[True]  # `on`, in YAML 1.1
    (branch,) = events["push"]["branches"]
    assert "pull_request" in events
    return {f"repo:{REPOSITORY}:ref:refs/heads/{branch}", f"repo:{REPOSITORY}:pull_request"}


def explained(variable: str) -> str:
    """Return what the comment of the workflow says about a variable of the repository."""
    lines = [line.removeprefix("#") for line in (FOLDER / "deploy.yml").read_text().splitlines()]
    (start,) = (n for n, line in enumerate(lines) if re.match(rf" +{variable}\b", line))
    end = start + 1
    while re.match(" {20}", lines[end]):
        end += 1
    return " ".join(" ".join(lines[start:end]).split())


def test_googles_pool_admits_the_jobs_of_this_repository_and_nobody_else() -> None:
    text = explained("GCP_WORKLOAD_IDENTITY_PROVIDER")
    found = re.search(r'assertion\.repository == "([^"]+)" && assertion\.sub in \[([^]]+)\]', text)
    assert found
    assert found[1] == REPOSITORY
    admitted = re.findall(r'"([^"]+)"', found[2])
    assert set(admitted) == subjects("plan") | subjects("deploy")
    # What the comment calls the first two subjects, and the last one.
    assert set(admitted[:2]) == subjects("plan")
    assert set(admitted[2:]) == subjects("deploy")


def test_roles_on_aws_trust_one_job_each() -> None:
    text = explained("AWS_PLAN_ROLE")
    before, _, after = text.partition(", the second")
    assert set(re.findall(r'"(repo:[^"]+)"', before)) == subjects("plan")
    assert set(re.findall(r'"(repo:[^"]+)"', after)) == subjects("deploy")


@pytest.mark.parametrize("name", ["plan", "deploy"])
def test_each_job_uses_its_own_accounts(name: str) -> None:
    given = [step.get("with", {}) for step in job(name)["steps"]]
    used = [
        each[key] for key in ("role-to-assume", "service_account") for each in given if key in each
    ]
    assert used == [
        f"${{{{ vars.AWS_{name.upper()}_ROLE }}}}",
        f"${{{{ vars.GCP_{name.upper()}_SERVICE_ACCOUNT }}}}",
    ]


def test_the_accounts_have_the_roles_that_mcloud_prints() -> None:
    commands_ = ("mcloud permissions SITE --role planner", "mcloud permissions SITE")
    assert all(f"`{each}`" in explained("AWS_PLAN_ROLE") for each in commands_)
    accounts = explained("GCP_PLAN_SERVICE_ACCOUNT")
    assert "each has the custom role that the same commands print" in accounts
    guide = (FOLDER.parents[1] / "docs" / "guide" / "deploy.md").read_text()
    assert "docs/guide/deploy.md" in accounts
    for granted in ("state in Cloud Storage", "`billing_account`", "`billing_dataset`"):
        assert re.search(rf"{granted}.*\| `roles/", guide), granted
