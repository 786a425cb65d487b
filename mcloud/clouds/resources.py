"""Names and endpoints of a site's deployed resources. They contain no secrets.

Terraform's outputs, ``mcloud outputs`` and the environment of the functions use the same names.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, get_args

from mcloud.errors import ConfigError

Cloud = Literal["aws", "gcp"]
CLOUDS: tuple[Cloud, ...] = get_args(Cloud)

SCHEDULED = ("anomaly", "compact")
"""Ends of the names of the functions that are called on a schedule. They may not exist."""


def stack_of(processor: str) -> str:
    """Return the beginning of the names of all resources of a processor's stack."""
    return processor.removesuffix("-processor")


def functions_of(processor: str) -> tuple[str, ...]:
    """Return the names of all functions of a processor's stack, the processor first."""
    return processor, *(f"{stack_of(processor)}-{name}" for name in SCHEDULED)


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
    """AWS region."""
    queue_url: str
    """URL of the SQS queue for trades."""
    dlq_url: str
    """URL of the SQS dead-letter queue."""
    candles_table: str
    """DynamoDB table of the candles."""
    control_table: str
    """DynamoDB table of the control store."""
    raw_bucket: str
    """S3 bucket of the raw archive."""
    function: str
    """Name of the Lambda function that processes trades."""
    scheduled_functions: str = ""
    """Comma-separated names of the functions that are called on a schedule; empty if unknown."""
    staging_bucket: str = ""
    """S3 bucket of the staged objects; empty if the function writes the raw archive itself."""
    delivery_stream: str = ""
    """Firehose stream that writes staged objects; empty if the function writes the raw archive."""
    freshness: str = ""
    """Maximum age of a candle, in seconds, for which the site is deployed; empty if unknown."""
    alerts_key: str = ""
    """ARN of the KMS key that encrypts alerts; empty if there is none."""
    endpoint_url: str = ""
    """Endpoint of the embedded AWS; empty for the real AWS."""

    @property
    def queue(self) -> str:
        """Name of the queue, different from that of any other queue."""
        return self.queue_url


@dataclass(frozen=True)
class GcpResources(_Resources):
    project: str
    """Project id."""
    region: str
    """Region of Google Cloud."""
    topic: str
    """Pub/Sub topic for trades."""
    subscription: str
    """Pub/Sub subscription of the function."""
    dlq_topic: str
    """Pub/Sub topic for dead letters."""
    dlq_subscription: str
    """Pub/Sub subscription that holds the dead letters."""
    database: str
    """Firestore database."""
    candles_collection: str
    """Firestore collection of the candles."""
    control_collection: str
    """Firestore collection of the control store."""
    raw_bucket: str
    """Cloud Storage bucket of the raw archive."""
    function: str
    """Name of the Cloud Function that processes trades."""
    scheduled_functions: str = ""
    """Comma-separated names of the functions that are called on a schedule; empty if unknown."""
    staging_bucket: str = ""
    """Cloud Storage bucket of the staged objects; empty if the function writes the raw archive."""
    export_subscription: str = ""
    """Pub/Sub subscription that writes staged objects; empty if the function writes the raw
    archive."""
    pubsub_endpoint: str = ""
    """``host:port`` of an emulator, like the next two endpoints; empty for the real service."""
    firestore_endpoint: str = ""
    """``host:port`` of the embedded Firestore."""
    monitoring_endpoint: str = ""
    """``host:port`` of the embedded Cloud Monitoring."""
    storage_endpoint: str = ""
    """``http://host:port`` of an emulator; empty for the real service."""
    function_url: str = ""
    """URL of the embedded function."""
    function_log: str = ""
    """Log file of the embedded function."""

    @property
    def queue(self) -> str:
        """Name of the queue, different from that of any other queue."""
        return f"{self.pubsub_endpoint}/projects/{self.project}/topics/{self.topic}".lstrip("/")


Resources = AwsResources | GcpResources


def deployed_functions(resources: Resources) -> tuple[str, ...]:
    """Return the names of the functions that are known to exist, the processor first."""
    return resources.function, *filter(None, resources.scheduled_functions.split(","))


def has_anomaly_function(resources: Resources) -> bool:
    """Return whether the site has the function that sends anomalies, or may have it."""
    scheduled = deployed_functions(resources)[1:]
    return not scheduled or any(name.endswith(f"-{SCHEDULED[0]}") for name in scheduled)
