"""Terraform's outputs of each deployed site, in ``.mcloud/outputs``.

Each is a flat JSON object of names and endpoints, as in ``mcloud.clouds.resources``, without
secrets.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from mcloud import files
from mcloud.errors import McloudError


@dataclass(frozen=True)
class RemoteOutputs:
    """A copy of the outputs in the remote state of a site that another machine deployed."""

    values: Mapping[str, str]
    place: str
    """URL of the state."""
    at: float
    """When the state was read, in seconds since 1970."""

    @property
    def age(self) -> float:
        """Seconds since the state was read; 0 after the clock was set back."""
        return max(0.0, time.time() - self.at)


@dataclass(frozen=True)
class Outputs:
    """The stored outputs of the sites of one profile."""

    folder: Path
    options: str = ""
    """Options of ``mcloud deploy`` with which it writes these outputs."""

    def path(self, site: str) -> Path:
        return self.folder / f"{site}.json"

    def read(self, site: str) -> dict[str, str]:
        """Return the outputs of a site; empty if it is not deployed.

        Raises:
            McloudError: the file exists and cannot be read.
        """
        try:
            text = self.path(site).read_text(encoding="utf-8")
            values = json.loads(text) if text.strip() else None
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise self._unreadable(site, str(error)) from error
        if values is None:
            raise self._unreadable(site, "it is empty")
        if not isinstance(values, dict) or not all(type(each) is str for each in values.values()):
            raise self._unreadable(site, "it is not an object of strings")
        return values

    def write(self, site: str, values: Mapping[str, str]) -> None:
        """Replace the outputs of a site."""
        files.make_private(self.folder)
        files.write(self.path(site), json.dumps(dict(values), indent=2) + "\n")

    def read_remote(self, site: str) -> RemoteOutputs | None:
        """Return the copy of a remote state's outputs; or None if there is none that can be
        read."""
        try:
            found = json.loads(self._remote(site).read_text(encoding="utf-8"))
            return RemoteOutputs(dict(found["values"]), str(found["place"]), float(found["at"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None  # it is read from the state again

    def write_remote(self, site: str, values: Mapping[str, str], place: str) -> RemoteOutputs:
        """Replace the copy of a remote state's outputs."""
        made = RemoteOutputs(dict(values), place, time.time())
        files.make_private(self.folder)
        files.write(self._remote(site), json.dumps(asdict(made), indent=2) + "\n")
        return made

    def _remote(self, site: str) -> Path:
        return self.folder / f"{site}.remote.json"

    def _unreadable(self, site: str, why: str) -> McloudError:
        return McloudError(
            f"{self.path(site)} cannot be read: {why}",
            remedy=f"run `mcloud deploy {site}{self.options}`, which writes the file again",
        )
