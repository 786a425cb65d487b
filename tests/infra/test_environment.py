"""Variables of the shell that reach Terraform."""

import os

import pytest

from mcloud.errors import UsageError
from mcloud.infra.environment import (
    DROPPED,
    OWN,
    PASSED,
    REFUSED,
    RULES,
    check,
    found,
    reaching_terraform,
    withheld,
)


@pytest.mark.parametrize(
    ("name", "treatment"),
    [
        ("TF_WORKSPACE", REFUSED),
        ("TF_DATA_DIR", DROPPED),
        ("TF_VAR_name", DROPPED),
        ("TF_CLI_ARGS", DROPPED),
        ("TF_CLI_ARGS_plan", DROPPED),
        ("TF_LOG", PASSED),
        ("TF_LOG_PROVIDER", PASSED),
        ("TF_TOKEN_registry_example_com", PASSED),
        ("TF_ENCRYPTION", PASSED),
        ("TF_REATTACH_PROVIDERS", PASSED),
        ("TF_STATE_PERSIST_INTERVAL", PASSED),
        ("TF_AWS_DEFAULT_TAGS_team", PASSED),
        ("TF_FORCE_LOCAL_BACKEND", DROPPED),
        ("TF_OF_A_LATER_VERSION", DROPPED),
    ],
)
def test_the_first_rule_that_matches_decides(name: str, treatment: object) -> None:
    ((_, rule),) = found({name: "x", "PATH": "/bin"})
    assert rule.treatment is treatment
    assert (name in reaching_terraform({name: "x"}) and name not in OWN) == (treatment is PASSED)
    assert withheld({name: "x"}) == ([name] if treatment is DROPPED else [])


def test_variables_of_mcloud_override_the_shell() -> None:
    given = dict.fromkeys(OWN, "something else")
    assert {**reaching_terraform(given), **OWN} == reaching_terraform(given)
    assert reaching_terraform({"PATH": "/bin", "AWS_PROFILE": "a"}) == {
        "PATH": "/bin",
        "AWS_PROFILE": "a",
        **OWN,
    }


@pytest.mark.parametrize("value", ["", "default"])
def test_the_workspace_that_mcloud_uses_is_not_refused(value: str) -> None:
    check({"TF_WORKSPACE": value})
    assert list(found({"TF_WORKSPACE": value})) == []


def test_a_refusal_names_the_variable_and_what_to_do() -> None:
    with pytest.raises(UsageError, match=r"TF_WORKSPACE is set: .*; run `unset TF_WORKSPACE`"):
        check({"TF_WORKSPACE": "dev"})


def test_relative_paths_start_in_the_users_folder() -> None:
    """Relative paths are resolved first, since Terraform runs in another folder."""
    paths = {rule.pattern: "x/y" for rule in RULES if rule.is_path}
    assert len(paths) == 3
    passed = reaching_terraform(paths, "/home/me")
    assert {passed[name] for name in paths} == {"/home/me/x/y"}
    assert reaching_terraform(paths)["TF_LOG_PATH"] == f"{os.getcwd()}/x/y"
