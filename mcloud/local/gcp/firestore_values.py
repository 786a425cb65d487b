"""Values: their order across types, their size, and the rules for storing them.

Order and sizes as documented: https://cloud.google.com/firestore/docs/concepts/data-types and
https://cloud.google.com/firestore/docs/storage-size.
"""

import re
from typing import Any, TypeAlias

from mcloud.local.gcp.firestore_names import (
    DOCUMENT_NAME,
    FieldPath,
    check_field_name,
    document_path,
    invalid,
)
from mcloud.local.gcp.firestore_protos import DocumentMessage, FieldsMessage, ValueMessage

# A key compares like its value. It consists of the rank of the type, and of parts that order values
# of that type. Python's own order is suitable for these: str by code point (the order of the UTF-8
# bytes), int with float exactly, tuples element by element and then by length.
Key: TypeAlias = tuple[Any, ...]

NULL: Key = (0,)
NAN: Key = (2,)
_BOOLEAN, _NUMBER, _TIMESTAMP, _STRING, _BYTES = 1, 3, 4, 5, 6
_REFERENCE, _GEO_POINT, _ARRAY, _VECTOR, _MAP = 7, 8, 9, 10, 11

_MAX_DEPTH = 20
_MAX_DOCUMENT_BYTES = 1_048_576
_MIN_SECONDS, _MAX_SECONDS = -62_135_596_800, 253_402_300_799

_NUMERIC_ID = re.compile(r"__id(-?[0-9]+)__")


def sort_key(value: ValueMessage) -> Key:
    """Return the sort key of a value among all values. Equal values have equal keys."""
    kind = value.WhichOneof("value_type")
    if kind == "string_value":
        return (_STRING, value.string_value)
    if kind == "integer_value":
        return (_NUMBER, value.integer_value)
    if kind == "double_value":
        number = value.double_value
        return (_NUMBER, number) if number == number else NAN
    if kind == "null_value":
        return NULL
    if kind == "boolean_value":
        return (_BOOLEAN, value.boolean_value)
    if kind == "timestamp_value":
        return (_TIMESTAMP, value.timestamp_value.seconds, value.timestamp_value.nanos)
    if kind == "map_value":
        return _map_key(value.map_value.fields)
    if kind == "array_value":
        return (_ARRAY, tuple(sort_key(element) for element in value.array_value.values))
    if kind == "bytes_value":
        return (_BYTES, value.bytes_value)
    if kind == "reference_value":
        return name_key(value.reference_value)
    if kind == "geo_point_value":
        return (_GEO_POINT, value.geo_point_value.latitude, value.geo_point_value.longitude)
    raise invalid(f"Cannot convert firestore.v1.Value with type {kind or 'unset'}.")


def id_key(document_id: str) -> tuple[str, int]:
    """Return the sort key of a document's id among all ids.

    Numeric ids, which come from Datastore, are ordered by their number before all others.
    """
    numeric = _NUMERIC_ID.fullmatch(document_id) if document_id.startswith("__id") else None
    return ("", int(numeric[1])) if numeric else (document_id, 0)


def name_key(name: str) -> Key:
    """Return the key of a reference to the document with that full name."""
    return (_REFERENCE, tuple(map(id_key, name.split("/"))))


def is_name_key(key: Key) -> bool:
    """Return whether the key is that of a reference."""
    return bool(key[0] == _REFERENCE)


def key_at(document: DocumentMessage, path: FieldPath) -> Key | None:
    """Return the key of a document's field, or of its name; None if it has no such field."""
    if path == DOCUMENT_NAME:
        return name_key(document.name)
    value = value_at(document.fields, path)
    return None if value is None else sort_key(value)


def value_at(fields: FieldsMessage, path: FieldPath) -> ValueMessage | None:
    """Return the value at a path through nested maps, or None."""
    for segment in path[:-1]:
        value = fields.get(segment)
        if value is None or not value.HasField("map_value"):
            return None
        fields = value.map_value.fields
    return fields.get(path[-1])


def set_at(fields: FieldsMessage, path: FieldPath, value: ValueMessage) -> None:
    """Store a value at a path. A value in the path that is not a map is replaced by a map."""
    for segment in path[:-1]:
        # Reading map_value.fields alone would not turn a missing or scalar value into a map.
        inner = fields[segment].map_value
        inner.SetInParent()
        fields = inner.fields
    fields[path[-1]].CopyFrom(value)


