"""Pub/Sub."""

from typing import Any

from ..google import Request
from .rule import DOCS, Described, P, Wrong, ask


def topic(name: str = "t01", **body: Any) -> Request:
    return ask(f"PUT pubsub/v1/{P}/topics/{name}", **body)


def subscription(name: str = "s01", **body: Any) -> Request:
    of = {"topic": f"{P}/topics/trades", **body}
    return ask(f"PUT pubsub/v1/{P}/subscriptions/{name}", **of)


def dead_letters(topic: str, attempts: int = 5) -> Request:
    policy = {"deadLetterTopic": f"{P}/topics/{topic}", "maxDeliveryAttempts": attempts}
    return subscription(deadLetterPolicy=policy)


WRONG = [
    Wrong(
        "The name of a topic does not start with goog.",
        Described("pubsub.v1", "Topic.name", 'must not start with `"goog"`'),
        topic("google-trades"),
        topic("our-google-trades"),
        says="Invalid topic 'google-trades'",
    ),
    Wrong(
        "The name of a topic has at least 3 characters.",
        Described("pubsub.v1", "Topic.name", "between 3 and 255 characters"),
        topic("ab"),
        topic("abc"),
    ),
    Wrong(
        "The name of a subscription starts with a letter.",
        Described("pubsub.v1", "Subscription.name", "must start with a letter"),
        subscription("1-processor"),
        subscription("p1-processor"),
    ),
    Wrong(
        "A subscription needs its topic.",
        Described("pubsub.v1", "pubsub.projects.subscriptions.create", "returns `NOT_FOUND`"),
        subscription(topic=f"{P}/topics/none"),
        subscription(),
        404,
        "NOT_FOUND",
        "Resource not found (resource=none)",
    ),
    Wrong(
        "The topic of a subscription cannot be changed.",
        Described("pubsub.v1", "pubsub.projects.subscriptions.patch", "are not modifiable"),
        ask(
            f"PATCH pubsub/v1/{P}/subscriptions/processor",
            subscription={"topic": f"{P}/topics/dead"},
            updateMask="topic",
        ),
        ask(
            f"PATCH pubsub/v1/{P}/subscriptions/processor",
            subscription={"ackDeadlineSeconds": 60},
            updateMask="ackDeadlineSeconds",
        ),
        says="'topic' is not a mutable field",
    ),
    Wrong(
        "The acknowledgement deadline is at least 10 seconds.",
        Described("pubsub.v1", "Subscription.ackDeadlineSeconds", "minimum custom deadline"),
        subscription(ackDeadlineSeconds=9),
        subscription(ackDeadlineSeconds=10),
        says="9 is not between 10 and 600",
    ),
    Wrong(
        "The acknowledgement deadline is at most 600 seconds.",
        Described("pubsub.v1", "Subscription.ackDeadlineSeconds", "is 600 seconds"),
        subscription(ackDeadlineSeconds=601),
        subscription(ackDeadlineSeconds=600),
    ),
    Wrong(
        "Messages are retained for at least 10 minutes.",
        Described("pubsub.v1", "Subscription.messageRetentionDuration", "less than 10 minutes"),
        subscription(messageRetentionDuration="599s"),
        subscription(messageRetentionDuration="600s"),
    ),
    Wrong(
        "A topic retains messages for at most 31 days.",
        Described("pubsub.v1", "Topic.messageRetentionDuration", "more than 31 days"),
        topic(messageRetentionDuration="2678401s"),
        topic(messageRetentionDuration="2678400s"),
    ),
    Wrong(
        "A subscription expires after a day at the earliest.",
        Described("pubsub.v1", "Subscription.expirationPolicy", "is 1 day"),
        subscription(expirationPolicy={"ttl": "86399s"}, messageRetentionDuration="600s"),
        subscription(expirationPolicy={"ttl": "86400s"}, messageRetentionDuration="600s"),
    ),
    Wrong(
        "A subscription does not expire before its messages do.",
        f"{DOCS}/pubsub/docs/subscription-properties#expiration_period",
        subscription(expirationPolicy={"ttl": "86400s"}),
        subscription(expirationPolicy={"ttl": "604800s"}),
        says="not shorter than the message retention",
    ),
    Wrong(
        "A retry waits for at most 600 seconds.",
        Described("pubsub.v1", "RetryPolicy.maximumBackoff", "between 0 and 600 seconds"),
        subscription(retryPolicy={"maximumBackoff": "601s"}),
        subscription(retryPolicy={"maximumBackoff": "600s"}),
    ),
    Wrong(
        "A message has at least 5 delivery attempts.",
        Described("pubsub.v1", "DeadLetterPolicy.maxDeliveryAttempts", "between 5 and 100"),
        dead_letters("dead", 4),
        dead_letters("dead", 5),
        says="4 is not between 5 and 100",
    ),
    Wrong(
        "A message has at most 100 delivery attempts.",
        Described("pubsub.v1", "DeadLetterPolicy.maxDeliveryAttempts", "between 5 and 100"),
        dead_letters("dead", 101),
        dead_letters("dead", 100),
    ),
    Wrong(
        "The dead-letter topic exists.",
        Described(
            "pubsub.v1", "DeadLetterPolicy.deadLetterTopic", "fail if the topic does not exist"
        ),
        dead_letters("none"),
        dead_letters("dead"),
        404,
        "NOT_FOUND",
        "Resource not found (resource=none)",
    ),
    Wrong(
        "Dead letters do not go back to the topic that they came from.",
        f"{DOCS}/pubsub/docs/handling-failures#dead_letter_topic",
        dead_letters("trades"),
        dead_letters("dead"),
        says="own topic",
    ),
    Wrong(
        "Messages are pushed over HTTPS.",
        f"{DOCS}/pubsub/docs/create-push-subscription",
        subscription(pushConfig={"pushEndpoint": "http://example.com/"}),
        subscription(pushConfig={"pushEndpoint": "https://example.com/"}),
        says="Invalid push endpoint given",
    ),
    Wrong(
        "A storage policy allows at least one region.",
        Described("pubsub.v1", "MessageStoragePolicy.allowedPersistenceRegions", "An empty list"),
        topic(messageStoragePolicy={"allowedPersistenceRegions": []}),
        topic(messageStoragePolicy={"allowedPersistenceRegions": ["us-central1"]}),
        says="at least one region",
    ),
    Wrong(
        "The key of a label is in lower case.",
        f"{DOCS}/resource-manager/docs/labels-overview#requirements",
        topic(labels={"Stack": "mcloud"}),
        topic(labels={"stack": "mcloud"}),
        says="Invalid key in labels 'Stack'",
    ),
    Wrong(
        "The value of a label has at most 63 characters.",
        f"{DOCS}/resource-manager/docs/labels-overview#requirements",
        topic(labels={"stack": "m" * 64}),
        topic(labels={"stack": "m" * 63}),
    ),
]
