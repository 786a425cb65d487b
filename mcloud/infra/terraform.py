"""Terraform or OpenTofu, run in a folder.

``python-terraform`` builds the command lines. mcloud runs the process itself, because that package
shows no output before the end, loses Ctrl-C, and treats every misspelt method as a command (its own
``destroy`` passes an option that Terraform no longer has).

Terraform runs in its own session and writes into a file, which mcloud follows. Even if mcloud ends,
for example with its terminal, Terraform therefore continues to its end, saves its state and
releases its lock.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import IO, TYPE_CHECKING, Any

import python_terraform  # type: ignore[import-untyped]
from python_terraform import IsFlagged

from mcloud import processes
from mcloud.errors import McloudError
from mcloud.files import write
from mcloud.infra import environment as surroundings
from mcloud.infra.diagnosis import explain, from_text
from mcloud.infra.state import ERRORED, STATE, TerraformState, find_object, parse_state
from mcloud.infra.state_errors import BACKEND, FailedRun, Locked

if TYPE_CHECKING:
    from mcloud.config import TerraformConfig

MIN_VERSION = (1, 5)
"""Minimum version, as in ``required_version`` in ``terraform/*/versions.tf``."""

LOCKFILE_VERSION = {"Terraform": (1, 10), "OpenTofu": (1, 10)}
"""Minimum versions that lock a state in S3 with ``use_lockfile``.

https://developer.hashicorp.com/terraform/language/v1.10.x/upgrade-guides#s3-native-state-locking
https://opentofu.org/docs/v1.10/intro/whats-new/#native-s3-state-locking
"""

LOSS_CONFIRMED = "MCLOUD_LOSS_CONFIRMED"  # see terraform/*/protection.tf

POLL = 0.02  # seconds
RETRY = 2.0  # seconds between attempts to get a lock that another process holds
REMIND = 30.0  # seconds until the holder of the lock is shown again

# Bytes on the disk that are reserved for the output of a run from its beginning. If the disk is
# full when Terraform saves its state, Terraform prints the state instead. The state of a stack is a
# twentieth of this.
RESERVE = 4 * 1024 * 1024
PIECE = 64 * 1024  # bytes of the output that are read at a time

_OF_THE_STATE = re.compile(r"\b(state|lock)\b", re.IGNORECASE)

OnEvent = Callable[[dict[str, Any]], None]


class Interrupted(McloudError):
    """Terraform was asked to stop, has stopped and has released its lock."""


def find_binary(config: "TerraformConfig") -> str:
    """Return the path of the configured binary, of ``terraform``, or of ``tofu``.

    Raises:
        McloudError: there is none.
    """
    if config.binary is not None:
        found = shutil.which(config.binary)
        if found is None:
            raise McloudError(
                f"the Terraform binary {config.binary!r} does not exist",
                remedy="correct MCLOUD_TERRAFORM, or `binary` in [terraform] of mcloud.toml",
            )
        return found
    for name in ("terraform", "tofu"):
        found = shutil.which(name)
        if found is not None:
            return found
    raise McloudError(
        "neither terraform nor tofu is on the PATH",
        remedy="install one (https://developer.hashicorp.com/terraform/install or"
        " https://opentofu.org/docs/intro/install), or set MCLOUD_TERRAFORM to its path",
    )


def version(binary: str) -> tuple[str, tuple[int, ...]]:
    """Return the product and its version: ``("Terraform", (1, 11, 4))`` or ``("OpenTofu", …)``.

    Raises:
        McloudError: it cannot be run, or is something else.
    """
    try:
        environment = surroundings.reaching_terraform(os.environ)
        _, said = processes.ask((binary, "version"), 30, environment)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise McloudError(f"{binary} cannot be run: {error}") from error
    # It may print warnings about its settings first, and a wrapper may mention other versions.
    found = re.search(r"^(Terraform|OpenTofu) v(\d+)\.(\d+)\.(\d+)\S*$", said, re.MULTILINE)
    if found is None:
        words = said.strip().partition("\n")[0] or "it printed nothing"
        raise McloudError(
            f"{binary} is neither Terraform nor OpenTofu: {words}",
            remedy="set MCLOUD_TERRAFORM to the right one",
        )
    return found[1], tuple(map(int, found.group(2, 3, 4)))


