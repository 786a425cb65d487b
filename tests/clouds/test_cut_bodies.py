"""An answer of S3 that ends early is asked for again; botocore repeats failed requests only."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mcloud.clouds.aws.archive import S3Archive
from mcloud.clouds.aws.client import make_client
from mcloud.errors import Unavailable

BODY = b"1,2,3\n" * 1000


class Server(ThreadingHTTPServer):
    """Cuts the first ``cut`` answers in the middle of their body."""

    cut = 0
    requests = 0


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests += 1
        whole = self.server.requests > self.server.cut
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY if whole else BODY[: len(BODY) // 2])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def archive(server: Server) -> S3Archive:
    url = f"http://127.0.0.1:{server.server_port}"
    return S3Archive(make_client("s3", "us-east-1", url), "raw")


def test_a_cut_body_is_read_again(server: Server) -> None:
    server.cut = 2
    assert archive(server).get("key") == BODY
    assert server.requests == 3


def test_a_body_that_is_always_cut_is_an_error(server: Server) -> None:
    server.cut = 100
    with pytest.raises(Unavailable, match="S3 raw/key"):
        archive(server).get("key")
    assert server.requests == 3
