"""Lock files of the Terraform providers, one for each cloud, beside ``mcloud.toml``.

A lock file holds the version of each provider and the checksums of its packages. A deployment uses
exactly these packages, on every machine of the listed platforms, and no others.

Format: https://developer.hashicorp.com/terraform/language/files/dependency-lock
"""

import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from mcloud import files
from mcloud.config import Config
from mcloud.infra.bundle import module_files
from mcloud.infra.state_errors import LOCK_FILE
from mcloud.infra.terraform import Terraform, check_version, find_binary

PLATFORMS = ("linux_amd64", "linux_arm64", "darwin_amd64", "darwin_arm64")

_PROVIDER = re.compile(r'^provider "(?P<name>[^"]+)" \{\n\s*version\s*= "(?P<version>[^"]+)"', re.M)


@dataclass(frozen=True)
class ProviderLock:
    """A lock file that was written."""

    path: Path
    providers: dict[str, str]
    """Versions, by address such as ``registry.terraform.io/hashicorp/aws``."""


def path_of(config: Config, cloud: str) -> Path:
    """Return the path of a cloud's lock file, which may not exist."""
    return config.document.path.parent / f"mcloud.{cloud}.lock.hcl"


def lock(
    config: Config, cloud: str, platforms: Sequence[str] = PLATFORMS, *, upgrade: bool = False
) -> ProviderLock:
    """Write the lock file of a cloud's module, with the checksums of all ``platforms``.

    The versions of an earlier lock file are kept, unless ``upgrade`` is set. The packages come from
    the registry, or from ``plugin_dir`` in mcloud.toml.

    Raises:
        McloudError: a package cannot be fetched.
    """
    binary = find_binary(config.terraform)
    check_version(binary)
    path = path_of(config, cloud)
    files.make_private(config.state)
    with tempfile.TemporaryDirectory(prefix="lock-", dir=config.state) as name:
        folder = Path(name)
        for each, content in module_files(cloud).items():
            (folder / each).write_bytes(content)
        if path.exists() and not upgrade:
            (folder / LOCK_FILE).write_bytes(path.read_bytes())
        terraform = Terraform(folder, binary, environment=dict(os.environ), stop=Event())
        terraform.lock_providers(platforms, config.terraform.plugin_dir)
        text = (folder / LOCK_FILE).read_text(encoding="utf-8")
    files.write(path, text, mode=0o666)
    return ProviderLock(path, {each["name"]: each["version"] for each in _PROVIDER.finditer(text)})
