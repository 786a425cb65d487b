"""Questions to the user. They need a terminal, and each has an option that answers it."""

import sys

import typer

from mcloud.cli.session import Session
from mcloud.errors import UsageError


def agree(session: Session, question: str, *, yes: bool) -> None:
    """Return after a yes. After any other answer, end the command with nothing done.

    Raises:
        UsageError: there is no terminal to ask on, and no ``--yes``.
    """
    if yes:
        return
    _need_terminal(question, "--yes")
    if not typer.confirm(question, err=True):
        session.say("nothing was done")
        raise typer.Exit(1)


def offer(question: str, *, wanted: bool, yes: bool) -> bool:
    """Return whether the user wants something that is not done by default.

    Args:
        wanted: whether an option already asks for it.
        yes: whether ``--yes`` was given, so that nothing may be asked.
    """
    if wanted or yes:
        return wanted
    _need_terminal(question, "--yes")
    return typer.confirm(question, err=True)


def type_in(session: Session, question: str, *, instead: str) -> str:
    """Return the text that the user types. ``instead`` is the option that replaces the question."""
    _need_terminal(question, instead)
    answer: str = typer.prompt(question, err=True)
    return answer.strip()


def _need_terminal(question: str, instead: str) -> None:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(f"cannot ask without a terminal: {question}", remedy=f"use {instead}")
