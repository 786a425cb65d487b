"""A saved plan: the file that `mcloud plan --out` writes and `mcloud deploy --plan` applies.

It is a zip file with Terraform's plan of each site, and with ``about.json``, which lists the inputs
of the plans. Terraform's plans contain the values of all attributes, including sensitive ones, so
only the owner may read the file.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from mcloud import __version__, files
from mcloud.errors import McloudError, UsageError

ABOUT = "about.json"
FORMAT = 1


@dataclass(frozen=True)
class Basis:
    """The inputs of a site's plan. A saved plan may be applied only while they are unchanged."""

    stack: str
    """Name of the stack, as in ``SiteConfig.stack``."""
    place: str
    """Location of the state, as in ``Workspace.place``."""
    lineage: str
    """Identity of the state; empty if there was none."""
    serial: int
    """Version of the state; 0 if there was none."""
    terraform: str
    """Product and version, such as ``Terraform 1.11.4``."""
    files: Mapping[str, str]
    """Digests of the module, its variables and the function's bundle, by file name."""

    def differs(self, now: "Basis") -> str:
        """Return which input has changed since the plan was made, or an empty string if none
        has."""
        if self.stack != now.stack:
            return f"it is for the stack {self.stack!r}, not {now.stack!r}"
        if self.place != now.place:
            return "the state was stored elsewhere"
        if self.files != now.files:
            names = {name for name, _ in self.files.items() ^ now.files.items()}
            return f"other contents of {', '.join(sorted(names))}"
        if self.lineage != now.lineage:
            return "the site has a different state now"
        if self.serial != now.serial:
            return (
                f"the state has changed from version {self.serial} to {now.serial}: another plan "
                "was applied in the meantime"
            )
        if self.terraform != now.terraform:
            return f"it was made by {self.terraform}, and this is {now.terraform}"
        return ""


@dataclass(frozen=True)
class SitePlan:
    basis: Basis
    plan: bytes
    """Terraform's plan file."""


@dataclass(frozen=True)
class SavedPlan:
    profile: str
    sites: Mapping[str, SitePlan]
    """By name."""

    def write(self, path: Path) -> None:
        """Write the file, for its owner only.

        Raises:
            McloudError: it cannot be written.
        """
        about = {
            "format": FORMAT,
            "version": __version__,
            "profile": self.profile,
            "sites": {name: asdict(each.basis) for name, each in self.sites.items()},
        }
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr(ABOUT, json.dumps(about, indent=2))
            for name, each in self.sites.items():
                archive.writestr(_entry(name), each.plan)
        files.write(path, packed.getvalue())


def read(path: Path) -> SavedPlan:
    """Read the file.

    Raises:
        UsageError: it cannot be read, or `mcloud plan --out` of this version did not write it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            about = json.loads(archive.read(ABOUT))
            if about["format"] != FORMAT or about["version"] != __version__:
                raise stale(f"mcloud {about['version']} saved it, and this is {__version__}", path)
            return SavedPlan(
                about["profile"],
                {
                    name: SitePlan(_basis(basis), archive.read(_entry(name)))
                    for name, basis in about["sites"].items()
                },
            )
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    except (zipfile.BadZipFile, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path} is not a plan that mcloud saved", remedy=f"write one with `{_command(path)}`"
        ) from error


def stale(why: str, path: Path) -> McloudError:
    """Return the error for a plan that would no longer do what was reviewed."""
    return McloudError(
        f"the plan in {path} is not applied: {why}",
        remedy=f"run `{_command(path)}` again, and review the new plan",
    )


def _command(path: Path) -> str:
    return f"mcloud plan --out {path}"


def _entry(site: str) -> str:
    return f"{site}.tfplan"


def _basis(noted: Mapping[str, Any]) -> Basis:
    return Basis(**{each.name: noted[each.name] for each in fields(Basis)})
