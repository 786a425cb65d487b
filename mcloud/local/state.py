"""The state of the embedded clouds in ``.mcloud/local/``, written by the supervisor only.

The embedded clouds are up while the supervisor holds a lock, which it does until it exits. A
process ID in a file is never used for this.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from mcloud import files
from mcloud.clouds.resources import CLOUDS, AwsResources, GcpResources, Resources
from mcloud.documents import OTHER_TEXTS, Damaged, read_file
from mcloud.errors import LocalError
from mcloud.lock import Lock

LocalPhase = Literal["starting", "ready", "recovering", "stopping", "failed"]
"""Phase of the supervisor. It is ``recovering`` while it provisions a crashed service again."""

STARTING: Final = "starting"
READY: Final = "ready"
RECOVERING: Final = "recovering"
STOPPING: Final = "stopping"
FAILED: Final = "failed"


@dataclass
class ServiceState:
    address: str
    """Address, as ``host:port``."""
    pid: int | None = None
    """Process ID; None if mcloud does not run the service itself (see ``--emulators``)."""
    restarts: int = 0
    """Number of restarts in a row."""


@dataclass
class State:
    pid: int
    phase: Annotated[LocalPhase, OTHER_TEXTS] = STARTING
    doing: str = ""
    """The step that the supervisor is waiting for during the start."""
    error: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    """Options that the supervisor was started with."""
    services: dict[str, ServiceState] = field(default_factory=dict)
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    """Resources by site, as in ``mcloud outputs``."""
    lost: list[str] = field(default_factory=list)
    """Services that were restarted without their data."""

    def resources(self) -> dict[str, Resources]:
        return {
            "aws": AwsResources.from_outputs(self.outputs["aws"]),
            "gcp": GcpResources.from_outputs(self.outputs["gcp"]),
        }


class Home:
    """The folder of one set of embedded clouds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.logs = folder / "logs"

    def create(self) -> None:
        """Create the folders.

        Raises:
            McloudError: they cannot be created.
        """
        files.make_private(self.data, self.logs)

    @property
    def kept(self) -> Path:
        """File that marks data kept by an orderly stop for the next start."""
        return self.folder / "kept"

    @property
    def lock(self) -> Lock:
        return Lock(self.folder / "lock")

    def is_up(self) -> bool:
        """Return whether a supervisor is running, in any phase."""
        return self.lock.is_held()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock.

        Raises:
            LocalError: another supervisor holds it.
        """
        with self.lock.held() as mine:
            if not mine:
                raise LocalError("the embedded clouds are already up")
            yield

    def read(self) -> State | None:
        """Return the last state, even of a supervisor that crashed or of another version."""
        found = self.found()
        return None if isinstance(found, Damaged) else found

    def found(self) -> State | Damaged | None:
        """Return the last state, or Damaged with the reason if its file is damaged."""
        path = self.folder / "state.json"
        state = read_file(path, State)
        if isinstance(state, State) and state.phase == READY:
            for site in CLOUDS:
                if site not in state.outputs:
                    return Damaged(f"outputs.{site} is missing", str(path))
        return state

    def write(self, state: State) -> None:
        text = json.dumps(asdict(state), indent=2)
        files.write(self.folder / "state.json", text, durable=False)

    def require_ready(self) -> State:
        """Return the state of the embedded clouds if they can be used now.

        Raises:
            LocalError: they cannot; the message says why.
        """
        state = self.found()
        if self.is_up() and isinstance(state, Damaged):
            raise LocalError(
                f"{state.where} is damaged: {state.what}",
                remedy="run `mcloud local down`, and then `mcloud local up`",
            )
        if not self.is_up() or state is None or isinstance(state, Damaged):
            raise LocalError("the embedded clouds are down", remedy="run `mcloud local up`")
        if state.phase not in (READY, RECOVERING):
            raise LocalError(
                f"the embedded clouds are {state.phase}", remedy="see `mcloud local status`"
            )
        return state
