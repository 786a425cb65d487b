"""AWS's error responses for a temporary failure, in the format of each of its protocols."""

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

# The code of each service's throttling error, and its HTTP status.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html,
# https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#API_Invoke_Errors,
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html,
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html,
# https://docs.aws.amazon.com/firehose/latest/APIReference/API_PutRecordBatch.html
_CODES = {
    "sqs": ("RequestThrottled", 400),
    "lambda": ("TooManyRequestsException", 429),
    "dynamodb": ("ThrottlingException", 400),
    "s3": ("SlowDown", 503),
    "firehose": ("ServiceUnavailableException", 503),
}
_OTHER = ("ThrottlingException", 400)
_SENTENCE = "Rate exceeded"


async def refused(send: Send) -> None:
    """Send a 503 without a body, like a load balancer without a server behind it."""
    await _answer(send, 503, {}, b"")


async def throttled(send: Send, service: str, headers: Mapping[str, str]) -> None:
    """Send the throttling error of a service. ``headers`` are those of the request, with lower-case
    names.
    """
    code, status = _CODES.get(service, _OTHER)
    if service == "s3":
        body = f"<Error><Code>{code}</Code><Message>{_SENTENCE}</Message></Error>"
        await _answer(send, status, {"content-type": "application/xml"}, body.encode())
    elif headers.get("smithy-protocol") == "rpc-v2-cbor":
        more = {"content-type": "application/cbor", "smithy-protocol": "rpc-v2-cbor"}
        await _answer(send, status, more, _cbor({"__type": code, "message": _SENTENCE}))
    elif "x-amz-target" in headers or service == "lambda":
        more = {"content-type": "application/x-amz-json-1.0", "x-amzn-errortype": code}
        more["x-amzn-query-error"] = f"{code};Sender"
        body = json.dumps({"__type": code, "message": _SENTENCE})
        await _answer(send, status, more, body.encode())
    else:
        body = (
            "<ErrorResponse><Error><Type>Sender</Type>"
            f"<Code>{code}</Code><Message>{_SENTENCE}</Message></Error></ErrorResponse>"
        )
        await _answer(send, status, {"content-type": "text/xml"}, body.encode())


async def _answer(send: Send, status: int, headers: Mapping[str, str], body: bytes) -> None:
    lines = {**headers, "content-length": str(len(body))}
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(name.encode(), value.encode()) for name, value in lines.items()],
        }
    )
    await send({"type": "http.response.body", "body": body})


def _cbor(fields: Mapping[str, str]) -> bytes:
    """Return a map of short texts (RFC 8949): fewer than 24 fields of fewer than 256 bytes each."""
    encoded = bytes([0xA0 + len(fields)])
    for text in (word for pair in fields.items() for word in pair):
        content = text.encode()
        encoded += bytes([0x78, len(content)]) + content
    return encoded
