"""Starts all other processes that mcloud needs.

mcloud's own Python processes are isolated from the user's Python files, and so are the processes
that they start. A tool of the user (Terraform, ``aws``, ``gcloud``) gets the environment unchanged,
because it may start credential helpers that need it, and ``gcloud`` does not start in an isolated
one.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from mcloud import isolation

Process: TypeAlias = subprocess.Popen[bytes]


def start(
    command: Sequence[str], environment: Mapping[str, str] | None = None, **options: Any
) -> Process:
    """Start a process without standard input.

    Args:
        command: the program and its arguments. ``sys.executable`` starts one of mcloud's own Python
            processes. environment: by default that of this process. options: of
            ``subprocess.Popen``.
    """
    given = {"stdin": subprocess.DEVNULL, **options}
    return subprocess.Popen(command, env=_environment(command, environment), **given)


def run_here(command: Sequence[str]) -> None:
    """Run a process on the terminal of this one, to its end.

    Ctrl-C reaches the process, and does not end this one.
    """
    # The process starts without this handler, while it would inherit SIG_IGN.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        subprocess.run(command, env=_environment(command, None), check=False)
    finally:
        signal.signal(signal.SIGINT, before)


def ask(
    command: Sequence[str], timeout: float, environment: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run a process to its end. Return its exit code and its whole output.

    Raises:
        OSError: it cannot be started.
        subprocess.TimeoutExpired: it ran for ``timeout`` seconds, and was killed.
    """
    run = subprocess.run(
        command,
        env=_environment(command, environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
    )
    return run.returncode, run.stdout.decode(errors="replace")


def _environment(command: Sequence[str], given: Mapping[str, str] | None) -> dict[str, str]:
    seen = dict(os.environ if given is None else given)
    if command[0] == sys.executable:
        return isolation.environment(seen)
    # Set if this process is itself one of mcloud's Python processes
    seen.pop("PYTHONSAFEPATH", None)
    return seen
