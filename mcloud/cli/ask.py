"""Questions: only ever on a terminal, and each with an option that answers it beforehand."""

import sys

import typer

from mcloud.cli.session import Session
from mcloud.errors import UsageError


def agree(session: Session, question: str, *, yes: bool) -> None:
    """Go on after a yes; end the command, with nothing done, after anything else.

    Raises:
        UsageError: there is no terminal to ask on, and no ``--yes``.
    """
    if yes:
        return
    _need_terminal(question, "--yes")
    if not typer.confirm(question, err=True):
        session.say("nothing was done")
        raise typer.Exit(1)


def type_in(session: Session, question: str, *, instead: str) -> str:
    """What a person types; ``instead`` is the option that says it where nobody can."""
    _need_terminal(question, instead)
    answer: str = typer.prompt(question, err=True)
    return answer.strip()


def _need_terminal(question: str, instead: str) -> None:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(f"cannot ask without a terminal: {question}", remedy=f"use {instead}")
