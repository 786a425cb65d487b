"""The throttling errors, as the SDK reads them."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from mcloud.clouds.aws.client import from_code
from mcloud.errors import Unavailable
from mcloud.local.aws.refusal import throttled

CALLS: dict[str, tuple[str, Callable[[Any], object]]] = {
    "sqs": ("RequestThrottled", lambda c: c.list_queues()),
    "lambda": ("TooManyRequestsException", lambda c: c.get_function(FunctionName="f")),
    "dynamodb": ("ThrottlingException", lambda c: c.list_tables()),
    "s3": ("SlowDown", lambda c: c.list_buckets()),
    "cloudwatch": ("ThrottlingException", lambda c: c.describe_alarms()),
    "sts": ("ThrottlingException", lambda c: c.get_caller_identity()),
}


class _Throttling(BaseHTTPRequestHandler):
    """Answers every request as the middleware would during an outage."""

    service = ""

    def do_POST(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                self.send_response(message["status"])
                for name, value in message["headers"]:
                    self.send_header(name.decode(), value.decode())
                self.end_headers()
            else:
                self.wfile.write(message["body"])

        answer = throttled(send, self.service, headers)
        with pytest.raises(StopIteration):
            answer.send(None)

    do_GET = do_POST

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Throttling) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("service", CALLS)
def test_the_sdk_reads_it_as_throttling(
    server: ThreadingHTTPServer, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3

    monkeypatch.setattr(_Throttling, "service", service)
    client = boto3.session.Session().client(
        service,
        region_name="us-east-1",
        endpoint_url=f"http://127.0.0.1:{server.server_port}",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
    )
    code, call = CALLS[service]
    with pytest.raises(ClientError) as caught:
        call(client)
    assert caught.value.response["Error"]["Code"] == code
    assert isinstance(from_code(service, caught.value.response), Unavailable)
