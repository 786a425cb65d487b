"""The help of each command: its first line, its groups, and its examples."""

import io
import re
import shlex
from collections.abc import Iterator
from contextlib import redirect_stdout
from typing import Any

import pytest
import typer.main

from mcloud.cli.app import COMMANDS, make_app
from mcloud.cli.help import COMMON, examples_of

ROOT: Any = typer.main.get_command(make_app(set(COMMANDS)))
SHARED = {"output", "quiet", "verbose", "no_color", "profile"}


def commands(
    command: Any = ROOT, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Return each command and group below the root by its path."""
    for name, each in getattr(command, "commands", {}).items():
        yield (*path, name), each
        yield from commands(each, (*path, name))


ALL = dict(commands())
EXAMPLES = [line for each in (ROOT, *ALL.values()) for line in examples_of(each.help)]


def parse(words: list[str]) -> str:
    """Parse a command line as ``mcloud`` does, without running it, and return the command."""
    context, command = ROOT.make_context("mcloud", words), ROOT
    while hasattr(command, "commands") and (rest := [*context._protected_args, *context.args]):
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)
    return str(context.command_path)


@pytest.mark.parametrize("line", EXAMPLES)
def test_an_example_is_a_valid_command_line(line: str) -> None:
    words = shlex.split(line)
    if words[0] == "eval":
        words = shlex.split(words[1].removeprefix("$(").removesuffix(")"))
    assert words[0] == "mcloud"
    assert parse(words[1:]).startswith("mcloud")


@pytest.mark.parametrize("line", ["mcloud statsu", "mcloud status --speed 1", "mcloud dlq list"])
def test_a_wrong_example_would_be_found(line: str) -> None:
    with pytest.raises(Exception, match=r"No such|Missing"):
        parse(shlex.split(line)[1:])


@pytest.mark.parametrize(("path", "command"), ALL.items(), ids=lambda value: str(value)[:40])
def test_the_examples_are_those_of_the_command(path: tuple[str, ...], command: Any) -> None:
    examples = examples_of(command.help)
    assert 2 <= len(examples) <= 3
    for example in examples:
        assert " ".join(("mcloud", *path)) in example


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_many_options_are_in_groups(path: tuple[str, ...]) -> None:
    options = [each for each in ALL[path].params if each.param_type_name == "option"]
    ungrouped = [each.name for each in options if not getattr(each, "rich_help_panel", None)]
    assert len(ungrouped) <= 7  # six of the command, and --help


@pytest.mark.parametrize("path", [(), *ALL], ids=" ".join)
def test_the_help_is_complete_and_fits_80_columns(
    path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with redirect_stdout(io.StringIO()) as printed, pytest.raises(SystemExit) as done:
        ROOT.main([*path, "--help"], prog_name="mcloud")
    assert done.value.code == 0
    text = printed.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("\nExamples:\n") == 1
    assert "..." not in text.replace("[ARGS]...", "")  # no line is truncated
    command = ALL[path] if path else ROOT
    for parameter in command.params:
        assert parameter.help, f"{' '.join(path)} {parameter.name} has no help"
        is_global = bool(path) and parameter.name in SHARED - {"output"}
        name = re.escape(max(parameter.opts, key=len))
        is_listed = re.search(rf"^  (-\w, )?{name}\b", text, re.MULTILINE)
        assert bool(is_listed) != is_global, parameter.name
        if parameter.name in SHARED:
            assert parameter.rich_help_panel == COMMON


NUMBERS = [
    (path, parameter)
    for path, command in ALL.items()
    for parameter in command.params
    if parameter.type_descriptor.annotation in (int, float) and not getattr(parameter, "count", 0)
]


@pytest.mark.parametrize(("path", "parameter"), NUMBERS, ids=lambda value: str(value)[-40:])
def test_an_invalid_number_is_refused_in_plain_words(path: tuple[str, ...], parameter: Any) -> None:
    value = ["abc"] if parameter.param_type_name == "argument" else [parameter.opts[-1], "abc"]
    with pytest.raises(typer.BadParameter) as refused:
        ALL[path].make_context(path[-1], value)
    assert refused.value.message in (
        "it must be a whole number, not 'abc'",
        "it must be a number, not 'abc'",
    )
