"""Checks that several APIs share."""

import re

from .names import Json
from .refusal import invalid


def seconds(duration: str) -> float:
    """Return the length of a duration such as ``600s``."""
    return float(duration.removesuffix("s"))


def check_duration(what: str, duration: str | None, least: float, most: float) -> None:
    """Refuse a duration outside ``least`` to ``most`` seconds; None is the default."""
    if duration is not None and not least <= seconds(duration) <= most:
        raise invalid(f"Invalid {what}: {duration} is not between {least:g} and {most:g} seconds.")


def check_number(what: str, number: int | None, least: int, most: int) -> None:
    """Refuse a number outside ``least`` to ``most``; 0 and None are the default."""
    if number and not least <= number <= most:
        raise invalid(f"Invalid {what}: {number} is not between {least} and {most}.")


def check_name(what: str, name: str, pattern: str) -> None:
    """Refuse a name that does not match a pattern."""
    if not re.fullmatch(pattern, name):
        raise invalid(f"Invalid {what} '{name}': it has to match {pattern}.")


def check_labels(resource: Json, field: str = "labels") -> None:
    """Refuse more than 64 labels, and characters that no label has."""
    labels = {key: value for key, value in resource.get(field, {}).items() if value is not None}
    if len(labels) > 64:
        raise invalid(f"Invalid {field}: {len(labels)} entries, and 64 are the maximum.")
    for key, value in labels.items():
        check_name(f"key in {field}", key, r"[a-z][a-z0-9_-]{0,62}")
        check_name(f"value in {field}", value, r"[a-z0-9_-]{0,63}")
