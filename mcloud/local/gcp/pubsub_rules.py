"""Pub/Sub's rules for resource names, publish limits and subscription settings.

Limits are from https://cloud.google.com/pubsub/quotas#resource_limits, names from
https://cloud.google.com/pubsub/docs/pubsub-basics#resource_names. Errors use Google's own wording
if it is known.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

import grpc
from google.protobuf.field_mask_pb2 import FieldMask

from mcloud.local.gcp.protobuf_times import to_seconds
from mcloud.local.gcp.pubsub_backlog import Policy
from mcloud.local.gcp.pubsub_export_rules import complete_export
from mcloud.local.gcp.pubsub_filter import MessageFilter
from mcloud.local.gcp.rpc import Refusal, invalid, not_offered

MAX_MESSAGES: Final = 1_000
MAX_REQUEST_BYTES: Final = 10 * 1024 * 1024
MAX_ATTRIBUTES: Final = 100
MAX_ATTRIBUTE_KEY_BYTES: Final = 256
MAX_ATTRIBUTE_VALUE_BYTES: Final = 1024
DEFAULT_ACK_DEADLINE: Final = 10
MAX_ACK_DEADLINE: Final = 600

DELETED_TOPIC: Final = "_deleted-topic_"

_WEEK: Final = 7 * 24 * 3600
_NAME: Final = re.compile(
    r"projects/[^/]+/(topics|subscriptions|snapshots|schemas)/(?!goog)[A-Za-z][A-Za-z0-9\-_.~+%]{2,254}"
)
_NAMES_DOC: Final = "https://cloud.google.com/pubsub/docs/pubsub-basics#resource_names"
_MUTABLE: Final = {
    "ack_deadline_seconds",
    "cloud_storage_config",
    "dead_letter_policy",
    "enable_exactly_once_delivery",
    "expiration_policy",
    "labels",
    "message_retention_duration",
    "push_config",
    "retain_acked_messages",
    "retry_policy",
}
_MUTABLE_IN_TOPICS: Final = {"labels", "message_retention_duration", "schema_settings"}
# Settings that change the delivery and are not supported. They are refused, so that nobody relies
# on them.
_NOT_OFFERED: Final = (
    ("detached", "detached subscriptions"),
    ("bigquery_config", "BigQuery subscriptions"),
    ("bigtable_config", "Bigtable subscriptions"),
    ("message_transforms", "message transforms"),
)


def not_found(name: str) -> Refusal:
    """Return the error for a missing topic or subscription."""
    return Refusal(
        grpc.StatusCode.NOT_FOUND, f"Resource not found (resource={name.rpartition('/')[2]})."
    )


def already_exists(name: str) -> Refusal:
    """Return the error for a topic or subscription that already exists."""
    return Refusal(
        grpc.StatusCode.ALREADY_EXISTS,
        f"Resource already exists in the project (resource={name.rpartition('/')[2]}).",
    )


def check_name(name: str, collection: str) -> None:
    """Check a name ``projects/P/COLLECTION/ID`` by the rules of Google."""
    found = _NAME.fullmatch(name)
    if not found or found[1] != collection:
        raise invalid(
            f"Invalid resource name given (name={name}). Refer to {_NAMES_DOC} "
            "for more information."
        )


def check_topic(topic: Any) -> None:
    """Check a topic that is to be created."""
    check_name(topic.name, "topics")
    for name, feature in (
        ("ingestion_data_source_settings", "ingestion"),
        ("message_transforms", "message transforms"),
    ):
        if _is_set(topic, name):
            raise not_offered("Pub/Sub", feature)


def check_publish(request: Any) -> None:
    """Check the messages of a publish request."""
    count = len(request.messages)
    if not count:
        raise invalid(
            "The value for message_count is too small. You passed 0 in the request, "
            "but the minimum value is 1."
        )
    if count > MAX_MESSAGES:
        raise invalid(
            f"The value for message_count is too large. You passed {count} in the request, "
            f"but the maximum value is {MAX_MESSAGES}."
        )
    if request.ByteSize() > MAX_REQUEST_BYTES:
        raise invalid(f"Request payload size exceeds the limit: {MAX_REQUEST_BYTES} bytes.")
    for message in request.messages:
        if message.attributes:
            _check_attributes(message.attributes)
        elif not message.data:
            raise invalid(
                "One or more messages in the publish request is empty. Each message must contain "
                "either non-empty data, or at least one attribute."
            )


def check_ack_deadline(seconds: int) -> None:
    """Check the deadline of a subscription or of a stream."""
    if not 10 <= seconds <= MAX_ACK_DEADLINE:
        raise invalid(
            f"Invalid ack deadline given (ack_deadline_seconds={seconds}). "
            f"It must be between 10 and {MAX_ACK_DEADLINE} seconds."
        )


def check_extension(seconds: int) -> None:
    """Check the new deadline of leased messages; 0 releases them."""
    if not 0 <= seconds <= MAX_ACK_DEADLINE:
        raise invalid(
            f"Invalid ack deadline given (ack_deadline_seconds={seconds}). "
            f"It must be between 0 and {MAX_ACK_DEADLINE} seconds."
        )


def check_push_config(config: Any) -> None:
    """Check the push settings of a subscription; an empty endpoint means pull."""
    if config.push_endpoint and not config.push_endpoint.startswith(("http://", "https://")):
        raise invalid(f"Invalid push endpoint given (endpoint={config.push_endpoint}).")
    for name, feature in (("oidc_token", "signed pushes"), ("no_wrapper", "unwrapped pushes")):
        if config.HasField(name):
            raise not_offered("Pub/Sub", feature)


def complete_subscription(settings: Any) -> None:
    """Check the settings of a subscription and add Google's defaults, in place.

    The retention and the expiration are stored and returned, but no message is dropped because of
    its age.
    """
    check_name(settings.name, "subscriptions")
    for name, feature in _NOT_OFFERED:
        if _is_set(settings, name):
            raise not_offered("Pub/Sub", feature)
    settings.ack_deadline_seconds = settings.ack_deadline_seconds or DEFAULT_ACK_DEADLINE
    check_ack_deadline(settings.ack_deadline_seconds)
    settings.push_config.SetInParent()
    check_push_config(settings.push_config)
    # https://cloud.google.com/pubsub/docs/exactly-once-delivery
    if settings.enable_exactly_once_delivery and (
        settings.push_config.push_endpoint or settings.HasField("cloud_storage_config")
    ):
        raise invalid("Exactly-once delivery is for subscriptions that are pulled.")
    try:
        MessageFilter(settings.filter)
    except ValueError as error:
        raise invalid(f"Invalid filter given (filter={settings.filter}): {error}.") from error
    if settings.HasField("cloud_storage_config"):
        if settings.push_config.push_endpoint:
            raise invalid("Only one of push_config and cloud_storage_config may be set.")
        complete_export(settings.cloud_storage_config)
        _check_export_deadline(settings)
    if not settings.HasField("message_retention_duration"):
        settings.message_retention_duration.seconds = _WEEK
    if settings.HasField("dead_letter_policy"):
        _complete_dead_letter_policy(settings.dead_letter_policy)
    if settings.HasField("retry_policy"):
        _complete_retry_policy(settings.retry_policy)


def updated_subscription(settings: Any, changes: Any, mask: FieldMask) -> Any:
    """Return a copy of the settings with the masked fields of ``changes``."""
    method = "UpdateSubscriptionRequest"
    if not mask.paths:
        raise invalid(
            f"The update_mask in the {method} must be set, and must contain a non-empty paths list."
        )
    for path in mask.paths:
        if path not in settings.DESCRIPTOR.fields_by_name:
            raise invalid(
                f"Invalid update_mask provided in the {method}: {path} is not a known Subscription "
                "field. Note that field paths must be of the form 'push_config' rather than "
                "'pushConfig'."
            )
        for name, feature in _NOT_OFFERED:
            if path == name:
                raise not_offered("Pub/Sub", feature)
        if path not in _MUTABLE:
            raise invalid(
                f"Invalid update_mask provided in the {method}: the {path} field in the "
                "Subscription is not mutable."
            )
    updated = type(settings)()
    updated.CopyFrom(settings)
    mask.MergeMessage(changes, updated, replace_message_field=True, replace_repeated_field=True)
    complete_subscription(updated)
    return updated


def updated_topic(settings: Any, changes: Any, mask: FieldMask) -> Any:
    """Return a copy of a topic's settings with the masked fields of ``changes``."""
    if not mask.paths or set(mask.paths) - _MUTABLE_IN_TOPICS:
        raise invalid(
            f"Invalid update_mask provided in the UpdateTopicRequest: {', '.join(mask.paths)}."
        )
    updated = type(settings)()
    updated.CopyFrom(settings)
    mask.MergeMessage(changes, updated, replace_message_field=True, replace_repeated_field=True)
    return updated


