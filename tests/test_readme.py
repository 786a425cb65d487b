"""The README says what is so: its command reference is made from the commands themselves."""

import os
from pathlib import Path
from typing import Any

import typer.main

from mcloud.cli.app import COMMANDS, make_app

README = Path(__file__).resolve().parents[1] / "README.md"
BEGIN, END = "<!-- commands:", "<!-- end of commands -->"
SHARED = {"output", "quiet", "verbose", "no_color", "profile", "help"}


def test_the_command_reference_is_current() -> None:
    text = README.read_text()
    head, _, rest = text.partition(BEGIN)
    note, _, rest = rest.partition("-->\n")
    _, _, tail = rest.partition(END)
    wanted = f"{head}{BEGIN}{note}-->\n{reference()}{END}{tail}"
    if os.environ.get("MCLOUD_UPDATE"):
        README.write_text(wanted)
    assert README.read_text() == wanted


def test_the_list_of_commands_tells_what_each_says_of_itself() -> None:
    commands = typer.main.get_command(make_app(set(COMMANDS))).commands  # type: ignore[attr-defined]
    assert {name: first_line(each) for name, each in commands.items()} == COMMANDS


def test_the_first_two_commands_are_the_ones_that_newcomers_need() -> None:
    blocks = [block.split("```")[0] for block in README.read_text().split("```bash\n")[1:]]
    assert [block.strip() for block in blocks[:2]] == [
        "pip install '.[local]' && mcloud demo",
        "pip install '.[dev]' && pytest",
    ]


def reference() -> str:
    root: Any = typer.main.get_command(make_app(set(COMMANDS)))
    lines = [
        "Every command takes `-o` (`text`, `json`, …), `-q`, `-v`, `--no-color` and `--profile`;",
        "`mcloud COMMAND --help` says more.",
        "",
        "| command | what it does | options |",
        "|---|---|---|",
    ]
    for name, command in root.commands.items():
        for path, each in leaves(f"mcloud {name}", command):
            arguments = "".join(
                f" {p.name.upper()}" if p.required else f" [{p.name.upper()}]"
                for p in each.params
                if not p.opts[0:1][0].startswith("-")
            )
            options = [
                f"`{p.opts[-1]}`"
                for p in each.params
                if p.opts[0].startswith("-") and p.name not in SHARED
            ]
            lines.append(f"| `{path}{arguments}` | {first_line(each)} | {' '.join(options)} |")
    return "\n".join(lines) + "\n"


def leaves(path: str, command: Any) -> list[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        return [(path, command)]
    own = [(path, command)] if command.invoke_without_command else []
    return own + [pair for n, c in command.commands.items() for pair in leaves(f"{path} {n}", c)]


def first_line(command: Any) -> str:
    return str(command.help).strip().splitlines()[0]