def check_version(binary: str, *backends: Mapping[str, Any]) -> None:
    """Raise McloudError if ``binary`` is older than the modules or the backends need.

    Args:
        backends: ``backend`` of the sites, as in mcloud.toml.
    """
    product, numbers = version(binary)
    old = f"{product} {_dotted(numbers)} at {binary} is too old"
    update = f"update {product}, or set MCLOUD_TERRAFORM to a newer one"
    if numbers < MIN_VERSION:
        raise McloudError(f"{old}: the modules need {_dotted(MIN_VERSION)} or newer", remedy=update)
    needed = LOCKFILE_VERSION[product]
    if numbers < needed and any(map(_uses_lockfile, backends)):
        raise McloudError(
            f"{old}: the lock of a state in S3 (`use_lockfile`) needs {product}"
            f" {_dotted(needed)} or newer",
            remedy=f"{update}, or set `use_lockfile = false` and a `dynamodb_table` in the site's"
            " `backend` in mcloud.toml",
        )


def _uses_lockfile(backend: Mapping[str, Any]) -> bool:
    return backend.get("type") == "s3" and bool(backend.get("use_lockfile", True))


class LockWait:
    """The time for which a command waits for a lock that another process holds."""

    def __init__(self, seconds: float, stop: Event, say: Callable[[str], None]) -> None:
        self._give_up = time.monotonic() + seconds
        self._stop = stop
        self._say = say
        self._said = ("", -REMIND)

    def pause(self, locked: Locked) -> None:
        """Wait a moment, and report who holds the lock.

        Raises:
            Locked: the time is over.
            Interrupted: the command was stopped.
        """
        now = time.monotonic()
        left = self._give_up - now
        if left <= 0:
            raise locked
        words, at = self._said
        if locked.message != words or now - at >= REMIND:
            self._said = (locked.message, now)
            self._say(f"{locked.message}; waiting for up to {left:.0f} s")
        if self._stop.wait(min(RETRY, left)):
            raise Interrupted("interrupted while another run held the lock; nothing was changed")


