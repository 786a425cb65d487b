"""Completion of values: the tables against the commands, and in real shells."""

import json
import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from mcloud.alerts import rules
from mcloud.cli import completion
from mcloud.cli.app import COMMANDS, make_app
from mcloud.cli.completion import AMBIGUOUS, ARGUMENTS, FLAGS, FORMATS, GROUPS, OPTIONS, Line, read
from mcloud.failover.preflight import CHECKS
from mcloud.feed.binance.endpoints import KNOWN
from mcloud.local.outage import HOWS
from mcloud.market.interval import INTERVALS
from mcloud.producer.route import MODES
from mcloud.rehearsal.scenarios import SCENARIOS

PATIENCE = 60.0  # seconds; a loaded machine may take long to start a shell

TOML = """
profile = "prod"
[profiles.prod.sites.aws-west]
cloud = "aws"
[profiles.prod.sites.gcp]
cloud = "gcp"
[profiles.test.sites.aws]
cloud = "aws"
[alerts]
interval = 30
[alerts.deep-queue]
figure = "sites.*.queue.ready"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mcloud.toml").write_text(TOML)
    for kind, name in (("producers", "night"), ("producers", "day"), ("guards", "guard")):
        (tmp_path / ".mcloud" / kind / name).mkdir(parents=True)
    state = tmp_path / ".mcloud" / "producers" / "night" / "state.json"
    state.write_text(json.dumps({"symbols": ["BTCUSDT", "BNBUSDT", "ETHUSDT"]}))
    return tmp_path


def commands() -> Iterator[tuple[str, Any]]:
    def inner(command: Any, name: str) -> Iterator[tuple[str, Any]]:
        if name:
            yield name, command
        for each, found in getattr(command, "commands", {}).items():
            yield from inner(found, f"{name} {each}".strip())

    return inner(get_command(make_app(set(COMMANDS))), "")


TREE = dict(commands())


def test_the_tables_name_commands_and_options_that_exist() -> None:
    groups = {name for name, command in TREE.items() if hasattr(command, "commands")}
    assert set(GROUPS) == groups
    assert {f"{name}" for name in TREE if " " in name} == completion._INNER
    assert set(ARGUMENTS) <= set(TREE)
    for name, kinds in ARGUMENTS.items():
        arguments = [p for p in TREE[name].params if p.param_type_name == "argument"]
        assert len(arguments) >= len(kinds), name
    options = {
        option
        for command in TREE.values()
        for parameter in command.params
        if parameter.param_type_name == "option"
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    assert set(OPTIONS) <= options
    assert {option for _, option in AMBIGUOUS} <= options


def test_flags_are_known_so_that_the_value_of_no_option_counts_as_an_argument() -> None:
    options: set[str] = set()
    for name, command in TREE.items():
        for parameter in command.params:
            if parameter.param_type_name != "option":
                continue
            is_flag = parameter.is_flag or parameter.count
            for option in (*parameter.opts, *parameter.secondary_opts):
                options.add(option)
                assert AMBIGUOUS.get((name, option), option in FLAGS) == bool(is_flag), (
                    name,
                    option,
                )
    of_the_root = {"--help", "-h", "--install-completion", "--show-completion", "--version"}
    assert options | of_the_root >= FLAGS


def test_the_formats_are_those_of_the_commands() -> None:
    for name, command in TREE.items():
        outputs = [p for p in command.params if p.name == "output"]
        if outputs:
            named = outputs[0].help.removeprefix("Output format: ").rstrip(".").split(", ")
            assert list(FORMATS.get(name, FORMATS[""])) == named, name


def test_the_other_values_are_those_that_the_commands_accept() -> None:
    assert set(completion.RULES) == {rule.name for rule in rules._BUILT_IN}
    assert tuple(INTERVALS) == completion.INTERVALS
    assert set(completion.SCENARIOS) == set(SCENARIOS)
    assert set(completion._EXCHANGES) == set(KNOWN)
    values = completion._Values(Line("", 0, "", None), {}, Path())
    assert set(values.of("hows")) == set(HOWS)
    assert set(values.of("modes")) == set(MODES)
    assert set(values.of("checks")) == set(CHECKS)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("failover ", ["aws-west", "gcp"]),
        ("failover g", ["gcp"]),
        ("--profile test failover ", ["aws"]),
        ("failover --profile test -y ", ["aws"]),
        ("status aws-west,", ["aws-west,gcp"]),
        ("verify --symbols BTCUSDT,e", ["BTCUSDT,ETHUSDT"]),
        ("restore gcp --from ", ["aws-west", "gcp"]),
        ("candles b", ["BTCUSDT", "BNBUSDT"]),
        ("candles --site ", ["aws-west", "gcp"]),
        ("candles BTCUSDT --interval 1", ["1m", "15m", "1h", "1d"]),
        ("candles -o c", ["csv"]),
        ("cost report --output m", ["md"]),
        ("status -o ", ["text", "json"]),
        ("stop ", ["day", "guard", "night"]),
        ("logs ", ["aws-west", "gcp", "day", "guard", "night"]),
        ("logs -n 5 -f g", ["gcp", "guard"]),
        ("drill --scenario service-outage:c", ["service-outage:candles"]),
        ("drill --scenario=sl", ["--scenario=slow"]),
        ("alerts silence de", ["dead-letters", "deep-queue"]),
        ("alerts silence dead-letters g", ["gcp", "guard"]),
        ("local outage ", ["aws", "gcp"]),
        ("status --profile ", ["local", "prod", "test"]),
        ("produce --mode p", ["primary"]),
        ("failover nowhere", []),
        ("failover gcp --force health,l", ["health,lag"]),
        ("produce --name ", ["day", "night"]),
        ("guard explain --name ", ["guard"]),
        ("replicate --name ", []),
    ],
)
def test_values_are_completed(folder: Path, line: str, found: list[str]) -> None:
    *before, word = line.split(" ")
    values = completion.values(before, word, {}, folder)
    assert values is not None
    assert sorted(values) == sorted(found)


@pytest.mark.parametrize(
    "line",
    ["", "fail", "failover --d", "alerts ", "failover gcp ", "candles --last ", "nothing x",
     "alerts silence aws --from "],
)  # fmt: skip
def test_other_words_are_left_to_typer(folder: Path, line: str) -> None:
    *before, word = line.split(" ")
    assert completion.values(before, word, {}, folder) is None


@pytest.mark.parametrize("name", ["$(touch x)", "`id`", "a'b", 'a"b', "a b", "a;b"])
def test_names_that_a_shell_would_interpret_are_left_out(tmp_path: Path, name: str) -> None:
    """The zsh script of typer evaluates the answer, and a folder may come from somebody else."""
    site = json.dumps(name)
    (tmp_path / "mcloud.toml").write_text(
        f'profile = "p"\n[profiles.p.sites.{site}]\ncloud = "aws"\n[profiles.p.sites.b]\n'
        f'cloud = "gcp"\n[profiles.{site}.sites.b]\ncloud = "aws"\n'
    )
    state = tmp_path / ".mcloud" / "producers" / "day" / "state.json"
    state.parent.mkdir(parents=True)
    state.write_text(json.dumps({"symbols": [name, "BTCUSDT"]}))
    assert completion.values(["status"], "", {}, tmp_path) == ["b"]
    assert "p" in (completion.values(["--profile"], "", {}, tmp_path) or ())
    for asked in (["--profile"], ["candles"]):
        assert name not in (completion.values(asked, "", {}, tmp_path) or ())


def test_a_folder_without_files_has_the_usual_sites_and_a_broken_file_is_no_error(
    tmp_path: Path,
) -> None:
    assert completion.values(["failover"], "", {}, tmp_path) == ["aws", "gcp"]
    (tmp_path / "mcloud.toml").write_text("[[[")
    assert completion.values(["status"], "a", {}, tmp_path) == ["aws"]
    assert completion.values(["stop"], "", {"MCLOUD_STATE": "elsewhere"}, tmp_path) == []


def test_the_environment_and_options_choose_the_profile(folder: Path) -> None:
    environment = {"MCLOUD_PROFILE": "test"}
    assert completion.values(["failover"], "", environment, folder) == ["aws"]
    assert read(["--profile=prod", "failover", "-y"]) == Line("failover", 0, "", "prod")


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["drill", "--scenario", "service-outage", ":", "c"], "candles"),
        (["drill", "--scenario", "service-outage", ":"], "queue\nfunction\ncandles\narchive"),
        (["failover", "--site", "=", "g"], "gcp"),
        (["failover", "--site", "="], "aws-west\ngcp"),
        (["failover"], "aws-west\ngcp"),
    ],
)
def test_bash_splits_words_at_colons_and_equal_signs(
    folder: Path, words: list[str], found: str
) -> None:
    count = len(words) if words[-1] != "failover" else 2
    environment = {
        "_MCLOUD_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(["mcloud", *words]),
        "COMP_CWORD": str(count),
    }
    assert completion.answer(environment, folder) == completion.Answer(found, 0)


def test_a_value_is_answered_before_typer_is_loaded(folder: Path) -> None:
    program = (
        "import sys, mcloud.__main__ as m\n"
        "try: m.main()\n"
        "finally: print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={**os.environ, **asking("bash", "mcloud failover ")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "aws-west\ngcp\n"
    loaded = set(done.stderr.split())
    assert "mcloud.cli.completion" in loaded
    assert loaded.isdisjoint({"typer", "click", "rich", "pydantic", "mcloud.config", "asyncio"})


def asking(shell: str, line: str) -> Mapping[str, str]:
    words = line.split(" ")
    return {
        "_MCLOUD_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
        "_TYPER_COMPLETE_ARGS": line,
    }


SHELLS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
SETUPS = {
    "bash": 'eval "$(_MCLOUD_COMPLETE=source_bash mcloud)"',
    "zsh": 'autoload -U compinit && compinit -u -D && eval "$(_MCLOUD_COMPLETE=source_zsh mcloud)"',
    "fish": "_MCLOUD_COMPLETE=source_fish mcloud | source",
}


@pytest.mark.slow
@pytest.mark.parametrize("shell", list(SHELLS))
def test_a_real_shell_completes_values(shell: str, folder: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    with Interactive(SHELLS[shell], folder) as typed:
        typed.line(SETUPS[shell])
        # The shell completes a unique value and a space after it.
        for start, whole in (
            ("mcloud failover g", "mcloud failover gcp"),
            ("mcloud candles BN", "mcloud candles BNBUSDT"),
            ("mcloud drill --scenario service-outage:c", "service-outage:candles"),
            ("mcloud fail", "mcloud failover"),
        ):
            assert whole in typed.completed(start, whole)


class Interactive:
    """A shell on a terminal of its own."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self._folder = folder
        self._command = command

    def __enter__(self) -> "Interactive":
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            os.chdir(self._folder)
            # A plain terminal without colours, in which the shell echoes what it completes.
            variables = {"PATH": path, "TERM": "dumb", "HOME": str(self._folder)}
            os.execvpe(self._command[0], self._command, {**os.environ, **variables})
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._terminal)
        os.waitpid(self._pid, 0)

    def line(self, text: str) -> None:
        """Run a command, and wait until it is done."""
        self._write(f"{text}; echo d''one\n")
        self._read_until("done\r\n")

    def completed(self, start: str, whole: str) -> str:
        """Return what the terminal shows after the Tab key, and clear the line."""
        self._write(f"{start}\t")
        shown = self._read_until(whole[len(start) :] if whole.startswith(start) else whole)
        self._write("\x15")
        return start + shown if start not in shown else shown

    def _write(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def _read_until(self, wanted: str) -> str:
        shown, deadline = "", time.monotonic() + PATIENCE
        while wanted not in shown:
            left = deadline - time.monotonic()
            assert left > 0, shown
            if select.select([self._terminal], [], [], left)[0]:
                shown += os.read(self._terminal, 4096).decode(errors="replace")
        return shown
