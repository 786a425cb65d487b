"""Pub/Sub: topics and subscriptions."""

from ..call import Call
from ..cloud import Cloud
from ..hooks import Change, after_delete, check, complete
from ..limits import check_duration, check_labels, check_name, check_number, seconds
from ..names import Json, last
from ..refusal import invalid, missing

TOPICS = "pubsub.projects.topics"
SUBSCRIPTIONS = "pubsub.projects.subscriptions"
NAME = r"(?!goog)[A-Za-z][A-Za-z0-9._~+%-]{2,254}"
DAY = 24 * 3600
RETENTION = (600, 31 * DAY)


@check(TOPICS)
def check_topic(cloud: Cloud, change: Change) -> None:
    check_name("topic", last(change.name), NAME)
    check_labels(change.resource)
    check_duration("retention", change.resource.get("messageRetentionDuration"), *RETENTION)
    policy = change.resource.get("messageStoragePolicy")
    if policy is not None and not policy.get("allowedPersistenceRegions"):
        raise invalid("A message storage policy allows at least one region.")


@complete(TOPICS)
def complete_topic(cloud: Cloud, change: Change) -> None:
    change.resource["state"] = "ACTIVE"


@after_delete(TOPICS)
def orphan(cloud: Cloud, call: Call, topic: Json) -> None:
    """Subscriptions outlive their topic."""
    for (api, _), resource in cloud.store.items():
        if api == "pubsub" and resource.get("topic") == call.name:
            resource["topic"] = "_deleted-topic_"


@check(SUBSCRIPTIONS)
def check_subscription(cloud: Cloud, change: Change) -> None:
    subscription, before = change.resource, change.before
    check_name("subscription", last(change.name), NAME)
    check_labels(subscription)
    topic = subscription.get("topic", "")
    if before and topic != before["topic"]:
        # https://docs.cloud.google.com/pubsub/docs/update-subscription
        raise invalid("Invalid update_mask provided: 'topic' is not a mutable field.")
    if not before and not cloud.exists("pubsub", topic):
        raise missing(f"Resource not found (resource={last(topic)}).")
    check_number("ack_deadline_seconds", subscription.get("ackDeadlineSeconds"), 10, 600)
    retention = subscription.get("messageRetentionDuration", f"{7 * DAY}s")
    check_duration("message_retention_duration", retention, *RETENTION)
    expiry = subscription.get("expirationPolicy", {}).get("ttl")
    check_duration("expiration_policy.ttl", expiry, DAY, float("inf"))
    # https://docs.cloud.google.com/pubsub/docs/subscription-properties#expiration
    if expiry and seconds(expiry) < seconds(retention):
        raise invalid("The expiration is not shorter than the message retention.")
    retry = subscription.get("retryPolicy", {})
    for which in ("minimumBackoff", "maximumBackoff"):
        check_duration(which, retry.get(which), 0, 600)
    low, high = retry.get("minimumBackoff", "10s"), retry.get("maximumBackoff", "600s")
    if seconds(low) > seconds(high):
        raise invalid(f"The minimum backoff {low} is longer than the maximum backoff {high}.")
    _check_dead_letters(cloud, subscription)
    endpoint = subscription.get("pushConfig", {}).get("pushEndpoint")
    # https://docs.cloud.google.com/pubsub/docs/create-push-subscription: HTTPS
    if endpoint and not endpoint.startswith("https://"):
        raise invalid(f"Invalid push endpoint given (endpoint={endpoint}).")


def _check_dead_letters(cloud: Cloud, subscription: Json) -> None:
    policy = subscription.get("deadLetterPolicy")
    if policy is None:
        return
    topic = policy.get("deadLetterTopic", "")
    if not cloud.exists("pubsub", topic):
        raise missing(f"Resource not found (resource={last(topic)}).")
    # https://docs.cloud.google.com/pubsub/docs/dead-letter-topics: a topic other than the source
    if topic == subscription["topic"]:
        raise invalid("The dead-letter topic is the subscription's own topic.")
    check_number("max_delivery_attempts", policy.get("maxDeliveryAttempts"), 5, 100)


@complete(SUBSCRIPTIONS)
def complete_subscription(cloud: Cloud, change: Change) -> None:
    subscription = change.resource
    subscription["state"] = "ACTIVE"
    subscription["ackDeadlineSeconds"] = subscription.get("ackDeadlineSeconds") or 10
    subscription.setdefault("messageRetentionDuration", f"{7 * DAY}s")
    subscription.setdefault("expirationPolicy", {"ttl": f"{31 * DAY}s"})
    subscription.setdefault("pushConfig", {})
    if "deadLetterPolicy" in subscription:
        subscription["deadLetterPolicy"].setdefault("maxDeliveryAttempts", 5)
