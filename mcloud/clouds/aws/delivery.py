"""Data Firehose, which writes the messages that it receives to the staging bucket.

It keeps a record for 24 hours if it cannot write it. See ``market.staged`` for what it writes.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from mcloud.backoff import Backoff
from mcloud.clouds.aws.client import passes, translated
from mcloud.clouds.batches import batches
from mcloud.clouds.ports import Unsent
from mcloud.errors import Unavailable
from mcloud.market.staged import Record, combine

# https://docs.aws.amazon.com/firehose/latest/APIReference/API_PutRecordBatch.html: 500 records and
# 4 MiB in a request. The records are sent as base64, which is a third longer.
MAX_RECORDS = 500
MAX_BATCH = 3_000_000  # bytes
MAX_LINE = 1_000 * 1024 - 1  # bytes; a record with it and its line break is at most 1,000 KiB

ATTEMPTS = 6
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 4.0  # seconds


class _Failed(NamedTuple):
    record: Record
    reason: str
    permanent: bool = False


class Firehose:
    """A delivery stream. It is thread-safe.

    Args:
        client: makes a single attempt at each request.
    """

    def __init__(
        self, client: Any, stream: str, *, sleep: Callable[[float], object] = time.sleep
    ) -> None:
        self._client = client
        self._stream = stream
        self._sleep = sleep

    def deliver(
        self, lines: Sequence[str], is_time_left: Callable[[], bool] = lambda: True
    ) -> list[Unsent]:
        """Hand over lines, each of at most ``MAX_LINE`` bytes, in as few records as possible.

        Return the lines that were not accepted, after further attempts while there is time. All
        others are durable. Handing over a line twice is harmless.

        Raises:
            Refused: the stream does not exist or may not be used.
        """
        unsent: list[Unsent] = []
        for number, batch in enumerate(requests(combine(lines))):
            if number and not is_time_left():
                reason = f"Firehose {self._stream}: there is no time left"
                failed = [_Failed(record, reason) for record in batch]
            else:
                failed = self._put(batch, is_time_left)
            unsent += [
                Unsent(position, reason, permanent)
                for record, reason, permanent in failed
                for position in record.positions
            ]
        return unsent

    def _put(self, records: list[Record], is_time_left: Callable[[], bool]) -> list[_Failed]:
        """Return the records that were not accepted, with the reasons of the last attempt."""
        backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE, random.uniform)
        while failed := self._request(records):
            backoff.failed()
            if backoff.failures == ATTEMPTS or not is_time_left():
                break
            self._sleep(backoff.pause())
            if not is_time_left():
                break
            records = [each.record for each in failed]
        return failed

    def _request(self, records: list[Record]) -> list[_Failed]:
        try:
            with translated(f"Firehose {self._stream}"):
                answer = self._client.put_record_batch(
                    DeliveryStreamName=self._stream,
                    Records=[{"Data": record.text} for record in records],
                )
        except Unavailable as error:
            return [_Failed(record, str(error)) for record in records]
        # The count may be 0 although there are errors, and the other way around. Only the entries
        # tell which records were accepted.
        return [
            _Failed(
                record,
                f"Firehose {self._stream}: {each['ErrorCode']}: {each.get('ErrorMessage', '')}",
                permanent=not passes(each["ErrorCode"]),
            )
            for record, each in zip(records, answer["RequestResponses"], strict=True)
            if "ErrorCode" in each
        ]


def requests(records: Sequence[Record]) -> Iterator[list[Record]]:
    """Yield the records of each request."""
    return batches(records, lambda each: len(each.text), most=MAX_RECORDS, limit=MAX_BATCH)