class Terraform(python_terraform.Terraform):  # type: ignore[misc]
    """Runs ``binary`` in ``folder``. Every call raises McloudError if Terraform fails.

    ``stop`` asks Terraform to stop, from any thread, as one Ctrl-C would; the call then waits for
    it. ``echo`` gets every line of its output. While another run holds the lock of the state, a
    call that needs the lock waits for up to ``lock_timeout`` seconds, and ``say`` gets the name of
    the holder.
    """

    def __init__(
        self,
        folder: Path,
        binary: str,
        *,
        environment: Mapping[str, str],
        stop: Event,
        echo: Callable[[str], None] = lambda line: None,
        say: Callable[[str], None] = lambda line: None,
        lock_timeout: float = 0.0,
    ) -> None:
        super().__init__(working_dir=str(folder), terraform_bin_path=binary)
        self._folder = folder
        self._failed = FailedRun(folder, binary, tuple(surroundings.withheld(environment)))
        self._environment = surroundings.reaching_terraform(environment)
        self._environment["TMPDIR"] = surroundings.temporary_folder(environment, folder)
        self._stop = stop
        self._echo = echo
        self._say = say
        self._lock_timeout = lock_timeout

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    def read_state_file(self, file_path: str | None = None) -> None:
        """Do nothing: the state may be stored elsewhere, and only Terraform reads it."""

    def cmd(
        self, cmd: str, *args: str, even_stopped: bool = False, **options: Any
    ) -> tuple[int, str, str]:
        """Run a command to its end. Return its exit code, its output and its error output."""
        # The files are in the site's folder, because TMPDIR may be small and the output may contain
        # secrets.
        here = self._folder
        with tempfile.TemporaryFile(dir=here) as out, tempfile.TemporaryFile(dir=here) as err:
            command = self.generate_cmd_string(cmd, *args, **options)
            code = self._run(command, out, err, even_stopped=even_stopped)
            texts = [_text(file) for file in (out, err)]
        for line in texts[1].splitlines():
            self._echo(line)
        return code, texts[0], texts[1]

    def init(self, plugin_dir: str | None = None, lock_file: Path | None = None) -> None:
        """Fetch the providers, and initialise the backend of the state.

        Args:
            lock_file: the lock file to copy into the folder. Only the providers in it are used.
        """
        code, out, err = self.cmd(
            "init",
            input=False,
            no_color=IsFlagged,
            plugin_dir=plugin_dir,
            lockfile="readonly" if lock_file else None,
        )
        for line in out.splitlines():
            self._echo(line)
        if code:
            raise explain(from_text(out + err), replace(self._failed, lock_file=lock_file))

    def lock_providers(self, platforms: Sequence[str], mirror: str | None = None) -> None:
        """Write the checksums of the providers' packages for some platforms into the lock file.

        Args:
            mirror: the folder with the packages, instead of the registry.
        """
        code, out, err = self.cmd(
            "providers lock", no_color=IsFlagged, platform=list(platforms), fs_mirror=mirror
        )
        if code:
            raise explain(from_text(out + err), self._failed)

    def plan(self, to: str, told: OnEvent, **options: Any) -> dict[str, Any]:
        """Make a plan in the file ``to``. Return the plan as ``terraform show -json`` prints it."""
        command = self.generate_cmd_string("plan", json=IsFlagged, input=False, out=to, **options)
        self._patiently(lambda: self._follow(command, told))
        return self.show(to)

    def show(self, plan: str) -> dict[str, Any]:
        """Return the content of a saved plan, which may include secrets."""
        code, out, err = self.cmd("show", plan, json=IsFlagged, no_color=IsFlagged)
        if code:
            raise explain(from_text(out + err), self._failed)
        shown = find_object(out, "format_version")
        if shown is None:
            raise McloudError(
                f"`{self.terraform_bin_path} show -json` printed no plan",
                remedy="set MCLOUD_TERRAFORM to Terraform itself, not to a wrapper",
            )
        return shown

    def apply(self, plan: str, told: OnEvent) -> None:
        """Apply exactly the changes of a saved plan."""
        command = self.generate_cmd_string("apply", plan, json=IsFlagged, input=False)
        self._patiently(lambda: self._follow(command, told))

    def confirm_loss(self) -> None:
        """Let the following runs delete a stack although its deletion protection is on."""
        self._environment[LOSS_CONFIRMED] = "1"

    def pull(self) -> TerraformState | None:
        """Return the current state, even after a stop, or None if there is none."""
        code, out, err = self.cmd("state pull", even_stopped=True)
        if code:
            # This command does not print errors as JSON, and does not always frame them.
            raise explain(from_text(out + err) or [{"summary": out + err}], self._failed)
        return parse_state(out)

    def other_workspaces(self) -> list[str]:
        """Return the names of the workspaces besides the default one, which mcloud uses."""
        code, out, err = self.cmd("workspace list")
        if code:
            raise explain(from_text(out + err), self._failed)
        names = re.findall(r"^[* ] (\S+)$", out, re.MULTILINE)
        return [name for name in names if name != "default"]

    def push(self, state: str) -> None:
        """Save a state that could not be saved when it was made."""

        def push() -> None:
            code, out, err = self.cmd("state push", state)
            if code:
                raise explain(from_text(out + err), self._failed)

        self._patiently(push)

    def _patiently(self, run: Callable[[], None]) -> None:
        """Run a call that needs the lock of the state, and repeat it while another process holds
        the lock."""
        wait = LockWait(self._lock_timeout, self._stop, self._say)
        while True:
            try:
                return run()
            except Locked as error:
                wait.pause(error)

    def _follow(self, command: list[str], told: OnEvent) -> None:
        """Run a command with ``-json``, and report each event immediately."""
        errors: list[dict[str, Any]] = []
        dump: dict[str, Any] | None = None
        with _Log(self._folder / f"{command[1]}.log") as log:

            def read() -> None:
                nonlocal dump
                for line in log.lines():
                    event = _event(line)
                    if event is None:
                        self._echo(line)
                        continue
                    diagnostic = event.get("diagnostic")
                    self._echo(event.get("@message", line))
                    if diagnostic and diagnostic.get("detail"):
                        self._echo(diagnostic["detail"])
                    if diagnostic and diagnostic["severity"] == "error":
                        errors.append(diagnostic)
                    if isinstance(event.get("state"), dict):
                        dump = event["state"]
                    else:
                        told(event)

            code = self._run(command, log.file, log.file, read)
            read()
            said = log.tail()
        if dump is not None:
            _rescue(self._folder, dump)
        if code:
            # A stop causes errors of its own. Errors about the state or its lock are different, and
            # are reported.
            grave = [each for each in errors if _OF_THE_STATE.search(each["summary"])]
            if self._stop.is_set() and dump is None and not grave:
                raise Interrupted(
                    f"terraform {command[1]} was interrupted and has released its lock"
                )
            raise explain(grave or errors or from_text(said), self._failed)

    def _run(
        self,
        command: list[str],
        out: Any,
        err: Any,
        read: Callable[[], None] = lambda: None,
        *,
        even_stopped: bool = False,
    ) -> int:
        if self._stop.is_set() and not even_stopped:
            raise Interrupted("interrupted before Terraform was started")
        process = processes.start(
            command,
            self._environment,
            cwd=self._folder,
            stdout=out,
            stderr=err,
            start_new_session=True,
            umask=0o077,
        )
        asked = even_stopped
        trouble: BaseException | None = None
        while process.poll() is None:
            # Wait for Terraform in any case, because it has to save its state.
            try:
                process.wait(POLL)
            except subprocess.TimeoutExpired:
                pass
            except KeyboardInterrupt as interrupt:
                trouble = interrupt
                self._stop.set()
            if trouble is None:
                try:
                    read()
                except Exception as error:  # noqa: BLE001 - raised below
                    trouble = error
            if self._stop.is_set() and not asked and process.returncode is None:
                asked = True
                # The signal goes to the whole process group, as from a terminal, because the binary
                # may be a wrapper.
                os.killpg(process.pid, signal.SIGINT)
        if trouble is not None:
            raise trouble
        return process.returncode


