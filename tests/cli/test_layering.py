"""Who may import whom, read off the source."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from .conftest import ROOT

SDKS = {"boto3", "botocore", "google", "grpc"}
SDK_PLACES = (
    "mcloud/clouds/aws/",
    "mcloud/clouds/gcp/",
    "mcloud/local/",
    "mcloud/local/deployment.py",
    "functions/",
)

LAYERS = (
    {"market"},
    {"errors", "clock"},
    {"deadline"},
    {"http", "documents"},
    {"clouds"},
    set[str](),
    {"cli"},
    {"__main__"},
)
"""From the bottom; the empty one is everything that is not named: the engines."""
ENGINES = 5


class Import(NamedTuple):
    file: str
    """From the root of the repository."""
    line: int
    module: str
    names: tuple[str, ...]
    """What is taken out of it; empty for a plain import."""

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]

    @property
    def packages(self) -> set[str]:
        """The parts of mcloud that it names: ``market``, ``config``, …"""
        if self.module == "mcloud":
            return {name for name in self.names if not name.startswith("__")}
        return {self.module.split(".")[1]} if self.top == "mcloud" else set()

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module} {' '.join(self.names)}"


@cache
def imports() -> tuple[Import, ...]:
    paths = [path for top in ("mcloud", "functions") for path in (ROOT / top).rglob("*.py")]
    found = tuple(each for path in sorted(paths) for each in _of(path))
    assert len(found) > 200
    return found


def _of(path: Path) -> Iterator[Import]:
    file = path.relative_to(ROOT).as_posix()
    for node in ast.walk(ast.parse(path.read_text(), file)):
        if isinstance(node, ast.Import):
            yield from (Import(file, node.lineno, alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: a relative import"
            assert node.module is not None
            names = tuple(alias.name for alias in node.names)
            yield Import(file, node.lineno, node.module, names)


def refuse(offenders: list[Import]) -> None:
    assert not offenders, "\n".join(map(str, offenders))


def test_the_market_knows_the_standard_library_and_itself() -> None:
    known = sys.stdlib_module_names
    refuse(
        [
            each
            for each in imports()
            if each.file.startswith("mcloud/market/")
            and each.top not in known
            and not f"{each.module}.".startswith("mcloud.market.")
        ]
    )


def test_a_cloud_sdk_is_imported_where_clouds_are() -> None:
    users = [each for each in imports() if each.top in SDKS]
    assert {each.top for each in users} >= {"boto3", "google", "grpc"}
    refuse([each for each in users if not each.file.startswith(SDK_PLACES)])


def test_nothing_imports_the_command_line() -> None:
    users = [each for each in imports() if "cli" in each.packages]
    assert users
    refuse([each for each in users if not each.file.startswith(("mcloud/cli/", "mcloud/__main__"))])


def test_the_oracle_shares_no_code_with_what_it_judges() -> None:
    refuse([e for e in imports() if e.file == "mcloud/rehearsal/oracle.py" and e.top == "mcloud"])


def test_the_layers_are_imported_from_above_only() -> None:
    refuse([each for each in imports() if any(not _allowed(each, to) for to in each.packages)])


def test_nobody_takes_what_another_package_keeps_to_itself() -> None:
    refuse(
        [
            each
            for each in imports()
            if each.packages - {_package(each.file)}
            and any(
                name.startswith("_") and not name.startswith("__")
                for name in (*each.module.split("."), *each.names)
            )
        ]
    )


@pytest.mark.parametrize(
    ("file", "to", "allowed"),
    [
        ("mcloud/producer/x.py", "clouds", True),
        ("mcloud/demo/x.py", "producer", True),
        ("mcloud/clouds/x.py", "producer", False),
        ("mcloud/clouds/x.py", "config", False),
        ("mcloud/market/x.py", "errors", False),
        ("mcloud/errors.py", "market", True),
        ("mcloud/producer/x.py", "cli", False),
        ("functions/aws/x.py", "cli", False),
    ],
)
def test_the_rule_itself(file: str, to: str, allowed: bool) -> None:
    assert _allowed(Import(file, 1, f"mcloud.{to}", ()), to) is allowed


def _allowed(each: Import, to: str) -> bool:
    own = _package(each.file)
    return own == to or _layer(to) < _layer(own) or _layer(to) == _layer(own) == ENGINES


def _package(file: str) -> str:
    top, inner = Path(file).parts[:2]
    return inner.removesuffix(".py") if top == "mcloud" else "functions"


def _layer(package: str) -> int:
    return next((n for n, layer in enumerate(LAYERS) if package in layer), ENGINES)
