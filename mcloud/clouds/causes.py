"""Why a cloud refused, by the words of its APIs.

An API says the same through an SDK, in a REST answer and in an error of a Terraform provider. So
``aws/causes.py`` and ``gcp/causes.py`` hold one table a cloud, which all three use.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Cause:
    """A reason that a cloud gives, and what removes it."""

    pattern: str
    """Regular expression that finds the reason in an error. The first of a table counts.
    Its named groups fill the fields of ``text`` and ``remedy``."""
    text: str
    """The reason in plain words, without the cloud's own."""
    remedy: str
    """A command or an action that removes the reason. It does not say to try again."""
    is_whole: bool = False
    """Whether ``text`` says all: the cloud's own words add nothing."""


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
    """Return the first known cause that an error names; None where there is none.

    ``known`` fills the fields that the error leaves open. One that is in neither shows its own name
    in capitals, to be filled in.
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
