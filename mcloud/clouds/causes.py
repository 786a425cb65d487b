"""Reasons for refusals, recognised by the error messages of the clouds' APIs.

An API returns the same message through an SDK, in a REST answer and in an error of a Terraform
provider. ``aws/causes.py`` and ``gcp/causes.py`` therefore hold one table for each cloud, which all
three use.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Cause:
    """A reason for a refusal, and how to remove it."""

    pattern: str
    """Regular expression that finds the reason in an error. The first match in a table counts. Its
    named groups fill the fields of ``text`` and ``remedy``.
    """
    text: str
    """The reason in plain words, instead of those of the cloud."""
    remedy: str
    """A command or an action that removes the reason. It does not say to try again."""
    is_whole: bool = False
    """Whether ``text`` is complete, so that the cloud's own message adds nothing."""


TAKEN = "a resource with this name already exists, and is not in the state of this site"
RENAME = (
    "delete the resource if an earlier deployment has left it, or give the site another `name` in"
    " mcloud.toml"
)


@dataclass(frozen=True)
class Explanation:
    text: str
    remedy: str
    is_whole: bool


def explain(
    said: str, causes: Iterable[Cause], known: Mapping[str, str] | None = None
) -> Explanation | None:
    """Return the first known cause that matches an error, or None.

    ``known`` fills the fields that the error leaves open. A field that is in neither is shown as
    its own name in capitals, as a placeholder.
    """
    for cause in causes:
        found = re.search(cause.pattern, said, re.DOTALL)
        if found is not None:
            named = {name: value for name, value in found.groupdict().items() if value}
            fields = _Fields({**(known or {}), **named})
            text, remedy = (each.format_map(fields) for each in (cause.text, cause.remedy))
            return Explanation(text, remedy, cause.is_whole)
    return None


class _Fields(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return key.upper()