def delete_at(fields: FieldsMessage, path: FieldPath) -> None:
    """Remove the value at a path, if it exists."""
    for segment in path[:-1]:
        value = fields.get(segment)
        if value is None or not value.HasField("map_value"):
            return
        fields = value.map_value.fields
    fields.pop(path[-1], None)


def vector_of(value: ValueMessage) -> tuple[float, ...] | None:
    """The numbers of a vector, or None for any other value."""
    fields = value.map_value.fields
    if not _is_vector(fields):
        return None
    elements = fields["value"].array_value.values
    return tuple(float(element.double_value or element.integer_value) for element in elements)


def settle(fields: FieldsMessage) -> None:
    """Convert a document's fields to the form that Firestore stores, in place, or raise
    INVALID_ARGUMENT.

    Timestamps are truncated to microseconds.
    """
    for name, value in fields.items():
        check_field_name(name)
        _settle_value(value, 0)


def check_size(document: DocumentMessage) -> None:
    """Raise INVALID_ARGUMENT for a document above 1 MiB in Firestore's count."""
    # No value counts for more than four times its encoded size (the maximum is a point at 0, 0 with
    # 16 bytes for 4). The exact count is therefore needed only for documents near the limit.
    if document.ByteSize() * 4 < _MAX_DOCUMENT_BYTES:
        return
    path = document_path(document.name)
    names = f"{path.collection}/{path.id}".split("/")
    size = 16 + sum(len(name.encode()) + 1 for name in names) + _fields_size(document.fields) + 32
    if size > _MAX_DOCUMENT_BYTES:
        raise invalid(
            f'Document "{document.name}" cannot be written because its size ({size:,} bytes) '
            f"exceeds the maximum allowed size of {_MAX_DOCUMENT_BYTES:,} bytes."
        )


def _map_key(fields: FieldsMessage) -> Key:
    if _is_vector(fields):
        values = fields["value"].array_value.values
        return (_VECTOR, len(values), tuple(sort_key(element) for element in values))
    return (_MAP, tuple((name, sort_key(fields[name])) for name in sorted(fields)))


def _is_vector(fields: FieldsMessage) -> bool:
    marker = fields.get("__type__")
    return marker is not None and marker.string_value == "__vector__"


def _settle_value(value: ValueMessage, depth: int) -> None:
    kind = value.WhichOneof("value_type")
    if kind == "map_value":
        _check_depth(depth)
        fields = value.map_value.fields
        if _is_vector(fields):
            return
        for name, inner in fields.items():
            check_field_name(name)
            _settle_value(inner, depth + 1)
    elif kind == "array_value":
        _check_depth(depth)
        for element in value.array_value.values:
            if element.HasField("array_value"):
                raise invalid("Cannot convert an array value in an array value.")
            _settle_value(element, depth + 1)
    elif kind == "timestamp_value":
        stamp = value.timestamp_value
        if not _MIN_SECONDS <= stamp.seconds <= _MAX_SECONDS:
            raise invalid("A timestamp is outside of the years 1 to 9999.")
        stamp.nanos -= stamp.nanos % 1_000
    elif kind is None:
        raise invalid("Cannot convert firestore.v1.Value with type unset.")


def _check_depth(depth: int) -> None:
    if depth >= _MAX_DEPTH:
        raise invalid(f"Maps and arrays are nested more than {_MAX_DEPTH} deep.")


def _fields_size(fields: FieldsMessage) -> int:
    return sum(len(name.encode()) + 1 + _value_size(value) for name, value in fields.items())


def _value_size(value: ValueMessage) -> int:
    kind = value.WhichOneof("value_type")
    if kind == "map_value":
        return _fields_size(value.map_value.fields)
    if kind == "array_value":
        return sum(_value_size(element) for element in value.array_value.values)
    if kind == "string_value":
        return len(value.string_value.encode()) + 1
    if kind == "bytes_value":
        return len(value.bytes_value)
    if kind == "reference_value":
        _, _, path = value.reference_value.partition("/documents/")
        return 16 + sum(len(name.encode()) + 1 for name in path.split("/"))
    if kind == "geo_point_value":
        return 16
    return 1 if kind in ("null_value", "boolean_value") else 8
