"""Check a command line of the documentation with the command line of mcloud itself."""

import re
import shlex
from typing import Any

import typer.main

from mcloud.cli.app import COMMANDS, make_app

ROOT: Any = typer.main.get_command(make_app(set(COMMANDS)))
SHARED = {"output", "quiet", "verbose", "no_color", "profile", "help"}
"""Parameters that every command has."""

_OPERATORS = {"&&", "||", "|", ";", "&", "(", ")"}


def leaves(path: str, command: Any) -> list[tuple[str, Any]]:
    """Return each command that does something, with its name, from a group or a command."""
    if not hasattr(command, "commands"):
        return [(path, command)]
    own = [(path, command)] if command.invoke_without_command else []
    return own + [pair for n, c in command.commands.items() for pair in leaves(f"{path} {n}", c)]


def simple_commands(script: str) -> list[list[str]]:
    """Split a shell script of one-line commands into the words of each simple command.

    ``eval "$(…)"`` counts as the command within it. A variable in front of a command and the file
    that gets its output are dropped.
    """
    found: list[list[str]] = []
    for line in script.replace("\\\n", " ").splitlines():
        line = re.sub(r'eval "\$\((.*?)\)"', r"\1", line)
        line = re.sub(r" > \S+", "", line)
        lexer = shlex.shlex(line, posix=True, punctuation_chars="();|&")
        lexer.whitespace_split = True
        words: list[str] = []
        for token in [*lexer, ";"]:
            if token in _OPERATORS:
                found.append(words)
                words = []
            elif words or not re.fullmatch(r"[A-Z_]+=.*", token):
                words.append(token)
    return [words for words in found if words]


def check(words: list[str]) -> None:
    """Parse ``mcloud …`` as the command itself does, without running it.

    Raises:
        click.UsageError: an unknown command or option, a missing or superfluous argument, or a
            value that is not of the option's type.
    """
    command, arguments = ROOT, words[1:]
    name = "mcloud"
    parent = None
    while True:
        context = command.make_context(name, list(arguments), parent=parent)
        rest = [*context._protected_args, *context.args] if hasattr(command, "commands") else []
        if not rest:
            return
        name, command, arguments = command.resolve_command(context, rest)
        parent = context


def unknown_words(text: str) -> list[str]:
    """Return the commands and options of a mention such as ``mcloud verify --repair`` in a text
    that do not exist. The mention need not be complete.
    """
    words = text.split()[1:]
    command = ROOT
    seen = [ROOT]
    while words and hasattr(command, "commands"):
        if words[0] in command.commands:
            command = command.commands[words.pop(0)]
            seen.append(command)
        elif words[0].startswith("-") or words[0].isupper() or command.invoke_without_command:
            break
        else:
            return [words[0]]
    known = {opt for each in seen for p in each.params for opt in p.opts} | {"--help", "-h"}
    given = [word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)]
    return [option for option in given if option not in known and option != "-vv"]
