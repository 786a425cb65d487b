"""Metrics of queues in CloudWatch."""

from mcloud.local.aws.metrics import _ages


def test_the_oldest_message_may_be_in_flight() -> None:
    messages = [
        {"sent_at": 100.0, "visible_at": 130.0},
        {"sent_at": 110.0, "visible_at": 110.0},
        {"sent_at": 115.0, "visible_at": 115.0},
    ]
    assert _ages(messages, 120.0) == (2, 1, 20.0)


def test_an_empty_queue_has_no_age() -> None:
    assert _ages([], 120.0) == (0, 0, 0.0)
