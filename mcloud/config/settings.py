"""The only check of the tables of mcloud.toml: their keys, the types of the values, and the bounds.

A table is described by a dataclass of the part of mcloud that it belongs to:

    @dataclass(frozen=True)
    class GuardSettings:
        interval: float = setting(2.0, least=0.5)

    read(document, ("guard",), GuardSettings).interval
"""

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from mcloud.config.document import Document, Where
from mcloud.config.words import Name, did_you_mean

Settings = TypeVar("Settings")

LARGEST = 1e9
"""Largest number, which is 31 years in seconds. Python cannot wait for ten times as long."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
"""Names of profiles, sites, channels and rules, which are also names of folders and parts of lists.
"""

_WORDS = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple: "a list of texts",
    dict: "a table of texts",
}


def setting(
    default: Any,
    *,
    least: float | None = None,
    most: float | None = None,
    one_of: Sequence[str] = (),
    key: str = "",
) -> Any:
    """Return a field with its default and its allowed values. The bounds themselves are allowed.

    A number must be finite, and no larger than ``LARGEST`` unless ``most`` says so. ``key`` is the
    name in the file, if Python reserves that name, such as ``for``.
    """
    bounds = {"least": least, "most": most, "one_of": one_of, "key": key}
    return field(default=default, metadata=bounds)


@dataclass(frozen=True)
class Allowed:
    """The allowed values of a key."""

    kind: type
    """One of ``str``, ``int``, ``float``, ``bool``, ``tuple`` and ``dict``, the last two of texts.
    """
    least: float | None = None
    most: float | None = None
    one_of: Sequence[str] = ()


TEXT = Allowed(str)


def read(
    document: Document, where: Where, kind: type[Settings], besides: Collection[str] = ()
) -> Settings:
    """Read the table ``where`` as ``kind``, a dataclass made of ``setting``.

    Its fields are ``str``, a ``Literal`` of texts with ``one_of``, ``int``, ``float``, ``bool`` or
    ``tuple[str, ...]``, each perhaps None.
    ``besides`` are keys of the table that are read separately.

    Raises:
        ConfigError: an unknown key, a wrong type or a value out of bounds, with its line.
    """
    names = _keys(kind)
    hints = get_type_hints(kind)
    allowed = {
        key: Allowed(
            _type(hints[each.name]),
            each.metadata.get("least"),
            each.metadata.get("most"),
            each.metadata.get("one_of", ()),
        )
        for key, each in names.items()
    }
    found = values(document, where, allowed, besides)
    return kind(**{names[key].name: value for key, value in found.items()})


def values(
    document: Document, where: Where, allowed: Mapping[str, Allowed], besides: Collection[str] = ()
) -> dict[str, Any]:
    """Return the values of a table by their keys, without the keys that the table does not have.

    Raises:
        ConfigError: as for ``read``.
    """
    known = {*allowed, *besides}
    found = {}
    for key, value in document.table(where).items():
        if key not in known:
            place = f" in [{'.'.join(where)}]" if where else ""
            near = did_you_mean(key, allowed) or did_you_mean(key, besides)
            hint = near or f"; known: {', '.join(sorted(known))}"
            raise document.error(where, key, f"unknown key {key!r}{place}{hint}")
        if key not in besides:
            found[key] = _value(document, where, key, value, allowed[key])
    return found


def choice(document: Document, where: Where, key: str, choices: Collection[Name]) -> Name:
    """Return the value of the key that decides which other keys a table has."""
    table = document.table(where)
    value = table.get(key, "")
    if key in table:
        _value(document, where, key, value, TEXT)
    for each in choices:
        if each == value:
            return each
    *most, last = (f'"{each}"' for each in choices)
    message = f"[{'.'.join(where)}] needs {key} = {', '.join(most)} or {last}"
    raise document.error(where, key, message + did_you_mean(value, choices))


def tables(document: Document, where: Where, settings: type | None = None) -> list[str]:
    """Return the names of the tables in the table ``where``, which are names of the user's choice.

    ``settings`` is the dataclass of the settings beside them, if there are any.
    """
    table = document.table(where)
    names = list(table)
    if settings is not None:
        own = _keys(settings)
        names = [name for name in table if name not in own and isinstance(table[name], dict)]
    for name in names:
        if not NAME.fullmatch(name):
            message = f"invalid name {name!r}; use letters, digits, - and _"
            raise document.error(where, name, message)
        document.table((*where, name))
    return names


def _keys(kind: Any) -> dict[str, Any]:
    """Return the fields of a dataclass by their names in the file."""
    return {each.metadata.get("key") or each.name: each for each in fields(kind)}


def _value(document: Document, where: Where, key: str, value: Any, allowed: Allowed) -> Any:
    kind, name = allowed.kind, ".".join((*where, key))
    if kind is float and type(value) is int and abs(value) <= LARGEST:
        value = float(value)
    if kind is tuple and isinstance(value, list) and _are_texts(value):
        value = tuple(value)
    if type(value) is not kind or (isinstance(value, dict) and not _are_texts(value.values())):
        shown = "a table" if isinstance(value, dict) and kind is not dict else repr(value)
        raise document.error(where, key, f"{name} must be {_WORDS[kind]}, not {shown}")
    if problem := _problem(value, allowed):
        raise document.error(where, key, f"{name} must be {problem}, not {value!r}")
    return value


def _are_texts(parts: Collection[object]) -> bool:
    return all(type(each) is str for each in parts)


def _type(hint: Any) -> type:
    if get_origin(hint) in (Union, UnionType):
        hint = next(each for each in get_args(hint) if each is not type(None))
    origin = get_origin(hint) or hint
    kind: type = str if origin is Literal else origin
    return kind


def _problem(value: Any, allowed: Allowed) -> str:
    """Return the requirement that a value violates, or an empty string."""
    if allowed.one_of and value not in allowed.one_of:
        return "one of " + ", ".join(allowed.one_of)
    if type(value) not in (int, float):
        return ""
    if isinstance(value, float) and not math.isfinite(value):
        return "a finite number"
    if allowed.least is not None and value < allowed.least:
        return f"{allowed.least:g} or more"
    most = LARGEST if allowed.most is None else allowed.most
    return f"{most:g} or less" if value > most else ""
