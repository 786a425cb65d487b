"""Names and endpoints of a site's deployed resources. They contain no secrets.

Terraform's outputs, ``mcloud outputs`` and the environment of the functions use the same names.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from mcloud.errors import ConfigError


@dataclass(frozen=True)
class _Resources:
    @classmethod
    def from_outputs(cls, outputs: dict[str, Any]) -> Self:
        """Read the resources from outputs, and ignore unknown outputs.

        Raises:
            ConfigError: outputs are missing; the message names them.
        """
        known = {field.name for field in fields(cls)}
        try:
            return cls(**{key: value for key, value in outputs.items() if key in known})
        except TypeError as error:
            missing = str(error).partition("missing")[2] or str(error)
            raise ConfigError(f"the outputs are not complete:{missing}") from None

    def to_outputs(self) -> dict[str, str]:
        """Return the non-empty fields. A real cloud, for example, has no endpoints to show."""
        return {key: value for key, value in asdict(self).items() if value}


@dataclass(frozen=True)
class AwsResources(_Resources):
    region: str
    queue_url: str
    dlq_url: str
    candles_table: str
    control_table: str
    raw_bucket: str
    function: str
    endpoint_url: str = ""
    """Endpoint of the embedded AWS; empty for the real AWS."""


@dataclass(frozen=True)
class GcpResources(_Resources):
    project: str
    region: str
    topic: str
    subscription: str
    dlq_topic: str
    dlq_subscription: str
    database: str
    candles_collection: str
    control_collection: str
    raw_bucket: str
    function: str
    pubsub_endpoint: str = ""
    """``host:port`` of an emulator, like the next two endpoints; empty for the real service."""
    firestore_endpoint: str = ""
    monitoring_endpoint: str = ""
    storage_endpoint: str = ""
    """``http://host:port`` of an emulator; empty for the real service."""
    function_url: str = ""
    function_log: str = ""
    """Log file of the embedded function."""


Resources = AwsResources | GcpResources
