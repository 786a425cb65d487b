"""The choice of a name, and messages about unknown names."""

import difflib
from collections.abc import Collection, Iterable
from typing import TypeVar

from mcloud.errors import UsageError

SHOWN = 100  # characters of an unknown name in a message

Name = TypeVar("Name", bound=str)


def unknown(
    what: str, name: str, known: Collection[str], *, where: str = "", remedy: str = ""
) -> UsageError:
    """Return the error for a name that is not one of those known.

    Args:
        where: place of the names, such as "in mcloud.toml".
    """
    place = f" {where}" if where else ""
    hint = did_you_mean(name, known)
    return UsageError(
        f"unknown {what} {name!r:.{SHOWN}}{place}; choose from {', '.join(known)}{hint}",
        remedy=remedy,
    )


def chosen(what: str, name: str, known: Collection[Name]) -> Name:
    """Return the one of the known names that a text is.

    Raises:
        UsageError: it is none of them.
    """
    for each in known:
        if each == name:
            return each
    raise unknown(what, name, known)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a text such as ``; did you mean 'aws'?``, or an empty string if no known word is
    similar.
    """
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""
