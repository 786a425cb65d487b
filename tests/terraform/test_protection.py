"""Deletion protection stops Terraform before it deletes anything, also without mcloud."""

from pathlib import Path
from typing import Any

import pytest

from .module import Module, gcp_module

GUARD = "terraform_data.protection"
CLOUDS = ("aws", "gcp")


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_guard_depends_on_everything_else(cloud: str, request: pytest.FixtureRequest) -> None:
    configuration = request.getfixturevalue(f"{cloud}_plan")["configuration"]["root_module"]
    uses = {
        each["address"]: set(each.get("depends_on", ())) | set(references(each))
        for each in configuration["resources"]
        if each["mode"] == "managed"
    }
    reached: set[str] = set()
    waiting = {GUARD}
    while waiting:
        address = waiting.pop()
        reached.add(address)
        found = {".".join(name.split(".")[:2]).partition("[")[0] for name in uses[address]}
        waiting |= (found & uses.keys()) - reached
    assert uses.keys() - reached == set()


def test_terraform_alone_deletes_nothing_that_is_protected(
    tmp_path: Path, gcp_everything: dict[str, object]
) -> None:
    module = gcp_module(tmp_path / "gcp")
    module.set(**gcp_everything)
    module.apply()
    before = addresses(module)
    assert refused(module, "destroy") == before
    for change in ({"name": "other"}, {"region": "europe-west1"}, {"database": "other"}):
        module.set(**gcp_everything | change)
        assert refused(module, "apply") == before, change

    # It goes with the variables as they were.
    module.set(**gcp_everything | {"deletion_protection": False})
    module.apply()
    module.run("destroy", "-input=false", "-no-color", "-auto-approve")
    assert module.state() == []


def refused(module: Module, command: str) -> set[str]:
    """Run a command that has to fail at the guard, and return the addresses that are left."""
    said = module.run(command, "-input=false", "-no-color", "-auto-approve", codes=(1,))
    assert "deletion_protection is on" in said
    assert "Destruction complete" not in said
    return addresses(module)


def addresses(module: Module) -> set[str]:
    return {each["address"] for each in module.state()}


def references(value: Any) -> list[str]:
    """Return the addresses in the expressions of a resource."""
    if isinstance(value, dict):
        own = [each for each in value.get("references", ()) if isinstance(each, str)]
        return own + [name for each in value.values() for name in references(each)]
    if isinstance(value, list):
        return [name for each in value for name in references(each)]
    return []
