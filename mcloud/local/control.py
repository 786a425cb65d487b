"""Starts and stops the embedded clouds; the counterpart of ``supervisor``."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

from mcloud import processes
from mcloud.config import LOCAL, Config
from mcloud.errors import LocalError
from mcloud.files import check_room
from mcloud.local import children
from mcloud.local.state import FAILED, READY, Home, State
from mcloud.local.supervisor import PATIENCE, Options
from mcloud.processes import Process
from mcloud.removed import set_aside

ROOM = 8 * 2**20  # bytes; the services need one of these megabytes without data

# The usual variable of each service that a user may already run.
EXTERNAL = {
    "aws": "AWS_ENDPOINT_URL",
    "pubsub": "PUBSUB_EMULATOR_HOST",
    "firestore": "FIRESTORE_EMULATOR_HOST",
    "storage": "STORAGE_EMULATOR_HOST",
}


def options(config: Config, environment: Mapping[str, str]) -> Options:
    """Return the options of the embedded clouds, from the configuration and the usual environment
    variables."""
    ours = addresses(config.local)
    return Options(
        home=str(config.local),
        **asdict(config.ports),
        external=external(environment, ours),
    )


def up(options: Options, progress: Callable[[str], None] = lambda doing: None) -> State:
    """Start the embedded clouds and wait until they can be used.

    If it is interrupted, it stops the processes that it started. ``progress`` is called with the
    step that it is waiting for.

    Raises:
        LocalError: a port is taken, the extra is missing, the path of the folder is not UTF-8, or a
            service did not start. No process is left running.
    """
    children.check_installed()
    try:
        options.home.encode()
    except UnicodeEncodeError:
        raise LocalError(
            f"the embedded clouds cannot work in {options.home!a}: the path is not UTF-8",
            remedy="run mcloud in another folder, or set MCLOUD_STATE to another one",
        ) from None
    home = Home(Path(options.home))
    home.create()
    check_room(home.folder, ROOM)
    if home.is_up():
        raise LocalError(
            "the embedded clouds are already up", remedy="see `mcloud local status`, or use them"
        )
    _clear(home)
    for service, port, flag in (
        ("aws", options.aws_port, "--aws-port"),
        ("gcp", options.gcp_port, "--gcp-port"),
        ("storage", options.storage_port, "--storage-port"),
        ("function", options.function_port, "--function-port"),
    ):
        if service not in options.external:
            children.check_free(port, flag)
    with (home.logs / "supervisor.log").open("ab") as log:
        process = processes.start(
            (sys.executable, "-m", "mcloud.local.supervisor", options.encode()),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        return _wait(home, process, progress)
    except BaseException:
        # This includes Ctrl-C: whatever the reason, no process may keep starting in the background.
        process.terminate()
        try:
            process.wait(2 * PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
        raise


def down(folder: Path, *, keep: bool = False) -> bool:
    """Stop the embedded clouds and delete their data, unless it is to be kept.

    Return False if they were not running. Processes that a killed supervisor has left are ended as
    well.
    """
    import psutil

    home = Home(folder)
    was_up = home.is_up()
    supervisor = home.lock.holder()
    if supervisor is not None:
        if keep:
            (folder / "keep").touch()
        try:
            supervisor.terminate()
            supervisor.wait(2 * PATIENCE)
        except psutil.TimeoutExpired:
            supervisor.kill()
            supervisor.wait()
        except psutil.NoSuchProcess:
            was_up = True  # another command has just stopped it
    return _clear(home) or was_up


def _clear(home: Home) -> bool:
    """Remove what a killed supervisor has left. Return True if there were processes."""
    if home.is_up():
        return False
    swept = children.sweep(home.folder)
    (home.folder / "keep").unlink(missing_ok=True)
    if not home.kept.exists():
        for path in home.data.glob("*"):
            shutil.rmtree(path, ignore_errors=True)
        _forget_deployments(home.folder)
    return swept > 0


def _forget_deployments(folder: Path) -> None:
    """Set aside the states of the resources that Terraform created on the embedded clouds, because
    their data no longer exists.
    """
    if folder.name != LOCAL:
        return  # the folder of a demo, which does not belong to a profile
    things = {kind: folder.parent / kind / LOCAL for kind in ("terraform", "outputs")}
    set_aside(folder.parent, LOCAL, "all", things)


def external(environment: Mapping[str, str], ours: Collection[str]) -> dict[str, str]:
    """Return the addresses of services that the user runs and names in the usual variables.

    ``ours`` are the addresses of mcloud's own services, which the variables contain after ``eval
    "$(mcloud local env)"``. They are ignored.

    Raises:
        LocalError: a variable does not contain an address, or no service answers there.
    """
    found = {}
    for service, variable in EXTERNAL.items():
        named = environment.get(variable, "")
        if not named:
            continue
        address = _address(named)
        if address is None or not children.answers(address):
            if address in ours:
                continue
            what = "where nothing answers" if address else "which is not of the form host:port"
            raise LocalError(
                f"{variable} names {named}, {what}", remedy=f"start it, or unset {variable}"
            )
        if address not in ours:
            found[service] = address
    return found


def addresses(folder: Path) -> set[str]:
    """Return the current addresses of mcloud's own services, or else the last ones."""
    state = Home(folder).read()
    return {each.address for each in state.services.values() if each.pid} if state else set()


