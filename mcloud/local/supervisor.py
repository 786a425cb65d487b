"""``python -m mcloud.local.supervisor OPTIONS``: starts, provisions, watches and stops all
services.

Each set of embedded clouds has one supervisor process, detached from the terminal. It reports its
progress in ``state.json``; SIGTERM stops it.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue

import psutil

from mcloud import processes
from mcloud.backoff import grown
from mcloud.errors import LocalError, McloudError
from mcloud.local import children, deployment, outage, scheduled_functions
from mcloud.local.children import Child
from mcloud.local.schedule import PERIODS, Schedule
from mcloud.local.state import FAILED, READY, RECOVERING, STOPPING, Home, ServiceState, State
from mcloud.processes import Process

PATIENCE = 8.0  # seconds that a child has to write its state
READY_TIMEOUT = 60.0  # seconds; Google's emulators need up to 20 on two busy cores
STEADY = 30.0  # seconds without a crash after which the next restart counts as the first again
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0  # seconds before a child that crashes is restarted


@dataclass(frozen=True)
class Options:
    home: str
    aws_port: int
    gcp_port: int
    storage_port: int
    function_port: int
    official: bool = False
    keep: bool = False
    owner: int | None = None
    """ID of the process that owns these clouds. When it exits, they stop and their folder is
    deleted."""
    external: dict[str, str] = field(default_factory=dict)
    """Addresses of services that the user runs: ``aws``, ``pubsub``, ``firestore``, ``storage``."""
    export_seconds: float | None = 1.0
    """Longest time in seconds for which the export services collect messages for an object, if the
    subscription or the stream allows more; None if they wait as long as the real ones."""
    scheduled: bool = True
    """Whether the anomaly and the compaction functions are called on a schedule."""

    def encode(self) -> str:
        return json.dumps(asdict(self))


class Supervisor:
    def __init__(self, options: Options) -> None:
        self._options = options
        self._home = Home(Path(options.home))
        self._state = State(pid=os.getpid(), options=asdict(options))
        self._stopping = threading.Event()
        self._processes: dict[str, Process] = {}
        self._started: dict[str, float] = {}
        self._unprovisioned: set[str] = set()
        self._provisioning: set[str] = set()
        self._attempts: SimpleQueue[tuple[str, Process, bool]] = SimpleQueue()
        """Results of attempts to provision a child again: its process at the time, and success."""
        self._unwritten = False
        self._schedules: list[Schedule] = []
        self._owner = psutil.Process(options.owner) if options.owner is not None else None

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: self._stopping.set())
        with self._home.locked():
            reaper = self._start_reaper()
            try:
                self._bring_up()
                while not self._stopping.wait(0.5) and self._owner_lives():
                    self._tend()
            except _Stopped:
                pass  # stopped before all services were up, with the same clean-up
            except McloudError as error:
                self._fail(str(error))
            except Exception as error:  # noqa: BLE001 - the process that waits for the supervisor must see the error
                traceback.print_exc()
                self._fail(f"the supervisor failed: {error!r}; see {self._home.logs}")
            finally:
                self._tear_down()
                reaper.stdin.close()  # type: ignore[union-attr]
                reaper.wait()
        return 1 if self._state.phase == FAILED else 0

    def _bring_up(self) -> None:
        self._say("starting")
        outage.end(self._home.folder)  # outages of the last run are not applied again
        self._children = self._plan()
        for name, address in self._options.external.items():
            self._state.services[name] = ServiceState(address)
        for child in self._children.values():
            self._start(child)
        for child in self._children.values():
            self._wait_ready(child)
        self._say("provisioning")
        self._provision()
        if self._options.scheduled:
            self._schedules = [Schedule(self._gcp.function_url, name) for name in PERIODS]
        self._home.kept.unlink(missing_ok=True)
        self._state.phase = READY
        self._say("")

    def _plan(self) -> dict[str, Child]:
        options, home, data = self._options, self._home.folder, self._home.data
        storage_port, function_port = children.free_ports(2)
        proxies = {"function": (options.function_port, function_port)}
        if "storage" not in options.external:
            proxies["storage"] = (options.storage_port, storage_port)
        bucket_address = options.external.get("storage", f"{children.HOST}:{options.storage_port}")
        planned: list[Child] = []
        if "aws" not in options.external:
            planned.append(children.aws(options.aws_port, home, data, options.export_seconds))
        if "storage" not in options.external:
            planned.append(children.storage(storage_port, options.storage_port, data))
        if options.official:
            pubsub_port, firestore_port = children.free_ports(2)
            if "pubsub" not in options.external:
                planned.append(children.official_pubsub(pubsub_port, data))
            if "firestore" not in options.external:
                planned.append(children.official_firestore(firestore_port, data))
        addresses = {child.name: child.front_address for child in planned} | options.external
        own = f"{children.HOST}:{options.gcp_port}"
        self._gcp = deployment.gcp_resources(
            pubsub=addresses.get("pubsub", own),
            firestore=addresses.get("firestore", own),
            monitoring=own,
            storage=f"http://{bucket_address}",
            function_url=f"http://{children.HOST}:{options.function_port}",
            function_log=str(self._home.logs / "function.log"),
        )
        gcp = children.gcp(
            options.gcp_port,
            home,
            data,
            proxies,
            bucket_address,
            options.export_seconds,
            self._bridge() if "pubsub" in addresses else "",
        )
        planned.insert(0, gcp)
        folder = self._home.folder / "function"
        planned.append(
            children.function(
                function_port,
                options.function_port,
                folder,
                self._gcp,
                exported_since=self._exported_since(),
            )
        )
        return {child.name: child for child in planned}

    def _bridge(self) -> str:
        """Return the options of the bridge from another Pub/Sub, which exports nothing itself."""
        from mcloud.local.gcp.pubsub_bridge import BridgeOptions

        to = self._gcp
        name = f"projects/{to.project}/subscriptions/{to.export_subscription}"
        config = deployment.export_config(to)
        return BridgeOptions(to.pubsub_endpoint, name, config).encode()

    def _exported_since(self) -> str:
        """Return the time since when the export subscription has all messages.

        Kept data may be from a release without that subscription, and have earlier messages.
        """
        return datetime.now(UTC).isoformat() if self._home.kept.exists() else ""

    def _provision(self) -> None:
        """Provision both sides at once, in threads that are abandoned on a request to stop."""
        sides = {"aws": self._provision_aws, "gcp": self._provision_gcp}
        done: dict[str, Exception | None] = {}

        def provision(name: str) -> None:
            try:
                sides[name]()
                done[name] = None
            except Exception as error:  # noqa: BLE001 - raised below
                done[name] = error

        for name in sides:
            threading.Thread(target=provision, args=(name,), daemon=True).start()
        while len(done) < len(sides):
            if self._stopping.wait(0.02) or not self._owner_lives():
                raise _Stopped
        for error in done.values():
            if error is not None:
                raise error

    def _provision_aws(self) -> None:
        resources = deployment.aws_resources(f"http://{self._address('aws')}")
        deployment.deploy_aws(resources)
        scheduled_functions.deploy(resources, scheduled=self._options.scheduled)
        self._state.outputs["aws"] = resources.to_outputs()

    def _provision_gcp(self) -> None:
        deployment.deploy_gcp(self._gcp)
        self._state.outputs["gcp"] = self._gcp.to_outputs()

    def _tend(self) -> None:
        """Restart crashed children."""
        if self._unwritten:
            self._write()
        for name, child in self._children.items():
            code = self._processes[name].poll()
            if code is not None:
                self._restart(child, code)
            elif name in self._unprovisioned and children.answers(child.address):
                self._provision_again(name)
        self._note_provisioned()
        for schedule in self._schedules:
            schedule.tick()

    def _restart(self, child: Child, code: int) -> None:
        """Restart a child, after a longer pause the more often it crashed recently."""
        service = self._state.services[child.name]
        lived = time.monotonic() - self._started[child.name]
        if lived > STEADY:
            service.restarts = 0
        if lived < grown(FIRST_PAUSE, service.restarts, LONGEST_PAUSE):
            return
        service.restarts += 1
        _log(f"{child.name} ended with {code}; restart {service.restarts}")
        children.stop([self._processes[child.name]], patience=0)
        if child.name != "function":
            # At best, it starts with the data of the last orderly stop. Newer data is lost.
            self._state.lost = sorted({*self._state.lost, child.name})
            self._unprovisioned.add(child.name)
            self._state.phase = RECOVERING
        self._start(child)

    def _provision_again(self, name: str) -> None:
        """Start to provision a child in a thread, because it may crash again meanwhile."""
        site = "aws" if name == "aws" else "gcp"
        if any(each.site == site for each in outage.active(self._home.folder)):
            return  # it would hang or fail
        if name in self._provisioning:
            return
        process = self._processes[name]

        def provision() -> None:
            succeeded = False
            try:
                (self._provision_aws if name == "aws" else self._provision_gcp)()
                succeeded = True
            except McloudError as error:
                _log(f"{name} cannot be provisioned yet: {error}")
            finally:
                self._attempts.put((name, process, succeeded))

        self._provisioning.add(name)
        threading.Thread(target=provision, daemon=True).start()

    def _note_provisioned(self) -> None:
        while not self._attempts.empty():
            name, process, succeeded = self._attempts.get()
            self._provisioning.discard(name)
            # A child that crashed meanwhile does not have the provisioned resources.
            if not succeeded or self._processes[name] is not process:
                continue
            self._unprovisioned.discard(name)
            if not self._unprovisioned:
                self._state.phase = READY
            self._write()

    def _start(self, child: Child) -> None:
        log = self._home.logs / f"{child.name}.log"
        process = child.start(self._home.folder, log)
        self._processes[child.name] = process
        self._started[child.name] = time.monotonic()
        service = self._state.services.setdefault(child.name, ServiceState(child.front_address))
        service.pid = process.pid
        self._write()

    def _wait_ready(self, child: Child) -> None:
        self._say(f"waiting for {child.name}")
        deadline = time.monotonic() + READY_TIMEOUT
        while not children.answers(child.address):
            code = self._processes[child.name].poll()
            if code is not None or time.monotonic() > deadline:
                what = "does not listen" if code is None else f"ended with {code}"
                raise LocalError(
                    f"{child.name} {what}: {self._last_words(child.name)}",
                    remedy=f"see {self._home.logs / child.name}.log",
                )
            if self._stopping.wait(0.05) or not self._owner_lives():
                raise _Stopped

    def _tear_down(self) -> None:
        if self._state.phase != FAILED:
            self._state.phase = STOPPING
        self._say("stopping")
        # The function has no state, and a busy one would need a while to end.
        if "function" in self._processes:
            children.stop([self._processes["function"]], patience=0)
        children.stop(self._processes.values(), PATIENCE)
        # Data that was kept before a failed start stays kept.
        if self._wants_keep() or self._home.kept.exists():
            self._home.kept.touch()
        else:
            shutil.rmtree(self._home.data, ignore_errors=True)
        if not self._owner_lives():
            shutil.rmtree(self._home.folder, ignore_errors=True)

    def _wants_keep(self) -> bool:
        """Return whether the data is to be kept: ``up --keep`` is in the options, and ``down
        --keep`` writes a file.
        """
        note = self._home.folder / "keep"
        if note.exists():
            note.unlink()
            return True
        return self._options.keep

    def _start_reaper(self) -> Process:
        command = (sys.executable, "-m", "mcloud.local.reaper", str(self._home.folder))
        return processes.start(command, stdin=subprocess.PIPE, start_new_session=True)

    def _owner_lives(self) -> bool:
        if self._owner is None:
            return True
        return self._owner.is_running() and self._owner.status() != psutil.STATUS_ZOMBIE

    def _address(self, name: str) -> str:
        return self._state.services[name].address

    def _last_words(self, name: str) -> str:
        lines = (self._home.logs / f"{name}.log").read_text(errors="replace").split("\n")
        return next(
            (line.strip() for line in reversed(lines) if line.strip()), "it printed nothing"
        )

    def _say(self, doing: str) -> None:
        self._state.doing = doing
        self._write()

    def _write(self) -> None:
        """Write the state. On a full disk, the write is skipped and the services continue."""
        try:
            self._home.write(self._state)
        except McloudError:
            self._unwritten = True
        else:
            self._unwritten = False

    def _fail(self, error: str) -> None:
        self._state.phase, self._state.error = FAILED, error


def _log(text: str) -> None:
    with suppress(OSError):  # a full disk must not stop the clouds
        print(text, flush=True)


class _Stopped(Exception):
    """Raised for a request to stop during the start."""


def main() -> int:
    return Supervisor(Options(**json.loads(sys.argv[1]))).run()


if __name__ == "__main__":
    sys.exit(main())