def policy_of(settings: Any) -> Policy:
    """Return a subscription's policy for messages that were not acknowledged."""
    minimum, maximum = 0.0, 0.0
    if settings.HasField("retry_policy"):
        minimum = to_seconds(settings.retry_policy.minimum_backoff)
        maximum = to_seconds(settings.retry_policy.maximum_backoff)
    elif settings.push_config.push_endpoint or settings.HasField("cloud_storage_config"):
        # https://cloud.google.com/pubsub/docs/push#push_backoff, and
        # https://cloud.google.com/pubsub/docs/cloudstorage#handle_message_failures
        minimum, maximum = 0.1, 60.0
    attempts = None
    if settings.HasField("dead_letter_policy"):
        attempts = settings.dead_letter_policy.max_delivery_attempts
    return Policy(
        minimum,
        maximum,
        attempts,
        retains=settings.retain_acked_messages,
        keeps_order=settings.enable_message_ordering,
    )


def page(names: Iterable[str], parent: str, request: Any) -> tuple[list[str], str]:
    """Return one page of the names under a parent, and the token of the next page."""
    found = sorted(
        name for name in names if name.startswith(f"{parent}/") and name > request.page_token
    )
    size = request.page_size if request.page_size > 0 else len(found)
    return found[:size], found[size - 1] if len(found) > size else ""


