"""Bring the embedded clouds up and down; the other side of ``supervisor``."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

from mcloud import processes
from mcloud.config import LOCAL, Config, settings
from mcloud.errors import LocalError
from mcloud.files import check_room
from mcloud.local import children
from mcloud.local.state import FAILED, READY, Home, State
from mcloud.local.supervisor import PATIENCE, Options
from mcloud.market.anomaly import Thresholds
from mcloud.processes import Process
from mcloud.removed import set_aside

ROOM = 8 * 2**20  # bytes; without data they take one of these

# The usual variable of each service that a user may run already.
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
        thresholds=settings(config, "anomalies", Thresholds).to_json(),
    )


def up(options: Options, progress: Callable[[str], None] = lambda doing: None) -> State:
    """Start the embedded clouds and wait until they can be used.

    Interrupted, it stops what it started. ``progress`` is told what is being waited for.

    Raises:
        LocalError: a port is taken, the extra is missing, the path of the folder is not UTF-8, a
            service did not start; nothing is left running.
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
        # Ctrl-C among them: whatever the reason, nothing may go on starting behind our back.
        process.terminate()
        try:
            process.wait(2 * PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
        raise


def down(folder: Path, *, keep: bool = False) -> bool:
    """Stop the embedded clouds and forget their data, unless it is to be kept.

    Returns False where they were not up. Leftovers of a supervisor that was killed go as well.
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
            was_up = True  # somebody else has just stopped it
    return _clear(home) or was_up


def _clear(home: Home) -> bool:
    """Remove what a supervisor that was killed has left; True where there were processes."""
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
    """Set aside the states of what Terraform built on the embedded clouds, whose data is gone."""
    if folder.name != LOCAL:
        return  # a demo's, which is no profile's
    things = {kind: folder.parent / kind / LOCAL for kind in ("terraform", "outputs")}
    set_aside(folder.parent, LOCAL, "all", things)


def external(environment: Mapping[str, str], ours: Collection[str]) -> dict[str, str]:
    """Addresses of the services that the user named in the usual variables and runs already.

    ``ours`` are the addresses of our own, which the variables name after
    ``eval "$(mcloud local env)"``; they do not count.

    Raises:
        LocalError: a variable holds no address, or nothing answers there.
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
    """Return the current, or else the last, addresses of mcloud's own services."""
    state = Home(folder).read()
    return {each.address for each in state.services.values() if each.pid} if state else set()


def _address(named: str) -> str | None:
    """``host:port`` of a variable's value, with or without a scheme."""
    try:
        parts = urlsplit(named if "//" in named else f"//{named}")
        if not parts.hostname or parts.port is None:
            return None
    except ValueError:
        return None
    host = children.HOST if parts.hostname == "localhost" else parts.hostname
    return f"{host}:{parts.port}"


def environment(state: State) -> dict[str, str]:
    """The usual variables, so that ``aws``, ``gcloud`` and any SDK reach the embedded clouds.

    Those of the earlier scripts are among them. Of ``gcloud`` it is its storage commands: the
    others speak REST, and the small servers gRPC. None of them is to go to Google with the user's
    own account.
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
