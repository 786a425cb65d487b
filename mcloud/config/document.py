"""A TOML file that knows the line of every error in it."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mcloud.config import text
from mcloud.config.words import did_you_mean
from mcloud.errors import ConfigError

Where = tuple[str, ...]
"""Names of a table, from the outside in."""

_WORDS = {str: "a text", int: "a whole number", dict: "a table"}


@dataclass(frozen=True)
class Document:
    path: Path
    text: str
    values: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> "Document":
        """Read a file. A missing file counts as empty.

        Raises:
            ConfigError: it cannot be read, or is no TOML.
        """
        try:
            content = text.read(path)
        except FileNotFoundError:
            return cls(path, "", {})
        try:
            document = cls(path, content, tomllib.loads(content))
        except RecursionError as error:
            raise ConfigError(f"{path}: lists or tables are nested too deeply") from error
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path}: {error}") from error
        except ValueError as error:
            raise ConfigError(f"{path}: a number has too many digits") from error
        if text.UNKNOWN in content:
            document._check_encoding(document.values, ())
        return document

    def table(self, parent: dict[str, Any], where: Where, key: str) -> dict[str, Any]:
        """Return the table of that name in another one. It is empty if there is none."""
        self.check_type(parent, where, key, dict)
        table: dict[str, Any] = parent.get(key, {})
        return table

    def check_keys(self, table: dict[str, Any], where: Where, known: set[str]) -> None:
        for key in table:
            if key not in known:
                place = f" in [{'.'.join(where)}]" if where else ""
                hint = did_you_mean(key, known) or f"; known: {', '.join(sorted(known))}"
                raise self.error(where, key, f"unknown key {key!r}{place}{hint}")

    def check_type(self, table: dict[str, Any], where: Where, key: str, wanted: type) -> None:
        if key in table and type(table[key]) is not wanted:
            value = "a table" if isinstance(table[key], dict) else repr(table[key])
            name = ".".join((*where, key))
            raise self.error(where, key, f"{name} must be {_WORDS[wanted]}, not {value}")

    def error(self, where: Where, key: str, message: str) -> ConfigError:
        return ConfigError(f"{self.path}:{self.line(where, key)}: {message}")

    def origins(self) -> dict[str, str]:
        """Return ``mcloud.toml:12`` for every value in the file, by its dotted name."""
        return {
            ".".join(where): f"{self.path.name}:{self.line(where[:-1], where[-1])}"
            for where in _leaves(self.values, ())
        }

    def line(self, where: Where, key: str) -> int:
        """Return the line of a key, or of the innermost table around it, since tomllib has no
        line numbers.
        """
        wanted = (*where, key)
        best, line = 0, 1
        for number, path in self._paths:
            while len(path) > best and path[: best + 1] == wanted[: best + 1]:
                best, line = best + 1, number
        return line

    def _check_encoding(self, table: dict[str, Any], where: Where) -> None:
        """Refuse a name or a value with a byte that is not UTF-8. Comments may have such bytes."""
        for key, value in table.items():
            if isinstance(value, dict) and text.UNKNOWN not in key:
                self._check_encoding(value, (*where, key))
            elif text.UNKNOWN in f"{key}{value}":
                name = ".".join((*where, key))
                raise self.error(where, key, f"{name} has a byte that is not UTF-8; {text.SAVE}")

    @cached_property
    def _paths(self) -> list[tuple[int, Where]]:
        """Return the lines that open a table or assign a value, each with its full name."""
        found = []
        table: Where = ()
        for number, line in enumerate(self.text.splitlines(), start=1):
            if header := re.match(r"\s*\[+([^\[\]]+)\]", line):
                table = _parts(header[1])
                found.append((number, table))
            elif assigned := re.match(r"\s*([\w.\"'-]+)\s*=", line):
                found.append((number, (*table, *_parts(assigned[1]))))
        return found


def _leaves(table: dict[str, Any], where: Where) -> Iterator[Where]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*where, key))
        else:
            yield *where, key


def _parts(dotted: str) -> Where:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))
