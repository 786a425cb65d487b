"""The anomaly function on Lambda. A schedule calls it, and it checks the new candles once.

Environment: CANDLES_TABLE, CONTROL_TABLE, ANOMALY_THRESHOLDS (see ``Thresholds.from_json``) and
ALERTS_TOPIC, which receives the anomalies that are found. The platform sets AWS_REGION and the
credentials, and the embedded AWS also sets AWS_ENDPOINT_URL.
"""

import os
from functools import cache
from typing import Any

from mcloud.clouds.aws.candles import DynamoCandles
from mcloud.clouds.aws.client import make_client, translated
from mcloud.clouds.aws.control import DynamoControl
from mcloud.market.anomaly import Anomaly, Thresholds
from mcloud.processor.anomalies import AnomalyWatch, headline


@cache
def watch() -> AnomalyWatch:
    """Return the state that an instance keeps between calls."""
    dynamodb = client("dynamodb")
    return AnomalyWatch(
        DynamoCandles(dynamodb, os.environ["CANDLES_TABLE"]),
        DynamoControl(dynamodb, os.environ["CONTROL_TABLE"]),
        Thresholds.from_json(os.environ.get("ANOMALY_THRESHOLDS", "")),
    )


def handler(event: Any, context: Any) -> dict[str, int]:
    """Check the new candles once. An exception counts as an error of the function, and the schedule
    calls again."""
    return {"anomalies": len(watch().look(tell))}


def tell(fresh: list[Anomaly]) -> None:
    topic = os.environ.get("ALERTS_TOPIC")
    if topic:
        with translated("SNS"):
            client("sns").publish(
                TopicArn=topic, Subject=headline(fresh), Message="\n".join(map(str, fresh))
            )


@cache
def client(service: str) -> Any:
    return make_client(service, os.environ["AWS_REGION"])
