"""Terraform's state, and the other files in a site's folder that show that its stack may still
exist."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STATE, ERRORED = "terraform.tfstate", "errored.tfstate"
WORKSPACES = "terraform.tfstate.d"


@dataclass(frozen=True)
class TerraformState:
    """The parts of ``terraform state pull`` that mcloud uses."""

    lineage: str
    """Identity of the state. It never changes, wherever the state is stored."""
    serial: int
    """Version of the state, which increases with each change."""
    addresses: frozenset[str]
    """Addresses of the managed resources, such as ``aws_sqs_queue.trades[0]``."""
    outputs: Mapping[str, Any]
    """Values of the outputs that are not sensitive."""


@dataclass(frozen=True)
class Remnant:
    """A file with resources that are missing from the state."""

    path: Path
    resources: int | None
    """Number of resources in the file; None if it cannot be read, for example if encrypted."""

    def __str__(self) -> str:
        if self.resources is None:
            return f"{self.path} may hold some"
        return f"{self.path} holds {self.resources}"


def parse_state(text: str) -> TerraformState | None:
    """Parse the output of ``terraform state pull``. Return None if it contains no state."""
    found = find_object(text, "lineage")
    if found is None or not found["lineage"]:
        return None  # an empty bucket gives a state without an identity
    return TerraformState(
        lineage=str(found["lineage"]),
        serial=int(found.get("serial", 0)),
        addresses=frozenset(_addresses(found)),
        outputs={
            name: each.get("value")
            for name, each in found.get("outputs", {}).items()
            if not each.get("sensitive")
        },
    )


def find_object(text: str, key: str) -> dict[str, Any] | None:
    """Return the first JSON object in a text that has a key.

    A wrapper around Terraform may print lines of its own before it and after it.
    """
    decoder = json.JSONDecoder()
    for brace in re.finditer(r"^[^{\n]*(\{)", text, re.MULTILINE):
        try:
            value, _ = decoder.raw_decode(text, brace.start(1))
        except ValueError:
            continue
        if isinstance(value, dict) and key in value:
            return value
    return None


def remnants(folder: Path, *, is_remote: bool) -> list[Remnant]:
    """Return the files in a site's folder that hold resources or may hold some, those with the most
    resources first.

    Args:
        folder: the site's folder, whose state has no resources.
        is_remote: True where that state is kept elsewhere.
    """
    names = [f"{STATE}*backup*", ERRORED, f"{WORKSPACES}/*/{STATE}*"]
    if is_remote:
        names.append(STATE)  # the file is older than the remote backend
    found = [
        Remnant(path, _count(path))
        for path in sorted({path for name in names for path in folder.glob(name)})
    ]
    return sorted(
        (each for each in found if each.resources != 0),
        key=lambda each: -(each.resources or 0),
    )


def _addresses(state: Mapping[str, Any]) -> Iterator[str]:
    for resource in state.get("resources", ()):
        if resource.get("mode") != "managed":
            continue
        module = f"{resource['module']}." if resource.get("module") else ""
        for instance in resource.get("instances", ()):
            key = instance.get("index_key")
            index = "" if key is None else f"[{json.dumps(key)}]"
            yield f"{module}{resource['type']}.{resource['name']}{index}"


def _count(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="utf-8")
        state = json.loads(text) if text.strip() else {}
        return len(set(_addresses(state))) if "encrypted_data" not in state else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
