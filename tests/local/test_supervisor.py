"""The embedded clouds as a whole: start, supervision, stop, and no leftovers."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from patience import PATIENCE, eventually

from mcloud.clouds.aws.client import make_client
from mcloud.clouds.factory import open_site
from mcloud.errors import LocalError
from mcloud.local import children, control
from mcloud.local.children import MARK
from mcloud.local.state import READY, Home, ServiceState, State
from mcloud.local.supervisor import Options, Supervisor
from mcloud.market.archive import ArchiveObject

LOOPBACK = ("127.0.0.1", "::1", "::ffff:127.0.0.1")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "local"
    control.down(tmp_path / "local")


def options(folder: Path, **more: object) -> Options:
    return Options(str(folder), *children.free_ports(4), **more)  # type: ignore[arg-type]


def test_the_supervisor_starts_the_stack_and_stops_it_without_leftovers(folder: Path) -> None:
    state = control.up(options(folder))
    assert set(state.outputs) == {"aws", "gcp"}
    assert len(processes(folder)) >= 5
    assert listens_elsewhere(folder) == []
    assert control.down(folder) is True
    assert processes(folder) == []
    assert not Home(folder).is_up()
    assert control.down(folder) is False


@pytest.mark.slow
def test_all_processes_end_with_a_killed_supervisor(folder: Path) -> None:
    state = control.up(options(folder))
    os.kill(state.pid, signal.SIGKILL)
    eventually(lambda: processes(folder) == [])
    # The next supervisor starts, whatever the state file of the dead one says.
    assert control.up(options(folder)).pid != state.pid


def test_a_state_that_cannot_be_written_ends_nothing_and_is_written_later(folder: Path) -> None:
    state = control.up(options(folder))
    before = state.services["function"]
    in_the_way = folder / f".state.json.{state.pid}"
    in_the_way.mkdir()
    assert before.pid is not None
    psutil.Process(before.pid).kill()
    eventually(lambda: not psutil.pid_exists(before.pid or 0))
    assert Home(folder).require_ready().services["function"] == before
    in_the_way.rmdir()
    eventually(lambda: Home(folder).require_ready().services["function"].restarts == 1)


def test_the_supervisor_ends_with_its_owner(tmp_path: Path) -> None:
    folder = tmp_path / "local"
    owner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    supervisor = psutil.Process(control.up(options(folder, owner=owner.pid)).pid)
    owner.kill()
    owner.wait()
    eventually(lambda: not folder.exists())
    supervisor.wait(PATIENCE)
    assert processes(folder) == []


@pytest.mark.slow
@pytest.mark.parametrize("service", ["aws", "gcp", "storage", "function"])
def test_a_crashed_child_is_restarted_and_provisioned(folder: Path, service: str) -> None:
    state = control.up(options(folder))
    for site in sites(state):
        assert site.archive.put(ArchiveObject("raw/there", b"before the end"))
    pid = state.services[service].pid
    assert pid is not None
    os.killpg(pid, signal.SIGKILL)

    def back() -> bool:
        now = Home(folder).read()
        assert now is not None
        return (
            now.phase == READY
            and now.services[service].restarts == 1
            and children.answers(now.services[service].address)
        )

    eventually(back)
    now = Home(folder).read()
    assert now is not None
    assert now.lost == ([] if service == "function" else [service])
    for name, resources in state.resources().items():
        site = open_site(name, resources)
        for each in ("queue", "function", "candles", "archive"):
            site.probe.check(each, timeout=PATIENCE)


def test_a_child_that_dies_while_it_is_provisioned_is_started_and_provisioned_once_more(
    tmp_path: Path,
) -> None:
    """Provisioning waits for the dead cloud for seconds, without delaying anything else."""
    supervisor = Supervisor(Options(str(tmp_path / "local"), 1, 2, 3, 4))
    supervisor._home.create()
    started: list[threading.Event] = []

    def provision() -> None:
        started.append(threading.Event())
        started[-1].wait(PATIENCE)

    supervisor._provision_gcp = provision  # type: ignore[method-assign]
    with socket.create_server((children.HOST, 0)) as listening:
        sleeper = (sys.executable, "-c", "import time; time.sleep(300)")
        child = children.Child("gcp", sleeper, listening.getsockname()[1])
        supervisor._children = {"gcp": child}
        supervisor._start(child)
        supervisor._unprovisioned.add("gcp")
        try:
            supervisor._tend()
            first = supervisor._processes["gcp"]
            eventually(lambda: started)
            first.kill()
            first.wait()
            eventually(lambda: supervisor._tend() or supervisor._processes["gcp"] is not first)
            started[0].set()
            eventually(lambda: supervisor._tend() or len(started) == 2)
            assert supervisor._unprovisioned == {"gcp"}  # the first one is gone
            started[1].set()
            eventually(lambda: supervisor._tend() or not supervisor._unprovisioned)
            assert supervisor._state.phase == READY
        finally:
            children.stop([supervisor._processes["gcp"]], patience=0)


def test_a_child_is_provisioned_only_once(tmp_path: Path) -> None:
    """A second attempt would change its function while the clouds already count as ready."""
    supervisor = Supervisor(Options(str(tmp_path / "local"), 1, 2, 3, 4))
    supervisor._home.create()
    attempts: list[None] = []
    supervisor._provision_gcp = lambda: attempts.append(None)  # type: ignore[method-assign]
    with socket.create_server((children.HOST, 0)) as listening:
        sleeper = (sys.executable, "-c", "import time; time.sleep(300)")
        supervisor._children = {
            "gcp": children.Child("gcp", sleeper, listening.getsockname()[1]),
        }
        supervisor._start(supervisor._children["gcp"])
        supervisor._unprovisioned.add("gcp")
        try:
            supervisor._provision_again("gcp")
            eventually(lambda: not supervisor._attempts.empty())
            supervisor._tend()
            assert not supervisor._unprovisioned
            assert supervisor._state.phase == READY
            eventually(lambda: not supervisor._provisioning)
            assert len(attempts) == 1
        finally:
            children.stop([supervisor._processes["gcp"]], patience=0)


@pytest.mark.slow
def test_the_state_is_kept_on_request(folder: Path) -> None:
    ports = options(folder)
    item = ArchiveObject("raw/kept", b"bytes")
    for site in sites(control.up(ports)):
        assert site.archive.put(item)
    control.down(folder, keep=True)
    for site in sites(control.up(ports)):
        assert not site.archive.put(item)
    control.down(folder)
    for site in sites(control.up(ports)):
        assert site.archive.put(item)


@pytest.mark.slow
def test_messages_are_kept_on_other_ports(folder: Path) -> None:
    to = control.up(options(folder)).outputs["aws"]
    sqs = make_client("sqs", to["region"], to["endpoint_url"])
    sqs.send_message(QueueUrl=to["dlq_url"], MessageBody="kept")
    control.down(folder, keep=True)
    state = control.up(options(folder))
    assert state.outputs["aws"]["dlq_url"] != to["dlq_url"]
    (letter,) = sites(state)[0].queue.take_dead_letters(10)
    assert letter.body == b"kept"


@pytest.mark.slow
def test_an_interrupted_start_keeps_the_stored_data(folder: Path) -> None:
    ports = options(folder)
    item = ArchiveObject("raw/kept", b"bytes")
    for site in sites(control.up(ports)):
        assert site.archive.put(item)
    control.down(folder, keep=True)

    def interrupt(doing: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        control.up(ports, interrupt)
    assert processes(folder) == []
    for site in sites(control.up(ports)):
        assert not site.archive.put(item)


@pytest.mark.slow
def test_state_of_a_killed_supervisor_is_discarded(folder: Path) -> None:
    ports = options(folder)
    item = ArchiveObject("raw/left", b"bytes")
    state = control.up(ports)
    for site in sites(state):
        assert site.archive.put(item)
    os.kill(state.pid, signal.SIGKILL)
    eventually(lambda: processes(folder) == [])
    for site in sites(control.up(ports)):
        assert site.archive.put(item)


def test_a_running_aws_emulator_of_the_user_is_used(folder: Path, embedded: State) -> None:
    address = embedded.outputs["aws"]["endpoint_url"].removeprefix("http://")
    state = control.up(options(folder, external={"aws": address}))
    assert state.services["aws"].pid is None
    assert state.outputs["aws"]["endpoint_url"] == f"http://{address}"


def test_a_taken_port_is_refused_with_the_flag_to_change_it(folder: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind((children.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        a, b, c = children.free_ports(3)
        with pytest.raises(LocalError, match=rf"port {port} is in use.*--gcp-port"):
            control.up(Options(str(folder), a, port, b, c))
    assert processes(folder) == []


def test_a_path_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    with pytest.raises(LocalError, match=r"cannot work in '.*caf.udce9': the path is not UTF-8"):
        control.up(options(folder))
    assert not folder.exists()


def test_a_second_up_is_refused(folder: Path) -> None:
    control.up(options(folder))
    with pytest.raises(LocalError, match="already up"):
        control.up(options(folder))


def test_a_child_that_cannot_start_is_named_with_its_log(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ministack-1.dist-info").mkdir()  # as if pip had installed the package there
    (tmp_path / "ministack.py").write_text("raise SystemExit('this one is broken')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(LocalError, match=r"aws ended with 1: this one is broken; see .*aws\.log"):
        control.up(options(folder))
    assert processes(folder) == []


def test_down_does_not_trust_a_stale_process_id(folder: Path) -> None:
    """After a crash, the id in the state file may belong to another process."""
    home = Home(folder)
    home.create()
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        home.write(State(pid=bystander.pid, phase="ready"))
        assert control.down(folder) is False
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_the_state_of_another_version_is_read(folder: Path) -> None:
    home = Home(folder)
    home.create()
    path = folder / "state.json"
    path.write_text(
        '{"pid": 1, "mood": "good", "services": {"aws": {"address": "a:1", "colour": "red"}}}'
    )
    assert home.read() == State(1, services={"aws": ServiceState("a:1")})
    path.write_text("{cut short")
    assert home.read() is None


def test_running_emulators_of_the_user_are_used(embedded: State) -> None:
    named = embedded.outputs["gcp"]
    environment = {
        "PUBSUB_EMULATOR_HOST": named["pubsub_endpoint"],
        "STORAGE_EMULATOR_HOST": named["storage_endpoint"],
    }
    assert control.external(environment, ours=()) == {
        "pubsub": named["pubsub_endpoint"],
        "storage": named["storage_endpoint"].removeprefix("http://"),
    }
    port = named["pubsub_endpoint"].rpartition(":")[2]
    ours = [named["pubsub_endpoint"]]
    assert control.external({"PUBSUB_EMULATOR_HOST": f"localhost:{port}"}, ours) == {}
    (silent,) = children.free_ports(1)
    gone = {"PUBSUB_EMULATOR_HOST": f"127.0.0.1:{silent}"}
    assert control.external(gone, [f"127.0.0.1:{silent}"]) == {}  # from our earlier run
    with pytest.raises(LocalError, match=r"PUBSUB_EMULATOR_HOST.*nothing answers"):
        control.external(gone, ())
    for nonsense in ("http://localhost", "https://[::1", "8085"):
        with pytest.raises(LocalError, match="not of the form host:port"):
            control.external({"AWS_ENDPOINT_URL": nonsense}, ())


def sites(state: State) -> list:
    return [open_site(name, resources) for name, resources in state.resources().items()]


def processes(folder: Path) -> list[psutil.Process]:
    """Return the child processes that carry the mark of these clouds."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(folder):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def listens_elsewhere(folder: Path) -> list[str]:
    """Return the addresses other than loopback on which a child process listens."""
    return [
        str(connection.laddr)
        for process in processes(folder)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.ip not in LOOPBACK
    ]
