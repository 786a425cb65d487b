"""Servers to test against: ours, and Google's own emulators from an installed gcloud."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from patience import eventually

from mcloud import http
from mcloud.errors import McloudError
from mcloud.local import children
from mcloud.local.children import free_ports

_COMMANDS = {
    "pubsub": ("gcloud", "beta", "emulators", "pubsub", "start"),
    "firestore": ("gcloud", "emulators", "firestore", "start"),
}


@dataclass(frozen=True)
class Running:
    """A running server: its address, the seconds that it took to start, and its process group."""

    host: str
    ready_seconds: float
    process_group: int

    def resident_mb(self) -> float:
        """Memory of all of its processes."""
        pages = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:  # It has ended in the meantime.
                continue
            if int(fields[2]) == self.process_group:
                pages += int(fields[21])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def ours(
    state: Path | None = None, storage_url: str = "", more: Sequence[str] = ()
) -> Iterator[Running]:
    """Our server, with Pub/Sub, Firestore and Cloud Monitoring. ``more`` are further arguments."""
    (port,) = free_ports(1)
    host = f"127.0.0.1:{port}"
    command = [sys.executable, "-m", "mcloud.local.gcp.server", "--port", str(port)]
    if state:
        command += ["--state", str(state)]
    if storage_url:
        command += ["--storage-url", storage_url]
    with _started([*command, *more], host) as running:
        yield running


@contextmanager
def cloud_storage(folder: Path) -> Iterator[str]:
    """Run fake-gcs-server with its objects in a folder, and yield its URL."""
    (port,) = free_ports(1)
    child = children.storage(port, port, folder)
    environment = {**children.clean_environment(), **child.environment}
    process = subprocess.Popen(child.command, env=environment, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    try:
        eventually(lambda: _answers(url))
        yield url
    finally:
        process.terminate()
        process.wait()


@contextmanager
def official(product: str, folder: Path) -> Iterator[Running]:
    """Run Google's emulator of "pubsub" or "firestore"; skip if it is not installed."""
    if not shutil.which("gcloud") or not shutil.which("java"):
        pytest.skip("gcloud and Java are not both installed")
    root = subprocess.run(
        ["gcloud", "info", "--format=value(installation.sdk_root)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    if not any(Path(root, "platform").glob(f"*{product}-emulator")):
        pytest.skip(f"gcloud has no {product} emulator: gcloud components install ...-emulator")
    (port,) = free_ports(1)
    host = f"127.0.0.1:{port}"
    command = [*_COMMANDS[product], f"--host-port={host}"]
    if product == "pubsub":
        data = folder / "pubsub"
        data.mkdir()  # gcloud writes into it before the emulator creates it
        command.append(f"--data-dir={data}")
    with _started(command, host) as running:
        yield running


@contextmanager
def _started(command: list[str], host: str) -> Iterator[Running]:
    began = time.monotonic()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        with grpc.insecure_channel(host) as channel:
            grpc.channel_ready_future(channel).result(timeout=90)
        yield Running(host, time.monotonic() - began, process.pid)
    finally:
        # Kill the whole group, since gcloud starts several scripts and Java.
        _signal(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            _signal(process.pid, signal.SIGKILL)
            process.wait()
        _signal(process.pid, signal.SIGKILL)


def _answers(url: str) -> bool:
    try:
        return http.ask("GET", f"{url}/_internal/healthcheck", http.REACH).ok
    except McloudError:
        return False


def _signal(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return
