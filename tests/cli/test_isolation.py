"""Neither mcloud nor any process that it starts imports the user's own Python files."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Event

import psutil
import pytest
from hostile import Hostile
from patience import eventually
from replication import folder
from replication.folder import helpers

from mcloud import isolation, processes
from mcloud.archive.raw import Copied
from mcloud.clouds.factory import open_site
from mcloud.clouds.ports import Site
from mcloud.feed.simulate import Simulate
from mcloud.infra.bundle import build
from mcloud.infra.terraform import Terraform
from mcloud.local.children import MARK
from mcloud.local.state import State
from mcloud.market.envelope import encode
from mcloud.replication.copier import TRANSFERS, Copier
from mcloud.workers import Workers

from .conftest import ROOT, Terminal

START = 1_735_775_880_000  # 2025-01-01T23:58:00Z
SCRIPT = str(Path(sys.executable).with_name("mcloud"))
MODULE = [sys.executable, "-m", "mcloud"]


@pytest.fixture
def hostile(tmp_path: Path) -> Hostile:
    return Hostile(tmp_path / "hostile")


@pytest.fixture
def terminal(mcloud_up: Terminal, hostile: Hostile) -> Terminal:
    """A terminal with the console script in the hostile folder, and running embedded clouds."""
    mcloud_up.folder, mcloud_up.program = hostile.folder, [SCRIPT]
    mcloud_up.environment.pop("PYTHONPATH")
    return mcloud_up


# `python -m mcloud` requests a module called mcloud, so the folder of that run has no such file.
# The console script must not import it.
@pytest.mark.parametrize("program", [[SCRIPT], MODULE], ids=["script", "module"])
@pytest.mark.parametrize("paths", [None, "", ".", "{0}", "lib{1}{0}{1}"])
def test_the_command_itself(
    mcloud: Terminal, tmp_path: Path, program: list[str], paths: str | None
) -> None:
    # Where PYTHONPATH names the folder, Python itself imports these before mcloud begins.
    first = ("mcloud", "sitecustomize", "usercustomize", *at_start())
    hostile = Hostile(tmp_path / "hostile", spare=first if paths or program == MODULE else ())
    mcloud.folder, mcloud.program = hostile.folder, program
    mcloud.environment.pop("PYTHONPATH")
    variables = {} if paths is None else {"PYTHONPATH": paths.format(hostile.folder, os.pathsep)}
    done = mcloud.run("ps", **variables)
    assert (done.returncode, done.stderr) == (
        0,
        "no processes; `mcloud produce` starts a producer\n",
    )
    assert hostile.imported == set()


def at_start() -> set[str]:
    """Return the modules that are imported before the first line of mcloud runs."""
    code = "import runpy, re, sys; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in said.stdout.split()}


@pytest.mark.slow
def test_detached_processes_import_nothing_from_the_folder(
    terminal: Terminal, hostile: Hostile
) -> None:
    commands = {
        "producers": ("produce", "--source", "simulate", "--speed", "realtime"),
        "replicators": ("replicate",),
        "guards": ("guard", "run"),
        "alerts": ("alerts", "watch"),
    }
    starting = {
        kind: terminal.start(*words, "--name", "isolated", "--detach")
        for kind, words in commands.items()
    }
    for kind, process in starting.items():
        _, said = process.communicate(timeout=180)
        assert process.returncode == 0, said
        state = Path(terminal.environment["MCLOUD_STATE"]) / kind / "isolated" / "state.json"
        eventually(state.exists)
        detached = psutil.Process(json.loads(state.read_text())["pid"])
        assert detached.environ()["PYTHONSAFEPATH"] == "1"
    assert terminal.run("stop", "isolated", "--wait", "100").returncode == 0
    assert hostile.imported == set()


def test_the_embedded_clouds_and_the_functions_in_them(embedded: State) -> None:
    """They were started in a hostile folder, as ``conftest`` says."""
    trades = list(Simulate(["ISOUSDT"], seed=3, start_time=START, count=300))
    sites = [open_site(name, each) for name, each in embedded.resources().items()]
    for site in sites:
        site.queue.send([encode(trades)])
        eventually(lambda site=site: counted(site) == len(trades))
    running = {process.pid: process for process in of_the(embedded)}
    assert len(running) > 5  # the supervisor, its four services, and a worker at least
    assert [
        process.cmdline()
        for process in running.values()
        if "python" in process.name() and process.environ().get("PYTHONSAFEPATH") != "1"
    ] == []
    folders = {Path(process.cwd()) for process in running.values()}
    (place,) = (each for each in folders if (each / "random.py").exists())
    assert not (place / "imported.txt").exists(), (place / "imported.txt").read_text()


def test_the_embedded_clouds_leave_nothing_in_the_home_folder(embedded: State) -> None:
    """A fresh one, as ``conftest`` says."""
    home = Path(psutil.Process(embedded.pid).environ()["HOME"])
    assert home != Path.home()
    assert list(home.iterdir()) == []


def counted(site: Site) -> int:
    return sum(
        each.trade_count for each in site.candles.range("ISOUSDT", START, START + 86_400_000)
    )


def of_the(clouds: State) -> Iterator[psutil.Process]:
    supervisor = psutil.Process(clouds.pid)
    yield supervisor
    for child in supervisor.children(recursive=True):
        if MARK in child.environ():
            yield child


def test_the_processes_of_a_copier(hostile: Hostile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(hostile.folder)
    source, objects = folder.filled(hostile.folder / "source")
    target = folder.empty(hostile.folder / "target")
    workers = Workers(TRANSFERS)
    size = sum(each.stored.size for each in objects)
    before = helpers()
    with closing(workers), closing(Copier(source, target, workers, processes=1, alone=0)) as copier:

        def is_helped() -> bool:
            assert hostile.imported == set()
            for file in target.archive.path.iterdir():  # type: ignore[attr-defined]
                file.unlink()
            assert copier.copy(objects) == Copied(len(objects), size, [])
            writers: set[int] = target.archive.writers()  # type: ignore[attr-defined]
            return bool(writers & (helpers() - before))

        eventually(is_helped)
    assert hostile.imported == set()


def test_bundles_do_not_depend_on_the_folder(
    hostile: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundles = build("aws"), build("gcp")
    monkeypatch.chdir(hostile.folder)
    monkeypatch.syspath_prepend(hostile.folder)
    assert (build("aws"), build("gcp")) == bundles
    assert hostile.imported == set()


def test_terraform_and_the_processes_that_it_starts(
    hostile: Hostile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A credential helper in Python, as a provider starts it."""
    stack = tmp_path / "stack"
    stack.mkdir()
    binary = tmp_path / "terraform"
    binary.write_text(f"#!/bin/sh\nexec {sys.executable} -c 'import random; print(\"done\")'\n")
    binary.chmod(0o755)
    monkeypatch.chdir(hostile.folder)
    run = Terraform(stack, str(binary), environment=os.environ, stop=Event())
    assert run.cmd("output")[:2] == (0, "done\n")
    assert hostile.imported == set()


