"""Dictionaries of anything, and values of any type, belong at the borders where JSON and TOML come
in or go out.
"""

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"
HEADING = "## JSON borders"
CLOUDS = ("mcloud/clouds/", "mcloud/local/")
MOST = 2
"""Number of such dictionaries outside the borders. It may only fall."""
MOST_ANY = 34
"""Number of times that ``Any`` is named outside the borders. It may only fall."""
MAPPINGS = {"dict", "Mapping", "MutableMapping"}


def borders() -> list[str]:
    """Return the files and folders that the page lists."""
    section = PAGE.read_text().split(HEADING + "\n")[1].split("\n## ")[0]
    return [
        path
        for row in re.findall(r"^\| (.*?) \|", section, re.M)
        for path in re.findall(r"`(.+?)`", row)
    ]


def loose(source: str) -> int:
    """Return how often a source names a mapping of text to anything, also by an alias."""
    tree = ast.parse(source)
    aliases = set(_aliases(tree))
    return sum(_is_loose(node) or _is_alias(node, aliases) for node in _annotations(tree))


def _aliases(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and _is_loose(node.value):
            yield from (each.id for each in node.targets if isinstance(each, ast.Name))
        if isinstance(node, ast.AnnAssign) and node.value is not None and _is_loose(node.value):
            yield node.target.id if isinstance(node.target, ast.Name) else ""


def _annotations(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield every node, and those of annotations that are texts."""
    for node in ast.walk(tree):
        yield node
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "[" in node.value:
            try:
                yield from ast.walk(ast.parse(node.value, mode="eval"))
            except SyntaxError:
                continue


def _is_loose(node: ast.AST) -> bool:
    if not (isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple)):
        return False
    name = (
        node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
    )
    return name in MAPPINGS and [getattr(each, "id", "") for each in node.slice.elts] in (
        ["str", "Any"],
        ["str", "object"],
    )


def _is_alias(node: ast.AST, aliases: set[str]) -> bool:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in aliases


def named_any(source: str) -> int:
    """Return how often a source names ``Any``, without its import."""
    nodes = _annotations(ast.parse(source))
    return sum("Any" in (getattr(node, "id", ""), getattr(node, "attr", "")) for node in nodes)


def counted(count_in: Callable[[str], int]) -> Counter[str]:
    """Return what ``count_in`` counts in each file that is not a border."""
    left_out = (*CLOUDS, *borders())
    files = [path for top in ("mcloud", "functions") for path in (ROOT / top).rglob("*.py")]
    named = {path.relative_to(ROOT).as_posix(): path for path in sorted(files)}
    assert len(named) > 200
    return Counter(
        {
            name: count
            for name, path in named.items()
            if not name.startswith(left_out) and (count := count_in(path.read_text()))
        }
    )


def test_there_are_no_more_of_them_than_before() -> None:
    found = counted(loose)
    assert found.total() <= MOST, found.most_common()


def test_the_number_of_anys_does_not_grow() -> None:
    found = counted(named_any)
    assert found.total() <= MOST_ANY, found.most_common()


def test_every_listed_border_exists_and_is_needed() -> None:
    for border in borders():
        path = ROOT / border
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        assert sum(loose(each.read_text()) for each in files), f"{border} is no border"


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("def f(a: dict[str, Any]) -> Mapping[str, object]: ...", 2),
        ("def f(a: 'list[dict[str, Any]]') -> typing.Mapping[str, int]: ...", 1),
        ("State = Mapping[str, Any]\ndef f(a: State, b: State): ...", 3),
        ("a: dict[str, str] = {}", 0),
    ],
)
def test_the_count(source: str, count: int) -> None:
    assert loose(source) == count


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("from typing import Any\ndef f(a: Any, *b: list[Any]) -> typing.Any: ...", 3),
        ("a: 'dict[str, Any]' = {}  # Any\nb = 'Any number'", 1),
        ("def f(a: object) -> None: ...", 0),
    ],
)
def test_the_count_of_any(source: str, count: int) -> None:
    assert named_any(source) == count
