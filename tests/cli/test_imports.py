"""Help and completion are fast: they load no SDK and nothing else that is slow."""

import sys
from collections.abc import Iterator
from importlib.metadata import requires

import pytest
import typer

from mcloud.cli.app import COMMANDS, make_app

from .conftest import Terminal

SLOW = {"boto3", "botocore", "google", "grpc", "rich", "requests", "psutil", "ministack"}
SLOW |= {"numpy", "pyarrow"}
# From 0.29 on, typer itself loads pydantic as soon as it parses an option.
PYDANTIC = {"pydantic"}
TYPERS_OWN = PYDANTIC & set(" ".join(requires("typer") or ()).replace(">", " ").split())

RUN = """
import sys
before = set(sys.modules)
from mcloud.cli.app import main
sys.argv[0] = "mcloud"
try:
    main()
finally:
    loaded = {name.partition(".")[0] for name in sys.modules.keys() - before}
    print("loaded:", *loaded, file=sys.stderr)
"""


def run(terminal: Terminal, *arguments: str, **environment: str) -> tuple[str, set[str]]:
    """Run a command, and return its output and the packages that it loaded."""
    terminal.program = [sys.executable, "-c", RUN]
    done = terminal.run(*arguments, **environment)
    assert done.returncode == 0, done.stderr
    words, _, loaded = done.stderr.rpartition("loaded:")
    assert words == ""
    return done.stdout, set(loaded.split())


def commands() -> Iterator[tuple[str, ...]]:
    """Yield every command and group as a list of words."""
    root = typer.main.get_command(make_app(set(COMMANDS)))
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        yield (name,)
        for inner in getattr(command, "commands", {}):
            yield name, inner


@pytest.mark.parametrize("arguments", [(), *commands()], ids=" ".join)
def test_help_loads_nothing_slow(mcloud: Terminal, arguments: tuple[str, ...]) -> None:
    printed, loaded = run(mcloud, *arguments, "--help")
    assert printed.startswith(f"Usage: {' '.join(('mcloud', *arguments))} ")
    assert {"mcloud", "typer"} <= loaded
    assert loaded.isdisjoint(SLOW)
    assert loaded.isdisjoint(PYDANTIC - TYPERS_OWN if arguments else PYDANTIC)


def test_the_version_loads_nothing_slow(mcloud: Terminal) -> None:
    from mcloud import __version__

    printed, loaded = run(mcloud, "--version")
    assert printed == f"mcloud {__version__}\n"
    assert loaded.isdisjoint(SLOW | PYDANTIC)


@pytest.mark.parametrize(
    ("line", "completions"),
    [
        ("mcloud ", list(COMMANDS)),
        ("mcloud sta", ["status"]),
        ("mcloud local ", ["up", "down", "status", "env", "logs", "outage", "reset", "exchange"]),
        ("mcloud produce --spe", ["--speed"]),
    ],
)
def test_completion_is_right_and_loads_nothing_slow(
    mcloud: Terminal, line: str, completions: list[str]
) -> None:
    words = line.split(" ")
    printed, loaded = run(
        mcloud,
        _MCLOUD_COMPLETE="complete_bash",
        COMP_WORDS="\n".join(words),
        COMP_CWORD=str(len(words) - 1),
    )
    assert printed.split() == completions
    assert loaded.isdisjoint(SLOW | PYDANTIC - TYPERS_OWN)


def test_the_root_help_is_that_of_the_commands(mcloud: Terminal) -> None:
    """The root has its own copy of each command's first sentence, which must not differ."""
    root = typer.main.get_command(make_app(set(COMMANDS)))
    loaded = {
        name: command.get_short_help_str(200)
        for name, command in root.commands.items()  # type: ignore[attr-defined]
    }
    assert loaded == COMMANDS
    printed, _ = run(mcloud, "--help", COLUMNS="200")
    for name, sentence in COMMANDS.items():
        assert any(line.split(maxsplit=1) == [name, sentence] for line in printed.splitlines())


@pytest.mark.parametrize("arguments", [("status",), ("local", "status"), ("outputs",)])
def test_without_clouds_no_sdk_is_loaded(mcloud: Terminal, arguments: tuple[str, ...]) -> None:
    mcloud.program = [sys.executable, "-c", RUN]
    done = mcloud.run(*arguments)
    assert done.returncode in (1, 3)
    loaded = set(done.stderr.rpartition("loaded:")[2].split())
    assert loaded.isdisjoint({"boto3", "botocore", "google", "grpc"})
