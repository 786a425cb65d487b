"""Run the commands that a message of mcloud advises, as a person would type them."""

import ast
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from cli.conftest import Terminal

PACKAGE = Path(__file__).resolve().parent.parent / "mcloud"

_COMMAND = re.compile(r"`([^`]+)`")


def advised(text: str) -> list[str]:
    """Return the commands that a message names, in order."""
    return _COMMAND.findall(text)


def follow(
    terminal: Terminal, command: str, *, fill: Mapping[str, str] | None = None, answer: str = ""
) -> str:
    """Run a command in the shell of a terminal's user, and return its output.

    ``fill`` has the values of placeholders such as ``VERSION``, and ``answer`` is typed in. Fails
    if the command fails.
    """
    for name, value in (fill or {}).items():
        command = command.replace(name, value)
    shims = terminal.folder / "bin"
    shims.mkdir(exist_ok=True)
    for name, program in {"mcloud": terminal.program}.items():
        (shims / name).write_text(f'#!/bin/sh\nexec {shlex.join(program)} "$@"\n')
        (shims / name).chmod(0o755)
    done = subprocess.run(
        ("bash", "-c", command),
        cwd=terminal.folder,
        env={**terminal.environment, "PATH": f"{shims}:{terminal.environment['PATH']}"},
        input=answer,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def commands_in_source() -> Iterator[tuple[str, str]]:
    """Yield every ``mcloud`` command in a string of the package, with its file.

    Fields stay in braces.
    """
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        parts = {
            id(part)
            for node in ast.walk(tree)
            if isinstance(node, ast.JoinedStr)
            for part in node.values
        }
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if id(node) not in parts | docs and (text := _text(node)):
                for command in advised(text):
                    if command.startswith("mcloud "):
                        yield path.relative_to(PACKAGE).as_posix(), command


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(
            _text(part) if isinstance(part, ast.Constant) else f"{{{ast.unparse(part.value)}}}"
            for part in node.values
        )
    return ""
