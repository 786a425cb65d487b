"""Google's rules for the settings of Cloud Storage subscriptions, and the names of their files.

Sources:
https://cloud.google.com/pubsub/docs/create-cloudstorage-subscription#subscription-properties and
google/pubsub/v1/pubsub.proto, ``CloudStorageConfig``. Schemas are not supported, so files are
always text.
"""

import re
from datetime import UTC, datetime
from typing import Any, Final

from google.pubsub_v1.types import pubsub as types

from mcloud.local.gcp.rpc import Refusal, invalid, not_offered

MIN_SECONDS: Final = 60
MAX_SECONDS: Final = 600
DEFAULT_SECONDS: Final = 300
MIN_BYTES: Final = 1_000
MAX_BYTES: Final = 10 * 1024**3
MIN_MESSAGES: Final = 1_000
MAX_NAME_BYTES: Final = 1_024

DEFAULT_FORMAT: Final = "YYYY-MM-DDThh:mm:ss+00:00"
_MATCHERS: Final = {
    "YYYY": "%Y",
    "YY": "%y",
    "MM": "%m",
    "DD": "%d",
    "hh": "%H",
    "mm": "%M",
    "ss": "%S",
    "T": "T",
    "+00:00": "+00:00",
    "Z": "Z",
}
_TOKEN: Final = re.compile("|".join(map(re.escape, _MATCHERS)) + "|(?P<separator>[-_:/])")
# A format must contain exactly one of each required set, and at most one of each optional set.
_REQUIRED: Final = ({"YYYY", "YY"}, {"MM"}, {"DD"}, {"hh"}, {"mm"}, {"ss"})
_OPTIONAL: Final = ({"T"}, {"Z", "+00:00"})
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")

State: Final = types.CloudStorageConfig.State


def complete_export(config: Any) -> None:
    """Check a ``CloudStorageConfig`` and add Google's defaults, in place.

    The state is not changed, because it describes the bucket.
    """
    if not _BUCKET.fullmatch(config.bucket):
        raise invalid(f"Invalid Cloud Storage bucket name given (bucket={config.bucket}).")
    if config.HasField("avro_config"):
        raise not_offered("Pub/Sub", "files in the Avro format")
    if config.service_account_email:
        raise not_offered("Pub/Sub", "service accounts of subscriptions")
    config.text_config.SetInParent()
    if not config.HasField("max_duration"):
        config.max_duration.seconds = DEFAULT_SECONDS
    seconds = config.max_duration.seconds + config.max_duration.nanos / 1e9
    _check_range("max_duration", seconds, MIN_SECONDS, MAX_SECONDS)
    if config.max_bytes:
        _check_range("max_bytes", config.max_bytes, MIN_BYTES, MAX_BYTES)
    if config.max_messages:
        _check_range("max_messages", config.max_messages, MIN_MESSAGES, None)
    if config.filename_suffix.endswith("/"):
        raise invalid('The filename_suffix of a Cloud Storage subscription cannot end in "/".')
    if config.filename_datetime_format:
        _pattern(config.filename_datetime_format)
    name = object_name(config, 0.0, "0" * 36)
    if len(name.encode()) > MAX_NAME_BYTES or "\r" in name or "\n" in name:
        raise invalid(f"Invalid Cloud Storage object name: {name!r}.")
    if name.startswith(".well-known/acme-challenge/"):
        raise invalid("An object name cannot begin with .well-known/acme-challenge/.")


def object_name(config: Any, opened: float, unique: str) -> str:
    """Return the name of a file that was started at ``opened``, in seconds since the epoch."""
    pattern = _pattern(config.filename_datetime_format or DEFAULT_FORMAT)
    moment = datetime.fromtimestamp(opened, UTC).strftime(pattern)
    separator = "" if moment[-1] in "-_:/" else "_"
    return f"{config.filename_prefix}{moment}{separator}{unique}{config.filename_suffix}"


def _pattern(text: str) -> str:
    """Convert a datetime format for ``strftime``, or raise INVALID_ARGUMENT if Google refuses
    it.
    """
    used: list[str] = []
    pattern = ""
    position = 0
    while match := _TOKEN.match(text, position):
        if match["separator"] is None:
            used.append(match[0])
        pattern += _MATCHERS.get(match[0], match[0])
        position = match.end()
    counts = [sum(used.count(matcher) for matcher in matchers) for matchers in _REQUIRED]
    extra = [sum(used.count(matcher) for matcher in matchers) for matchers in _OPTIONAL]
    if position < len(text) or any(count != 1 for count in counts) or max(extra) > 1:
        raise _invalid_format(text)
    return pattern


def _invalid_format(text: str) -> Refusal:
    return invalid(
        f"Invalid filename_datetime_format given ({text}): year, month, day, hour, minute and "
        "second (YYYY or YY, MM, DD, hh, mm, ss) must be in it exactly once each."
    )


def _check_range(name: str, value: float, low: int, high: int | None) -> None:
    if value < low or (high is not None and value > high):
        upper = "" if high is None else f" and at most {high}"
        raise invalid(
            f"The value for {name} is out of bounds. You passed {value:g} in the request, but the "
            f"value must be at least {low}{upper}."
        )
