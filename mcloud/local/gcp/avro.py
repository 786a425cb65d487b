"""Avro schemas, and whether a message conforms to one.

https://avro.apache.org/docs/1.12.0/specification. Logical types, aliases and defaults change
nothing here.
"""

import json
import struct
from collections.abc import Iterator
from typing import Any, Final

_INT, _LONG = range(-(2**31), 2**31), range(-(2**63), 2**63)
_PRIMITIVES: Final = frozenset(
    ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
)


class AvroError(ValueError):
    """A definition is no Avro schema, or a message does not conform to one."""


class AvroSchema:
    """A parsed schema.

    Raises:
        AvroError: the definition is not a schema.
    """

    def __init__(self, definition: str) -> None:
        self._named: dict[str, Any] = {}
        try:
            self._root = self._resolved(json.loads(definition), "")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise AvroError("the definition is not an Avro schema") from error

    def check_json(self, message: bytes) -> None:
        """Refuse a message that is not in the JSON encoding of this schema."""
        try:
            fits = self._fits(self._root, json.loads(message))
        except ValueError as error:
            raise AvroError("the message is not JSON") from error
        if not fits:
            raise AvroError("the message does not fit the schema")

    def check_binary(self, message: bytes) -> None:
        """Refuse a message that is not in the binary encoding of this schema."""
        reader = _Reader(message)
        try:
            self._read(self._root, reader)
        except (IndexError, struct.error, UnicodeDecodeError) as error:
            raise AvroError("the message is cut off or damaged") from error
        if reader.rest:
            raise AvroError("the message is longer than its schema")

    def _resolved(self, schema: Any, namespace: str) -> Any:
        """Return a schema with full names, in which a type is a name, a union or an object.

        Raises ValueError, TypeError, KeyError or AttributeError if it is not a schema.
        """
        if isinstance(schema, list):
            return [self._resolved(branch, namespace) for branch in schema]
        if isinstance(schema, str):
            name = schema if schema in _PRIMITIVES else _full(schema, namespace)
            if name not in _PRIMITIVES and name not in self._named:
                raise ValueError(schema)
            return name
        kind = schema["type"]
        if kind == "array":
            return {"type": kind, "items": self._resolved(schema["items"], namespace)}
        if kind == "map":
            return {"type": kind, "values": self._resolved(schema["values"], namespace)}
        if kind not in ("record", "enum", "fixed"):
            return self._resolved(kind, namespace)  # such as {"type": "string"}
        name = _full(schema["name"], schema.get("namespace", namespace))
        resolved: dict[str, Any] = {"type": kind, "name": name}
        self._named[name] = resolved
        if kind == "enum":
            resolved["symbols"] = list(schema["symbols"])
        elif kind == "fixed":
            resolved["size"] = int(schema["size"])
        else:
            resolved["fields"] = {
                field["name"]: self._resolved(field["type"], name.rpartition(".")[0])
                for field in schema["fields"]
            }
        return name

    def _fits(self, schema: Any, value: Any) -> bool:
        if isinstance(schema, list):
            if value is None:
                return "null" in schema
            if not isinstance(value, dict) or len(value) != 1:
                return False
            ((name, inner),) = value.items()
            return any(_name(branch) == name and self._fits(branch, inner) for branch in schema)
        if isinstance(schema, str) and schema in _PRIMITIVES:
            return _is_primitive(schema, value)
        schema = self._named[schema] if isinstance(schema, str) else schema
        match schema["type"]:
            case "array":
                return isinstance(value, list) and all(
                    self._fits(schema["items"], each) for each in value
                )
            case "map":
                return isinstance(value, dict) and all(
                    self._fits(schema["values"], each) for each in value.values()
                )
            case "enum":
                return value in schema["symbols"]
            case "fixed":
                return isinstance(value, str) and len(value) == schema["size"]
        fields = schema["fields"]
        return isinstance(value, dict) and all(
            name in value and self._fits(kind, value[name]) for name, kind in fields.items()
        )

    def _read(self, schema: Any, reader: "_Reader") -> None:
        if isinstance(schema, list):
            self._read(schema[reader.index(len(schema))], reader)
            return
        if isinstance(schema, str) and schema in _PRIMITIVES:
            reader.primitive(schema)
            return
        schema = self._named[schema] if isinstance(schema, str) else schema
        match schema["type"]:
            case "array":
                for _ in reader.items():
                    self._read(schema["items"], reader)
            case "map":
                for _ in reader.items():
                    reader.primitive("string")
                    self._read(schema["values"], reader)
            case "enum":
                reader.index(len(schema["symbols"]))
            case "fixed":
                reader.take(schema["size"])
            case _:
                for kind in schema["fields"].values():
                    self._read(kind, reader)


class _Reader:
    """Reads a message in the binary encoding. Each method raises IndexError at its end."""

    def __init__(self, message: bytes) -> None:
        self.rest = message

    def take(self, size: int) -> bytes:
        if not 0 <= size <= len(self.rest):
            raise IndexError(size)
        taken, self.rest = self.rest[:size], self.rest[size:]
        return taken

    def primitive(self, kind: str) -> None:
        match kind:
            case "boolean":
                if self.take(1) not in (b"\0", b"\1"):
                    raise IndexError(kind)
            case "int" | "long":
                self.integer()
            case "float":
                self.take(4)
            case "double":
                self.take(8)
            case "bytes":
                self.take(self.integer())
            case "string":
                self.take(self.integer()).decode()

    def integer(self) -> int:
        """Return a number of variable length, in zigzag encoding."""
        number = shift = 0
        while True:
            (byte,) = self.take(1)
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return (number >> 1) ^ -(number & 1)

    def index(self, count: int) -> int:
        """Return the place of a branch or a symbol."""
        found = self.integer()
        if not 0 <= found < count:
            raise IndexError(found)
        return found

    def items(self) -> Iterator[None]:
        """Yield for each item of an array or a map, which come in blocks."""
        while count := self.integer():
            if count < 0:  # the size of the block in bytes follows
                self.integer()
            for _ in range(abs(count)):
                if not self.rest:
                    raise IndexError(count)
                yield None


def _full(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"


def _name(branch: Any) -> str:
    """Return the name of a branch of a union in the JSON encoding."""
    return str(branch["type"]) if isinstance(branch, dict) else str(branch)


def _is_primitive(kind: str, value: Any) -> bool:
    match kind:
        case "null":
            return value is None
        case "boolean":
            return isinstance(value, bool)
        case "int" | "long":
            span = _INT if kind == "int" else _LONG
            return isinstance(value, int) and not isinstance(value, bool) and value in span
        case "float" | "double":
            return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, str)
