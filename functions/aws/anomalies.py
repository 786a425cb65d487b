"""The anomaly function on Lambda. A schedule calls it, and it sends the anomalies that producers
found.

Environment: CONTROL_TABLE and ALERTS_TOPIC, which receives the anomalies. The platform sets
AWS_REGION and the credentials, and the embedded AWS also sets AWS_ENDPOINT_URL.
"""

import os
from functools import cache
from typing import Any

from mcloud.clouds.aws.client import make_client, translated
from mcloud.clouds.aws.control import DynamoControl
from mcloud.market.anomaly import Anomaly
from mcloud.processor.anomalies import AnomalySender, headline


@cache
def sender() -> AnomalySender:
    """Return the state that an instance keeps between calls."""
    return AnomalySender(DynamoControl(client("dynamodb"), os.environ["CONTROL_TABLE"]))


def handler(event: Any, context: Any) -> dict[str, int]:
    """Send once. An exception counts as an error of the function, and the schedule calls again."""
    return {"anomalies": len(sender().send(publish))}


def publish(anomalies: list[Anomaly]) -> None:
    topic = os.environ.get("ALERTS_TOPIC")
    if topic:
        with translated("SNS"):
            client("sns").publish(
                TopicArn=topic, Subject=headline(anomalies), Message="\n".join(map(str, anomalies))
            )


@cache
def client(service: str) -> Any:
    return make_client(service, os.environ["AWS_REGION"])