def _check_attributes(attributes: Any) -> None:
    if len(attributes) > MAX_ATTRIBUTES:
        raise invalid(
            f"The value for attribute_count is too large. You passed {len(attributes)} in the "
            f"request, but the maximum value is {MAX_ATTRIBUTES}."
        )
    for key, value in attributes.items():
        if not key or key.startswith("goog"):
            raise invalid(f"Invalid attribute key given (key={key}).")
        if len(key.encode()) > MAX_ATTRIBUTE_KEY_BYTES:
            raise invalid(
                f"An attribute key is too long: the limit is {MAX_ATTRIBUTE_KEY_BYTES} bytes."
            )
        if len(value.encode()) > MAX_ATTRIBUTE_VALUE_BYTES:
            raise invalid(
                f"The value of attribute {key} is too long: "
                f"the limit is {MAX_ATTRIBUTE_VALUE_BYTES} bytes."
            )


def _check_export_deadline(settings: Any) -> None:
    """Refuse a file that lasts longer than the leases of its messages.

    The default deadline does not count, since Google's own examples do not change it:
    https://cloud.google.com/pubsub/docs/create-cloudstorage-subscription#create_a_subscription
    """
    seconds = to_seconds(settings.cloud_storage_config.max_duration)
    if DEFAULT_ACK_DEADLINE < settings.ack_deadline_seconds < seconds:
        raise invalid(
            f"The value for max_duration is too large. You passed {seconds:g}s in the request, but "
            "it may not exceed the acknowledgement deadline of the subscription "
            f"({settings.ack_deadline_seconds}s)."
        )


def _complete_dead_letter_policy(policy: Any) -> None:
    if not policy.dead_letter_topic:
        raise invalid(
            f"Invalid resource name given (dead_letter_topic=). Refer to {_NAMES_DOC} "
            "for more information."
        )
    check_name(policy.dead_letter_topic, "topics")
    policy.max_delivery_attempts = policy.max_delivery_attempts or 5
    if not 5 <= policy.max_delivery_attempts <= 100:
        raise invalid(
            "The value for max_delivery_attempts is out of bounds. You passed "
            f"{policy.max_delivery_attempts} in the request, but the value must be "
            "between 5 and 100."
        )


def _complete_retry_policy(policy: Any) -> None:
    if not policy.HasField("minimum_backoff"):
        policy.minimum_backoff.seconds = 10
    if not policy.HasField("maximum_backoff"):
        policy.maximum_backoff.seconds = 600
    minimum, maximum = to_seconds(policy.minimum_backoff), to_seconds(policy.maximum_backoff)
    for name, value in (("minimum_backoff", minimum), ("maximum_backoff", maximum)):
        if not 0 <= value <= 600:
            raise invalid(
                f"The value for {name} is out of bounds. You passed {value:g}s in the request, "
                "but the value must be between 0s and 600s."
            )
    if maximum < minimum:
        raise invalid(
            f"The value for maximum_backoff is too small. You passed {maximum:g}s in the request, "
            f"but the minimum value is {minimum:g}s."
        )


def _is_set(message: Any, name: str) -> bool:
    """Return whether a field has a value. A field that this version of the client does not know has
    none.
    """
    return any(field.name == name for field, _ in message.ListFields())
