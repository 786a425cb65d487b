"""Messages to SNS topics."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from mcloud.clouds.aws.client import make_client, translated


class SnsTopic:
    """Implementation of ``notify.Topic`` for SNS. It needs ``sns:Publish``, and permission to use
    the key of an encrypted topic.
    """

    def __init__(self, arn: str, region: str, endpoint_url: str = "") -> None:
        self._arn = arn
        self._region = region
        self._endpoint_url = endpoint_url

    def publish(self, subject: str, body: str, attributes: Mapping[str, str]) -> str:
        with translated(f"SNS {self._arn}"):
            answer = self._client.publish(
                TopicArn=self._arn,
                Subject=subject,
                Message=body,
                MessageAttributes={
                    name: {"DataType": "String", "StringValue": value}
                    for name, value in attributes.items()
                },
            )
        return str(answer["MessageId"])

    @cached_property
    def _client(self) -> Any:
        return make_client("sns", self._region, self._endpoint_url)
