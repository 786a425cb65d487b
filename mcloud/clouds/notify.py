"""Topics that deliver messages to their subscribers."""

import re
from collections.abc import Mapping
from typing import Protocol

SNS = re.compile(r"arn:aws[a-z-]*:sns:(?P<region>[a-z0-9-]+):\d{12}:[A-Za-z0-9_-]{1,256}")
PUBSUB = re.compile(r"projects/[a-z][a-z0-9.:-]+/topics/[A-Za-z][A-Za-z0-9._~+%-]{2,254}")


class Topic(Protocol):
    def publish(self, subject: str, body: str, attributes: Mapping[str, str]) -> str:
        """Publish one message, and return its ID.

        ``subject`` is for topics that send email: ASCII, one line of at most 100 characters.

        Raises:
            Unavailable, Refused: the message was not published.
        """
        ...
