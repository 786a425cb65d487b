"""The effective configuration, after all sources are merged."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcloud.clouds.resources import Cloud
from mcloud.config.document import Document
from mcloud.config.settings import setting
from mcloud.outputs import Outputs

LOCAL = "local"
"""The built-in profile, on the embedded clouds."""


@dataclass(frozen=True)
class Setting:
    value: Any
    origin: str
    """Source of the value: ``environment AWS_REGION``, ``.env:3``, ``mcloud.toml:12``,
    ``Terraform outputs``, …
    """


def _port(default: int) -> Any:
    return setting(default, least=1, most=65535)


@dataclass(frozen=True)
class LocalPorts:
    """Ports of the embedded clouds on 127.0.0.1."""

    aws_port: int = _port(4566)
    """Port of the embedded AWS."""
    gcp_port: int = _port(8085)
    """Port of the embedded Pub/Sub, Firestore and Cloud Monitoring."""
    storage_port: int = _port(4443)
    """Port of the embedded Cloud Storage."""
    function_port: int = _port(8088)
    """Port of the embedded Cloud Functions."""


@dataclass(frozen=True)
class ExchangeConfig:
    """The exchange of live trades. An empty text stands for the default."""

    name: str = setting("")
    """``binance``, ``binance-us``, ``binance-data``, ``binance-futures`` (USDⓈ-M) or
    ``binance-coin-futures`` (COIN-M). Default: ``binance``.
    """
    ws_url: str = setting("")
    """WebSocket URL of another server. Needs ``rest_url``."""
    rest_url: str = setting("")
    """REST URL of another server. Needs ``ws_url``."""


@dataclass(frozen=True)
class TerraformConfig:
    binary: str | None = setting(None)
    """Path or name of terraform or tofu. Default: the one on the PATH."""
    plugin_dir: str | None = setting(None)
    """Folder with a local mirror of the providers. Default: the registry."""


@dataclass(frozen=True)
class SiteConfig:
    name: str
    cloud: Cloud
    settings: dict[str, str]
    """Configured settings of the site's resources, by the names of ``mcloud.clouds.resources``.
    The others come from its deployment (see ``config.known``).
    """
    stack: str
    """Prefix of all names that Terraform creates: its variable ``name``."""
    variables: dict[str, Any] = field(default_factory=dict)
    """Other variables of the Terraform module."""
    backend: dict[str, Any] = field(default_factory=dict)
    """Remote state: ``type`` (``s3`` or ``gcs``) and options. Empty for state on this disk."""


@dataclass(frozen=True)
class Config:
    profile: str
    sites: dict[str, SiteConfig]
    """Sites of the profile. Empty for ``local``."""
    ports: LocalPorts
    exchange: ExchangeConfig
    state: Path
    """Folder of mcloud's own files, ``.mcloud``."""
    terraform: TerraformConfig = TerraformConfig()
    symbol: str | None = None
    """Default for ``--symbols``, from TRADING_SYMBOL."""
    document: Document = field(default=Document(Path("mcloud.toml"), "", {}), compare=False)
    """The file itself, for the tables that each part of mcloud reads: see ``settings``."""
    origins: dict[str, str] = field(default_factory=dict, compare=False)
    """Source of each value by its dotted name, such as ``sites.aws.region``."""
    ignored: dict[str, str] = field(default_factory=dict, compare=False)
    """Variables that are set without effect, with their source and the reason."""

    @property
    def local(self) -> Path:
        """The folder of the embedded clouds."""
        return self.state / "local"

    @property
    def outputs(self) -> Outputs:
        """The stored outputs of the profile's sites."""
        # In the profile local only Terraform writes them, and it is not the default there.
        options = " --provisioner terraform" if self.profile == LOCAL else ""
        return Outputs(self.state / "outputs" / self.profile, options)
