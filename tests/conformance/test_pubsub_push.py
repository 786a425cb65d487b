"""Push: the requests to the endpoint, and the effect of its answers."""

import base64
import json
import queue
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from .pubsub_client import PATIENCE, Cloud


class TestPush:
    def test_posts_the_wrapped_message(self, cloud: Cloud) -> None:
        topic = cloud.topic()
        with Endpoint() as endpoint:
            subscription = cloud.subscription(topic, push_config={"push_endpoint": endpoint.url})
            (message_id,) = cloud.publish(topic, {"data": b"\x00\xff", "attributes": {"a": "b"}})
            body = endpoint.bodies.get(timeout=PATIENCE)
        assert body["subscription"] == subscription
        assert body["message"]["messageId"] == message_id
        assert base64.b64decode(body["message"]["data"]) == b"\x00\xff"
        assert body["message"]["attributes"] == {"a": "b"}
        assert body["message"]["publishTime"].endswith("Z")

    def test_tries_again_until_it_is_accepted(self, cloud: Cloud) -> None:
        topic = cloud.topic()
        with Endpoint([500, 302, 404, 204]) as endpoint:
            cloud.subscription(
                topic,
                push_config={"push_endpoint": endpoint.url},
                retry_policy={"minimum_backoff": {"nanos": 1}, "maximum_backoff": {"nanos": 1}},
            )
            (message_id,) = cloud.publish(topic, {"data": b"x"})
            bodies = [endpoint.bodies.get(timeout=PATIENCE) for _ in range(4)]
            assert {body["message"]["messageId"] for body in bodies} == {message_id}
            with pytest.raises(queue.Empty):
                endpoint.bodies.get(timeout=0.5)

    @pytest.mark.slow
    def test_a_message_that_is_never_accepted_is_dead_lettered(self, cloud: Cloud) -> None:
        dead_topic = cloud.topic()
        dead = cloud.subscription(dead_topic)
        topic = cloud.topic()
        with Endpoint([500] * 5) as endpoint:
            cloud.subscription(
                topic,
                push_config={"push_endpoint": endpoint.url},
                dead_letter_policy={"dead_letter_topic": dead_topic, "max_delivery_attempts": 5},
                retry_policy={"minimum_backoff": {"nanos": 1}, "maximum_backoff": {"nanos": 1}},
            )
            cloud.publish(topic, {"data": b"poison"})
            (buried,) = cloud.pull(dead)
            bodies = [endpoint.bodies.get(timeout=PATIENCE) for _ in range(5)]
        assert buried.message.data == b"poison"
        if cloud.is_ours:  # This is documented, but Google's emulator leaves the field out.
            assert [body["deliveryAttempt"] for body in bodies] == [1, 2, 3, 4, 5]

    def test_a_subscription_changes_from_push_to_pull_and_back(self, cloud: Cloud) -> None:
        topic = cloud.topic()
        with Endpoint() as endpoint:
            subscription = cloud.subscription(topic)
            cloud.publish(topic, {"data": b"one"})
            cloud.subscriber.modify_push_config(
                subscription=subscription, push_config={"push_endpoint": endpoint.url}
            )
            assert endpoint.bodies.get(timeout=PATIENCE)
            cloud.subscriber.modify_push_config(subscription=subscription, push_config={})
            cloud.publish(topic, {"data": b"two"})
            assert [one.message.data for one in cloud.pull(subscription)] == [b"two"]


@dataclass
class Endpoint:
    """An HTTP server that answers with the given codes in turn, and then with 200."""

    codes: list[int] = field(default_factory=list)
    bodies: "queue.Queue[dict[str, Any]]" = field(default_factory=queue.Queue)

    def __enter__(self) -> "Endpoint":
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(endpoint.codes.pop(0) if endpoint.codes else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()
                endpoint.bodies.put(json.loads(body))

            def log_message(self, *_: Any) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/push"
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.05])
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
