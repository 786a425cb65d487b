"""The command line as users run it, as a process with a folder and an environment."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mcloud.local.state import State

ROOT = Path(__file__).resolve().parents[2]


class Terminal:
    """Runs ``mcloud`` in a folder. ``state`` is its MCLOUD_STATE."""

    def __init__(self, folder: Path, state: Path) -> None:
        self.folder = folder
        self.program = [sys.executable, "-m", "mcloud"]
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("MCLOUD_", "AWS_", "GOOGLE_"))
            and not name.endswith(("_COLOR", "_EMULATOR_HOST"))
        } | {
            "PYTHONPATH": str(ROOT),
            "MCLOUD_STATE": str(state),
            "TMPDIR": str(folder),
            "COLUMNS": "80",
        }

    def run(self, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="surrogateescape",  # for example the name of a folder that is not UTF-8
            timeout=180,
            check=False,
        )

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def command(self, *arguments: object) -> list[str]:
        return [*self.program, *map(str, arguments)]


@pytest.fixture
def mcloud(tmp_path: Path) -> Terminal:
    """A command line in an empty folder, without embedded clouds."""
    return Terminal(tmp_path, tmp_path / "state")


@pytest.fixture
def mcloud_up(tmp_path: Path, embedded: State) -> Terminal:
    """A command line with running embedded clouds, which all tests share."""
    return Terminal(tmp_path, Path(embedded.options["home"]).parent)
