"""What a deployment leaves behind for a site: names and addresses, nothing secret.

They are Terraform's outputs, the answer of ``mcloud outputs`` and the environment of the functions,
under the same names everywhere.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from mcloud.errors import ConfigError


@dataclass(frozen=True)
class _Resources:
    @classmethod
    def from_outputs(cls, outputs: dict[str, Any]) -> Self:
        """Read outputs; ConfigError names what is missing. What it does not know is left out."""
        known = {field.name for field in fields(cls)}
        try:
            return cls(**{key: value for key, value in outputs.items() if key in known})
        except TypeError as error:
            missing = str(error).partition("missing")[2] or str(error)
            raise ConfigError(f"the outputs are not complete:{missing}") from None

    def to_outputs(self) -> dict[str, str]:
        """Without what is empty: a real cloud has no endpoints to show."""
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
    """Of the embedded AWS; empty is the real one."""


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
    """``host:port`` of an emulator, as for the next two; empty is the real service."""
    firestore_endpoint: str = ""
    monitoring_endpoint: str = ""
    storage_endpoint: str = ""
    """``http://host:port``"""
    function_url: str = ""
    function_log: str = ""
    """The file that the embedded function writes to."""


Resources = AwsResources | GcpResources