def _address(named: str) -> str | None:
    """Return the ``host:port`` of a variable's value, with or without a scheme."""
    try:
        parts = urlsplit(named if "//" in named else f"//{named}")
        if not parts.hostname or parts.port is None:
            return None
    except ValueError:
        return None
    host = children.HOST if parts.hostname == "localhost" else parts.hostname
    return f"{host}:{parts.port}"


def environment(state: State) -> dict[str, str]:
    """Return the usual variables, so that ``aws``, ``gcloud`` and any SDK reach the embedded
    clouds.

    They include the variables of earlier scripts. Of ``gcloud`` only the storage commands work,
    because the others use REST and the embedded servers use gRPC. The variables prevent all of them
    from reaching Google with the user's own account.
    """
    aws, gcp = state.outputs["aws"], state.outputs["gcp"]
    return {
        "AWS_ENDPOINT_URL": aws["endpoint_url"],
        "AWS_REGION": aws["region"],
        "AWS_DEFAULT_REGION": aws["region"],
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "SQS_QUEUE_URL": aws["queue_url"],
        "DYNAMODB_TABLE": aws["candles_table"],
        "S3_BUCKET": aws["raw_bucket"],
        "PUBSUB_EMULATOR_HOST": gcp["pubsub_endpoint"],
        "FIRESTORE_EMULATOR_HOST": gcp["firestore_endpoint"],
        "STORAGE_EMULATOR_HOST": gcp["storage_endpoint"],
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": f"{gcp['storage_endpoint']}/storage/v1/",
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_CORE_PROJECT": gcp["project"],
        "GOOGLE_CLOUD_PROJECT": gcp["project"],
        "GCP_PROJECT_ID": gcp["project"],
        "GCP_REGION": gcp["region"],
        "PUBSUB_TOPIC": gcp["topic"],
        "STORAGE_BUCKET": gcp["raw_bucket"],
        "FIRESTORE_DATABASE": gcp["database"],
    }


def _wait(home: Home, process: Process, progress: Callable[[str], None]) -> State:
    while True:
        code = process.poll()
        state = home.read()
        if state is not None and state.pid == process.pid:
            if state.phase == READY:
                return state
            if state.phase == FAILED:
                process.wait()
                raise LocalError(state.error)
            progress(state.doing)
        if code is not None and home.is_up():
            raise LocalError("another `mcloud local up` has just started the embedded clouds")
        if code is not None:
            raise LocalError(
                f"the supervisor ended with {code}", remedy=f"see {home.logs / 'supervisor.log'}"
            )
        time.sleep(0.05)