class _Log:
    """A file for Terraform's output, which mcloud reads while it grows. Its space on the disk is
    reserved in advance."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self._rest = b""

    def __enter__(self) -> "_Log":
        self.file: IO[bytes] = open(
            self._path, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)
        )
        self._reader = self._path.open("rb")
        try:
            self._reserve()
        except OSError as error:
            self.__exit__()
            raise McloudError(
                f"there is no room for Terraform's state in {self._path.parent}: {error.strerror}",
                remedy=f"free {RESERVE // 2**20} MiB; nothing was changed",
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        self.file.truncate(self._position)
        self.file.close()
        self._reader.close()

    def _reserve(self) -> None:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self.file.fileno(), 0, RESERVE)
            return
        self.file.write(bytes(RESERVE))  # macOS
        self.file.flush()
        self.file.seek(0)

    def lines(self) -> Iterator[str]:
        """Yield the new complete lines."""
        self._reader.seek(self._position)
        fresh = b""
        # Reserved space that is not written yet reads as zeros.
        while not fresh.endswith(b"\0") and (piece := self._reader.read(PIECE)):
            fresh += piece[: piece.index(0) + 1] if 0 in piece else piece
        fresh = fresh.removesuffix(b"\0")
        self._position += len(fresh)
        *whole, self._rest = (self._rest + fresh).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace")

    def tail(self) -> str:
        """Return all output, for a Terraform that failed without a diagnostic in JSON."""
        self._reader.seek(0)
        return self._reader.read(self._position).decode(errors="replace")


def _rescue(folder: Path, state: dict[str, Any]) -> None:
    """Save the state that Terraform had no room for, in the space that the reserve of the log has
    freed."""
    errored, local = folder / ERRORED, folder / STATE
    is_remote = (folder / BACKEND).exists()
    write(errored if is_remote else local, json.dumps(state))
    if not is_remote:
        # Terraform's own file is incomplete, because the disk became full while it was written.
        errored.unlink(missing_ok=True)


def _event(line: str) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return re.sub(r"\x1b\[[0-9;]*m", "", file.read().decode(errors="replace"))  # colours


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))
