"""A TOML file that knows the line of every error in it."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mcloud.config import text
from mcloud.errors import ConfigError

Where = tuple[str, ...]
"""Names of a table, from the outside in."""


@dataclass(frozen=True)
class Document:
    path: Path
    text: str
    values: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> "Document":
        """Read a file. A missing file counts as empty.

        Raises:
            ConfigError: it cannot be read, or is not valid TOML.
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

    def table(self, where: Where) -> dict[str, Any]:
        """Return a table. It is empty if there is none.

        Raises:
            ConfigError: there is another value under this name, or under that of a table around it.
        """
        table = self.values
        for depth, key in enumerate(where, start=1):
            value = table.get(key, {})
            if not isinstance(value, dict):
                name = ".".join(where[:depth])
                raise self.error(where[: depth - 1], key, f"{name} must be a table, not {value!r}")
            table = value
        return table

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
