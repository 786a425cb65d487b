"""Run commands in a folder on a small disk that is full or read-only. Needs root and Linux."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

FULL, READ_ONLY, EMPTY = "full", "read-only", "empty"
_THEN = {
    FULL: 'dd if=/dev/zero of="$0/filler" bs=4k 2>/dev/null || true;',
    READ_ONLY: 'mount -o remount,ro "$0";',
    EMPTY: "",
}


def on_disk(
    folder: Path,
    command: Sequence[str],
    how: str = FULL,
    *,
    mebibytes: int = 2,
    folders: Sequence[str] = (),
    bind: Path | None = None,
) -> list[str]:
    """Return a command line that runs ``command`` with ``folder`` on a small disk.

    ``how`` is one of the three kinds of disk. ``folders`` are made on it before, and ``bind`` is
    mounted there as ``local``.
    """
    _require()
    folder.mkdir(exist_ok=True)
    made = "".join(f'mkdir -p "$0/{name}";' for name in folders)
    if bind is not None:
        made += f'mkdir "$0/local"; mount --bind "{bind}" "$0/local";'
    script = f'set -e; mount -t tmpfs -o size={mebibytes}m tmpfs "$0"; {made} {_THEN[how]}'
    return ["unshare", "-m", "sh", "-c", f'{script} exec "$@"', str(folder), *command]


def call(folder: Path, module: str, function: str, how: str = FULL, **options: object) -> str:
    """Call a function of a test with such a folder, and return what it prints."""
    code = f"import sys; from {module} import {function}; {function}(sys.argv[1])"
    command = on_disk(folder, [sys.executable, "-c", code, str(folder)], how, **options)  # type: ignore[arg-type]
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache
def _refusal() -> str:
    if os.geteuid() != 0 or not shutil.which("unshare"):
        return "a small disk needs root and unshare"
    tried = subprocess.run(
        ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, text=True
    )
    return tried.stderr.strip() if tried.returncode else ""


def _require() -> None:
    if why := _refusal():
        pytest.skip(f"no disk can be mounted here: {why}")
