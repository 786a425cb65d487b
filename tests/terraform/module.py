"""A Terraform module in its own folder, in which terraform can be run."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from mcloud.infra.bundle import shipped

TESTS = Path(__file__).parent
GOOGLE = "registry.terraform.io/hashicorp/google"
MOVED = re.compile(r"^moved {\n\s*from\s*=\s*(\S+)\n\s*to\s*=\s*(\S+)\n}$", re.MULTILINE)


@dataclass(frozen=True)
class Module:
    """An initialised copy of ``terraform/<cloud>``."""

    folder: Path
    command: tuple[str, ...]
    environment: dict[str, str]

    def run(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> str:
        """Run terraform and return its output. Fails if terraform exits with another code."""
        run = subprocess.run(
            (*self.command, *arguments),
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert run.returncode in codes, f"terraform {arguments}: {run.returncode}\n{run.stdout}"
        return run.stdout

    def set(self, **variables: object) -> None:
        """Set the variables of all later runs."""
        (self.folder / "terraform.tfvars.json").write_text(json.dumps(variables))

    def plan(self, **variables: object) -> dict[str, Any]:
        """Return the output of ``terraform show -json`` for a plan with these variables."""
        self.set(**variables)
        self.run("plan", "-input=false", "-no-color", "-out=plan.tfplan")
        plan: dict[str, Any] = json.loads(self.run("show", "-json", "plan.tfplan"))
        return plan

    def apply(self) -> None:
        """Apply with the current variables."""
        self.run("apply", "-input=false", "-no-color", "-auto-approve")

    def changes(self, *options: str) -> dict[str, list[str]]:
        """Plan again with the current variables, and return the actions for each address that
        changes."""
        self.run("plan", "-input=false", "-no-color", "-out=plan.tfplan", *options)
        plan = json.loads(self.run("show", "-json", "plan.tfplan"))
        actions = {
            change["address"]: change["change"]["actions"] for change in plan["resource_changes"]
        }
        return {address: todo for address, todo in actions.items() if todo != ["no-op"]}

    def move_back(self) -> int:
        """Give all resources in the state their earliest addresses. Return their number."""
        found = MOVED.findall((self.folder / "moved.tf").read_text())
        there = set(self.run("state", "list").splitlines())
        moves = [(before, now) for before, now in found if now in there]
        for before, now in moves:
            self.run("state", "mv", now, before)
        return len(moves)

    def outputs(self) -> dict[str, Any]:
        outputs = json.loads(self.run("output", "-json"))
        return {name: output["value"] for name, output in outputs.items()}

    def state(self) -> list[dict[str, Any]]:
        """Return every existing resource in the format of ``resources``."""
        return resources(json.loads(self.run("show", "-json")).get("values", {}))


def aws_module(folder: Path, endpoint_url: str) -> Module:
    """Return the AWS module with the real provider, which connects to ``endpoint_url``.

    Skips if terraform or the provider is missing.
    """
    environment = {
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    return _module("aws", folder, (terraform(),), environment, f"-plugin-dir={provider_mirror()}")


def gcp_module(folder: Path) -> Module:
    """Return the Google module with the stand-in provider. Skips without terraform or tf."""
    for needed in ("tf", "msgpack"):
        pytest.importorskip(needed, reason=f"the stand-in provider needs the PyPI package {needed}")
    return _module(
        "gcp", folder, (sys.executable, str(TESTS / "google_stub.py"), "--", terraform())
    )


def real_gcp_module(folder: Path, version: str, environment: dict[str, str]) -> Module:
    """Return the Google module with a version of the real provider. Skips without a mirror.

    Args:
        environment: variables with which the provider reaches a server of ``tests/discovery``.
    """
    settings = mirror_settings(folder.parent, version)
    return _module("gcp", folder, (terraform(),), {**environment, "TF_CLI_CONFIG_FILE": settings})


def mirror_settings(folder: Path, version: str) -> str:
    """Return Terraform's settings file for one version of Google's real provider.

    Skips without a mirror.
    """
    if version not in provider_versions():
        pytest.skip(f"no mirror with hashicorp/google {version}; name one in MCLOUD_TEST_PROVIDERS")
    only_one = folder / "mirror" / GOOGLE / version
    only_one.mkdir(parents=True)
    for platform in Path(os.environ["MCLOUD_TEST_PROVIDERS"], GOOGLE, version).iterdir():
        (only_one / platform.name).symlink_to(platform)
    settings = folder / "mirror.tfrc"
    settings.write_text(
        f'provider_installation {{\n  filesystem_mirror {{ path = "{folder / "mirror"}" }}\n}}\n'
    )
    return str(settings)


def provider_versions() -> list[str]:
    """Return the versions of Google's real provider in the mirror."""
    mirror = os.environ.get("MCLOUD_TEST_PROVIDERS")
    return sorted(each.name for each in Path(mirror, GOOGLE).iterdir()) if mirror else []


def resources(values: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the resources in ``planned_values`` of a plan or ``values`` of a state."""
    found: list[dict[str, Any]] = values.get("root_module", {}).get("resources", [])
    return [each for each in found if each["mode"] == "managed"]


def only(
    among: list[dict[str, Any]], kind: str, name: str, index: str | None = None
) -> dict[str, Any]:
    """Return the values of the resource ``kind.name``, or ``kind.name["index"]``."""
    (found,) = [
        each
        for each in among
        if (each["type"], each["name"]) == (kind, name) and index in (None, each.get("index"))
    ]
    values: dict[str, Any] = found["values"]
    return values


def values(among: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Return the values of every resource of a kind."""
    return [each["values"] for each in among if each["type"] == kind]


def terraform() -> str:
    found = shutil.which("terraform")
    if found is None:
        pytest.skip("terraform is not installed")
    return found


@cache
def provider_mirror() -> str:
    """Return a local mirror with hashicorp/aws: TF_PLUGIN_DIR, or another one on this machine."""
    named = os.environ.get("TF_PLUGIN_DIR")
    if named:
        return named
    wanted = "registry.terraform.io/hashicorp/aws"
    # Folders into which other tools downloaded or installed providers are not mirrors. Mirrors that
    # tests make hold no provider, or a script of a few bytes in its place.
    pruned = (
        "( -path /proc -o -name .terraform -o -name site-packages -o -name pytest-of-* ) -prune"
    )
    provider = f"-type f -size +10M -path */{wanted}/*"
    try:
        found = subprocess.run(
            f"find / -xdev {pruned} -o {provider} -print -quit".split(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=60,
        ).stdout.strip()
    except (FileNotFoundError, subprocess.TimeoutExpired):
        found = ""
    if not found:
        pytest.skip("no local mirror of hashicorp/aws; name one in TF_PLUGIN_DIR")
    return found.partition(f"/{wanted}/")[0]


def _module(
    cloud: str,
    folder: Path,
    command: tuple[str, ...],
    environment: dict[str, str] | None = None,
    *init: str,
) -> Module:
    shutil.copytree(shipped("terraform") / cloud, folder, ignore=shutil.ignore_patterns(".*"))
    settings = folder / "empty.tfrc"
    settings.touch()
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TF_", "AWS_", "GOOGLE_", "CLOUDSDK_"))
    }
    own = {
        "TF_CLI_CONFIG_FILE": str(settings),
        "TF_IN_AUTOMATION": "1",
        "CHECKPOINT_DISABLE": "1",
    }
    module = Module(folder, command, {**inherited, **own, **(environment or {})})
    module.run("init", "-input=false", "-no-color", *init)
    return module