def test_a_tool_in_python_keeps_its_own_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``gcloud`` imports from the folder of its program, and from the user's PYTHONPATH."""
    (tmp_path / "beside.py").write_text("word = 'beside'")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "elsewhere.py").write_text("word = 'elsewhere'")
    tool = tmp_path / "tool"
    tool.write_text(
        f"#!{sys.executable}\nimport beside, elsewhere\nprint(beside.word, elsewhere.word)\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "lib"))
    monkeypatch.setenv("PYTHONSAFEPATH", "1")  # as in the supervisor
    assert processes.ask((str(tool),), 60) == (0, "beside elsewhere\n")


def test_mclouds_own_processes_get_few_of_pythons_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    packages, sources = tmp_path / "packages", tmp_path / "sources"
    home = str(Path(isolation.PACKAGE).parent)  # from which mcloud was loaded
    (packages / "boto3-1.43.0.dist-info").mkdir(parents=True)
    sources.mkdir()
    given = {
        "PATH": "/bin",
        "AWS_PROFILE": "prod",
        "PYTHONHOME": "/usr/python",
        "PYTHONUTF8": "1",
        "PYTHONPATH": os.pathsep.join(["", ".", str(sources), str(packages), home]),
        "PYTHONSTARTUP": "start.py",
        "PYTHONINSPECT": "1",
        "PYTHONOPTIMIZE": "2",
        "PYTHONWARNINGS": "error",
        "PYTHONBREAKPOINT": "mine.debugger",
        "PYTHON_ANYTHING_NEW": "1",
    }
    assert isolation.environment(given) == {
        "PATH": "/bin",
        "AWS_PROFILE": "prod",
        "PYTHONHOME": "/usr/python",
        "PYTHONUTF8": "1",
        "PYTHONPATH": os.pathsep.join([str(packages), home]),
        "PYTHONSAFEPATH": "1",
        "PYTHONWARNINGS": "ignore",
    }


def test_processes_of_an_uninstalled_checkout_find_mcloud(tmp_path: Path) -> None:
    """``python -m mcloud`` in a checkout that is not installed."""
    (tmp_path / "mcloud").symlink_to(ROOT / "mcloud")
    code = (
        "from mcloud import isolation, processes; isolation.settle(); import sys;"
        "print(processes.ask((sys.executable, '-c', 'import mcloud; print(mcloud.__file__)'), 60))"
    )
    # Without the site-packages in which these tests' mcloud is installed.
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "mcloud/__init__.py" in done.stdout


STARTERS = {
    "subprocess": {"Popen", "run", "call", "check_call", "check_output", "getoutput"}
    | {"getstatusoutput"},
    "os": {"system", "popen", "fork", "forkpty", "posix_spawn", "posix_spawnp"}
    | {f"exec{kind}" for kind in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")}
    | {f"spawn{kind}" for kind in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")},
    "asyncio": {"create_subprocess_exec", "create_subprocess_shell", "subprocess"},
    "concurrent.futures": {"ProcessPoolExecutor", "process"},
}
"""Functions that start a process, by module."""
FORBIDDEN = {
    "multiprocessing",
    "pty",
    "webbrowser",
    "_posixsubprocess",
    "concurrent.futures.process",
}
NO_PROCESS = {"multiprocessing.connection"}
METHODS = {"subprocess_exec", "subprocess_shell", "ProcessPoolExecutor"}


def starts(source: str) -> list[str]:
    """Each place where a module could start a process."""
    tree = ast.parse(source)
    modules: dict[str, str] = {}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for each in node.names:
                modules[each.asname or each.name] = each.name
                if is_forbidden(each.name):
                    found.append(f"{node.lineno}: {each.name}")
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            for each in node.names:
                modules[each.asname or each.name] = f"{module}.{each.name}"
                if each.name in STARTERS.get(module, ()) or is_forbidden(module):
                    found.append(f"{node.lineno}: {module}.{each.name}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            module = modules.get(ast.unparse(node.value), "")
            if node.attr in STARTERS.get(module, ()) or node.attr in METHODS:
                found.append(f"{node.lineno}: {ast.unparse(node)}")
    return found


def is_forbidden(module: str) -> bool:
    return module not in NO_PROCESS and any(
        module == each or module.startswith(f"{each}.") for each in FORBIDDEN
    )


@pytest.mark.parametrize(
    "source",
    [
        "import subprocess\nsubprocess.run(['ls'])",
        "import subprocess as s\nwith_ = s.Popen",
        "from subprocess import Popen",
        "import os\nos.system('ls')",
        "import os as o\no.execvp('ls', ['ls'])",
        "from os import fork",
        "import multiprocessing",
        "from multiprocessing import Pool",
        "from multiprocessing.context import SpawnProcess",
        "from concurrent.futures import ProcessPoolExecutor",
        "import concurrent.futures\nconcurrent.futures.ProcessPoolExecutor()",
        "from concurrent import futures\nfutures.ProcessPoolExecutor()",
        "import asyncio\nasyncio.create_subprocess_exec('ls')",
        "def go(loop): loop.subprocess_exec(None, 'ls')",
        "import webbrowser",
    ],
)
def test_a_start_is_recognised(source: str) -> None:
    assert starts(source)


def test_only_one_place_starts_processes() -> None:
    paths = [path for top in ("mcloud", "functions") for path in (ROOT / top).rglob("*.py")]
    found = {path.relative_to(ROOT).as_posix(): starts(path.read_text()) for path in paths}
    assert len(found) > 200
    places = {path: lines for path, lines in found.items() if lines}
    assert list(places) == ["mcloud/processes.py"], places
