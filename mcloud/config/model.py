"""What the configuration comes to."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcloud.config.document import Document


@dataclass(frozen=True)
class Setting:
    value: Any
    origin: str
    """``environment AWS_REGION``, ``.env:3``, ``mcloud.toml:12``, ``Terraform outputs``, …"""


@dataclass(frozen=True)
class LocalPorts:
    """Where the embedded clouds listen, on 127.0.0.1."""

    aws_port: int = 4566
    gcp_port: int = 8085
    storage_port: int = 4443
    function_port: int = 8088


@dataclass(frozen=True)
class TerraformConfig:
    binary: str | None = None
    """Path or name of terraform or tofu; None takes what is on the PATH."""
    plugin_dir: str | None = None
    """A local mirror of the providers; None asks the registry."""


@dataclass(frozen=True)
class SiteConfig:
    name: str
    cloud: str
    """``aws`` or ``gcp``"""
    settings: dict[str, str]
    """What is said of its resources, by the names of ``mcloud.clouds.resources``; the rest comes
    from its deployment (see ``config.known``)."""
    stack: str
    """Prefix of every name that Terraform gives: its variable ``name``."""
    variables: dict[str, Any] = field(default_factory=dict)
    """Other variables of the Terraform module."""
    backend: dict[str, Any] = field(default_factory=dict)
    """Remote state: ``type`` (``s3`` or ``gcs``) and options; empty keeps it on this disk."""


@dataclass(frozen=True)
class Config:
    profile: str
    sites: dict[str, SiteConfig]
    """Those of the profile; empty for ``local``."""
    ports: LocalPorts
    exchange: dict[str, str]
    """``name``, ``ws_url`` and ``rest_url``, as far as they are given."""
    state: Path
    """Where mcloud keeps what it writes, ``.mcloud``."""
    terraform: TerraformConfig = TerraformConfig()
    symbol: str | None = None
    """TRADING_SYMBOL: what is traded where ``--symbols`` does not say it."""
    document: Document = field(default=Document(Path("mcloud.toml"), "", {}), compare=False)
    """The file itself, for the tables that their users read: see ``settings``."""
    origins: dict[str, str] = field(default_factory=dict, compare=False)
    """Where a value comes from, by its dotted name, such as ``sites.aws.region``."""
    ignored: dict[str, str] = field(default_factory=dict, compare=False)
    """Variables that are set and have no effect, each with where it is and why."""

    @property
    def local(self) -> Path:
        """The folder of the embedded clouds."""
        return self.state / "local"
