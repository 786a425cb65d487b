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
    """The lock has the extra ``dev``, and those that it includes."""
    extras = PROJECT["optional-dependencies"]
    names = {"dev", *chain.from_iterable(Requirement(each).extras for each in extras["dev"])}
    wanted = chain(PROJECT["dependencies"], *(extras[name] for name in names & {*extras}))
    for each in map(Requirement, wanted):
        if each.name != PROJECT["name"]:
            version = LOCKED.get(each.name.lower(), "")
            assert version in each.specifier, f"{each} is locked at {version}; run `just lock`"


def test_the_function_on_google_cloud_has_the_bounds_of_the_package() -> None:
    """Both use private names of these libraries."""
    extras = PROJECT["optional-dependencies"].values()
    own = {each.name: each for each in map(Requirement, chain(PROJECT["dependencies"], *extras))}
    lines = (ROOT / "functions" / "gcp" / "requirements.txt").read_text().splitlines()
    assert len(lines) == 3
    for each in map(Requirement, lines):
        assert each.specifier == own[each.name].specifier, each.name
