"""Check the imports of the source against the tables of rooms in ``docs/architecture.md``."""

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"

SDKS = {"boto3", "botocore", "google", "grpc"}
SDK_PLACES = ("mcloud/clouds/aws/", "mcloud/clouds/gcp/", "mcloud/local/", "functions/")


class Import(NamedTuple):
    file: str
    """Path from the root of the repository."""
    line: int
    module: str
    """Imported module, such as ``mcloud.market.candle``."""
    names: tuple[str, ...]
    """Names that are imported from it; empty for a plain import."""

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module} {' '.join(self.names)}"


class Table(NamedTuple):
    ground: Mapping[str, frozenset[str]]
    """Allowed imports of each module of the ground floor, from the bottom to the top."""
    rooms: Mapping[str, frozenset[str]]
    """Allowed imports of each room besides the ground floor, from the bottom to the top."""

    def allows(self, importer: str, imported: str) -> bool:
        if importer == imported:
            return True
        if importer in self.ground:
            return imported in self.ground[importer]
        may = self.rooms.get(importer, frozenset())
        return imported in may or (imported in self.ground and importer != "market")

    @property
    def floors(self) -> list[str]:
        return [*self.ground, *self.rooms]


@cache
def table() -> Table:
    page = PAGE.read_text()
    return Table(rows(page, "### The ground floor"), rows(page, "### The rooms"))


def rows(page: str, heading: str) -> dict[str, frozenset[str]]:
    """Return the names in the last column by the name in the first, in order."""
    section = page.split(heading + "\n")[1].split("\n#")[0]
    found: dict[str, frozenset[str]] = {}
    for line in section.splitlines():
        if line.startswith("| `"):
            first, *_, last = line.strip("|").split("|")
            (name,) = re.findall(r"`([\w/]+)`", first)
            assert name not in found, f"{name} has two rows"
            found[name] = frozenset(re.findall(r"`(\w+)`", last))
    assert found, heading
    return found


@cache
def sources() -> Mapping[str, Path]:
    """Every source file by its module name."""
    paths = sorted(path for top in ("mcloud", "functions") for path in (ROOT / top).rglob("*.py"))
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in paths
    }


@cache
def imports() -> tuple[Import, ...]:
    """Every import, also inside functions and under ``TYPE_CHECKING``."""
    found = tuple(each for path in sources().values() for each in _of(path))
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


def targets(each: Import) -> set[str]:
    """Return the modules of mcloud that an import names."""
    if each.top != "mcloud":
        return set()
    inner = {f"{each.module}.{name}" for name in each.names}
    known = {module for module in inner if module in sources()}
    # The package itself is imported only for names that it defines.
    return known if known and known == inner else known | {each.module}


def room_of(file: str) -> str:
    top, inner = Path(file).parts[:2]
    return inner.removesuffix(".py") if top == "mcloud" else "functions"


def rooms(each: Import) -> set[str]:
    """Return the rooms that an import names, without the version in ``mcloud`` itself."""
    return {module.split(".")[1] for module in targets(each) if module != "mcloud"}


def refuse(offenders: Iterable[Import]) -> None:
    told = list(map(str, offenders))
    assert not told, "\n".join(told)


def circle(graph: Mapping[str, Iterable[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_every_import_is_in_the_tables() -> None:
    refuse(
        each
        for each in imports()
        if any(not table().allows(room_of(each.file), room) for room in rooms(each))
    )


def test_the_tables_list_every_room_and_nothing_else() -> None:
    there = {room_of(path.relative_to(ROOT).as_posix()) for path in sources().values()}
    assert set(table().floors) == there - {"__init__"}


def test_the_tables_allow_nothing_that_is_not_used() -> None:
    used: dict[str, set[str]] = {}
    for each in imports():
        used.setdefault(room_of(each.file), set()).update(rooms(each))
    unused = {
        room: sorted(may - used.get(room, set()))
        for room, may in {**table().ground, **table().rooms}.items()
        if may - used.get(room, set())
    }
    assert not unused


def test_no_arrow_in_the_tables_runs_up() -> None:
    floor = {room: number for number, room in enumerate(table().floors)}
    upward = [
        f"{room} -> {other}"
        for room, may in {**table().ground, **table().rooms}.items()
        for other in may
        if floor[other] >= floor[room]
    ]
    assert not upward


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph: dict[str, set[str]] = {}
    files = {path.relative_to(ROOT).as_posix(): module for module, path in sources().items()}
    for each in imports():
        module = files[each.file]
        graph.setdefault(module, set()).update(targets(each) - {module})
    assert len(graph) > 200
    assert not circle(graph)


def test_the_market_knows_the_standard_library_and_itself() -> None:
    known = sys.stdlib_module_names
    refuse(
        each
        for each in imports()
        if each.file.startswith("mcloud/market/")
        and each.top not in known
        and not f"{each.module}.".startswith("mcloud.market.")
    )


def test_cloud_sdks_are_imported_only_in_the_cloud_rooms() -> None:
    users = [each for each in imports() if each.top in SDKS]
    assert {each.top for each in users} >= {"boto3", "google", "grpc"}
    refuse(each for each in users if not each.file.startswith(SDK_PLACES))


def test_the_oracle_shares_no_code_with_what_it_judges() -> None:
    oracle = "mcloud/rehearsal/oracle.py"
    assert (ROOT / oracle).exists()
    refuse(each for each in imports() if each.file == oracle and each.top == "mcloud")


def test_every_public_class_has_a_name_of_its_own() -> None:
    names = Counter(
        node.name
        for path in sources().values()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert len(names) > 200
    assert [name for name, count in names.items() if count > 1] == []


def test_no_room_imports_private_names_of_another() -> None:
    refuse(
        each
        for each in imports()
        if rooms(each) - {room_of(each.file)}
        and any(
            name.startswith("_") and not name.startswith("__")
            for name in (*each.module.split("."), *each.names)
        )
    )


@pytest.mark.parametrize(
    ("file", "imported", "allowed"),
    [
        ("mcloud/producer/x.py", "clouds", True),
        ("mcloud/rehearsal/x.py", "producer", True),
        ("mcloud/clouds/x.py", "http", True),
        ("mcloud/clouds/x.py", "producer", False),
        ("mcloud/clouds/x.py", "config", False),
        ("mcloud/config/x.py", "local", False),
        ("mcloud/infra/x.py", "local", False),
        ("mcloud/failover/x.py", "producer", False),
        ("mcloud/failover/x.py", "rehearsal", False),
        ("mcloud/observing/x.py", "drawing", False),
        ("mcloud/market/x.py", "errors", False),
        ("mcloud/errors.py", "market", False),
        ("mcloud/producer/x.py", "cli", False),
        ("functions/aws/x.py", "cli", False),
        ("functions/aws/x.py", "processor", True),
    ],
)
def test_the_rule_itself(file: str, imported: str, allowed: bool) -> None:
    assert table().allows(room_of(file), imported) is allowed


def test_importing_a_module_does_not_count_as_importing_its_package() -> None:
    one = Import("mcloud/cli/x.py", 1, "mcloud.market", ("candle",))
    assert targets(one) == {"mcloud.market.candle"}
    several = Import("mcloud/cli/x.py", 1, "mcloud", ("config", "__version__"))
    assert targets(several) == {"mcloud", "mcloud.config"}
    assert rooms(several) == {"config"}


def test_a_circle_is_found() -> None:
    assert circle({"a": ["b"], "b": ["c"], "c": []}) == []
    assert set(circle({"a": ["b"], "b": ["c"], "c": ["a"]})) == {"a", "b", "c"}
