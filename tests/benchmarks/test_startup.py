"""``mcloud --help`` compared with a bare Typer program with two commands."""

import os
import resource
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

BARE = """
from typing import Annotated
import typer

app = typer.Typer(
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

def version(wanted: bool) -> None:
    if wanted:
        print("bare 1")
        raise typer.Exit

@app.callback()
def root(
    version: Annotated[bool, typer.Option("--version", callback=version, is_eager=True)] = False,
) -> None:
    pass

@app.command()
def one(text: Annotated[str, typer.Option(help="A text.")] = "a") -> None:
    print(text)

@app.command()
def two(number: int = 3) -> None:
    print(number)

app(prog_name="bare")
"""

pytestmark = pytest.mark.benchmark


@pytest.mark.parametrize("what", ["--help", "--version", "completion"])
def test_startup(what: str, tmp_path: Path) -> None:
    (tmp_path / "bare.py").write_text(BARE)
    arguments, environment = ([what], {}) if what != "completion" else ([], completion())
    bare = [sys.executable, str(tmp_path / "bare.py"), *arguments]
    ours = [str(Path(sys.executable).parent / "mcloud"), *arguments]
    # Alternating, so that load affects both equally.
    times = [(seconds(bare, environment), seconds(ours, environment)) for _ in range(20)]
    ratio = min(ours for _, ours in times) / min(bare for bare, _ in times)
    print(f"\nmcloud {what}: {ratio:.2f} times a bare Typer program")
    assert ratio <= 1.3


def test_a_value_is_completed_at_once() -> None:
    ours = [str(Path(sys.executable).parent / "mcloud")]
    environment = completion("mcloud failover ", 2)
    times = [(seconds(ours, environment), used()) for _ in range(20)]
    # The time of the processor, which other programs on the machine do not change.
    best = min(after - before for (_, before), (_, after) in pairwise(times))
    wall = min(each for each, _ in times)
    print(f"\ncompletion of a site: {wall * 1000:.0f} ms, {best * 1000:.0f} ms of the processor")
    assert best <= 0.15


def completion(line: str = "mcloud st", word: int = 1) -> dict[str, str]:
    variables = {"COMP_WORDS": line, "COMP_CWORD": str(word)}
    return {**variables, **dict.fromkeys(("_MCLOUD_COMPLETE", "_BARE_COMPLETE"), "complete_bash")}


def used() -> float:
    """Return the seconds of the processor that the ended children of this process have used."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def seconds(command: list[str], environment: dict[str, str]) -> float:
    begun = time.perf_counter()
    subprocess.run(
        command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, check=True
    )
    return time.perf_counter() - begun
