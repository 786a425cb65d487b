"""The settings of one part of mcloud, such as ``[guard]``, as a dataclass of that part.

@dataclass(frozen=True)
class GuardSettings:
    interval: float = setting(2.0, least=0.5)

settings(config, "guard", GuardSettings).interval
"""

import math
from collections.abc import Sequence
from dataclasses import field, fields
from types import UnionType
from typing import Any, TypeVar, get_args, get_type_hints

from mcloud.config.document import Where
from mcloud.config.model import Config

Settings = TypeVar("Settings")

LARGEST = 1e9
"""Largest number, which is 31 years in seconds. Python cannot wait for ten times as long."""

_WORDS = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple: "a list of texts",
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


def settings(config: Config, name: str, kind: type[Settings]) -> Settings:
    """Read the table ``[name]`` of mcloud.toml as ``kind``, a dataclass made of ``setting``.

    Its fields are ``str``, ``int``, ``float``, ``bool`` or ``tuple[str, ...]``, each perhaps None.

    Raises:
        ConfigError: an unknown key, a wrong type or a value out of bounds, with its line.
    """
    return read(config, (name,), config.document.values.get(name, {}), kind)


def read(config: Config, where: Where, table: dict[str, Any], kind: type[Settings]) -> Settings:
    """Read a given table as ``settings`` does. ``where`` is its name, from the outside in."""
    document = config.document
    known = {each.metadata.get("key") or each.name: each for each in fields(kind)}  # type: ignore[arg-type]
    document.check_keys(table, where, set(known))
    hints = get_type_hints(kind)
    values = {}
    for key, value in table.items():
        wanted = _type(hints[known[key].name])
        name = ".".join((*where, key))
        if wanted is float and type(value) is int and abs(value) <= LARGEST:
            value = float(value)
        if wanted is tuple and isinstance(value, list) and all(type(x) is str for x in value):
            value = tuple(value)
        if type(value) is not wanted:
            shown = "a table" if isinstance(value, dict) else repr(value)
            raise document.error(where, key, f"{name} must be {_WORDS[wanted]}, not {shown}")
        if problem := _problem(value, known[key].metadata):
            raise document.error(where, key, f"{name} must be {problem}, not {value!r}")
        values[known[key].name] = value
    return kind(**values)


def _type(hint: Any) -> type:
    if isinstance(hint, UnionType):
        hint = next(each for each in get_args(hint) if each is not type(None))
    origin: type = getattr(hint, "__origin__", hint)
    return origin


def _problem(value: Any, bounds: Any) -> str:
    """Return the requirement that a value violates, or an empty string."""
    if bounds.get("one_of") and value not in bounds["one_of"]:
        return "one of " + ", ".join(bounds["one_of"])
    if type(value) not in (int, float):
        return ""
    if isinstance(value, float) and not math.isfinite(value):
        return "a finite number"
    if (least := bounds.get("least")) is not None and value < least:
        return f"{least:g} or more"
    most = LARGEST if bounds.get("most") is None else bounds["most"]
    return f"{most:g} or less" if value > most else ""
