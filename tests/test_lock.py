"""The lock file fits pyproject.toml."""

import re
import tomllib
from itertools import chain
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKED = {
    name.lower(): version
    for name, version in re.findall(
        r"^([\w.-]+)==([^\s;\\]+)", (ROOT / "requirements-dev.txt").read_text(), re.MULTILINE
    )
}


def test_every_requirement_is_locked_at_a_version_that_it_allows() -> None:
    extras = PROJECT["optional-dependencies"].values()
    wanted = chain(PROJECT["dependencies"], *extras)
    for each in map(Requirement, wanted):
        if each.name != PROJECT["name"]:
            version = LOCKED.get(each.name.lower(), "")
            assert version in each.specifier, f"{each} is locked at {version}; run `just lock`"
