"""Values on the command line that are not numbers, or that no command can use."""

import signal
import sys
from collections.abc import Iterator
from typing import Any, get_args

import pytest
import typer
from typer.testing import CliRunner

from mcloud.cli.app import COMMANDS, make_app

VALUES = ("nan", "inf", "-inf", "1e400", str(10**30), str(10**400), "-1e300")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)


def numbers() -> list[tuple[str, ...]]:
    """Each option that is a number, behind its command and what else that needs."""
    found: list[tuple[str, ...]] = []

    def visit(command: object, words: tuple[str, ...]) -> None:
        commands = getattr(command, "commands", {})
        for name, each in commands.items():
            visit(each, (*words, name))
        for each in [] if commands else getattr(command, "params", []):
            if is_number(each):
                needed = [
                    word
                    for other in command.params  # type: ignore[attr-defined]
                    if other.required and other is not each
                    for word in (
                        ("1",) if other.param_type_name == "argument" else (other.opts[-1], "1")
                    )
                ]
                is_option = each.param_type_name == "option"
                found.append((*words, *needed, *([each.opts[-1]] if is_option else ["--"])))

    visit(typer.main.get_command(make_app(set(COMMANDS))), ())
    return found


def is_number(parameter: Any) -> bool:
    if getattr(parameter, "count", False):
        return False
    if kind := getattr(parameter, "type", None):  # before typer 0.26
        return str(kind.name).startswith(("int", "float"))
    annotation = parameter.type_descriptor.annotation
    return bool({int, float} & {annotation, *get_args(annotation)})


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """A command sets those of its process."""
    before = {each: signal.getsignal(each) for each in SIGNALS}
    hook = sys.unraisablehook
    yield
    sys.unraisablehook = hook
    for each, handler in before.items():
        signal.signal(each, handler)


def test_some_options_are_numbers() -> None:
    assert len(numbers()) > 30


@pytest.mark.parametrize("words", numbers(), ids=" ".join)
def test_an_unusable_number_is_refused(words: tuple[str, ...]) -> None:
    app = make_app(set(COMMANDS))
    for value in VALUES:
        done = CliRunner().invoke(app, [*words, value])
        assert done.exit_code == 2, (value, done.output)
        assert "fault in mcloud" not in done.output
        assert done.stdout == ""
