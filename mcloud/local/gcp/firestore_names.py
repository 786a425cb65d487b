"""Resource names and field paths: parsing, and refusal of invalid ones as in Firestore.

Limits: https://cloud.google.com/firestore/quotas#collections_documents_and_fields
"""

import re
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import grpc

from mcloud.local.gcp.rpc import Refusal

FieldPath: TypeAlias = tuple[str, ...]

DOCUMENT_NAME: FieldPath = ("__name__",)

_MAX_ID_BYTES = 1_500
_MAX_NAME_BYTES = 6 * 1_024
_MAX_SUBCOLLECTIONS = 100

_DOCUMENT = "Resource id"
_DATABASE = re.compile(r"projects/[^/]+/databases/[^/]+")
_RESOURCE = re.compile(r"(projects/[^/]+/databases/[^/]+)/documents(?:/(.+))?", re.DOTALL)
_RESERVED = re.compile(r"__.*__", re.DOTALL)
_NUMERIC_ID = re.compile(r"__id(-?[1-9][0-9]*)__")
_SEGMENT = re.compile(r"([a-zA-Z_][a-zA-Z_0-9]*)|`((?:[^`\\]|\\.)+)`", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


class DocumentPath(NamedTuple):
    """Path of a document; ``collection`` is the path of its collection below ``documents/``."""

    database: str
    collection: str
    id: str


def database_name(name: str) -> str:
    """Return the name, or raise INVALID_ARGUMENT."""
    if not _DATABASE.fullmatch(name):
        raise invalid(f'Database name "{name}" is not projects/PROJECT/databases/DATABASE.')
    return name


def document_path(name: str) -> DocumentPath:
    """Parse a full document name, or raise INVALID_ARGUMENT."""
    if len(name) * 4 > _MAX_NAME_BYTES and len(name.encode()) > _MAX_NAME_BYTES:
        raise invalid(f"A document name is longer than {_MAX_NAME_BYTES} bytes.")
    parent, _, document_id = name.rpartition("/")
    database, collection = _collection(parent, name)
    _check_id(document_id, _DOCUMENT)
    return DocumentPath(database, collection, document_id)


@lru_cache(maxsize=4_096)
def parent_path(name: str) -> tuple[str, str]:
    """Return the database and the path of a parent of collections: the database's root ("") or a
    document.
    """
    resource = _RESOURCE.fullmatch(name)
    if resource is None:
        raise invalid(f'Document parent name "{name}" is not …/documents or a document\'s name.')
    if resource[2] is None:
        return resource[1], ""
    path = document_path(name)
    return path.database, f"{path.collection}/{path.id}"


def collection_id(text: str) -> str:
    """Return the id, or raise INVALID_ARGUMENT."""
    if "/" in text:
        raise invalid(f'Collection id "{text}" is invalid because it contains "/".')
    _check_id(text, "Collection id")
    return text


def check_field_name(name: str) -> None:
    """Refuse a name that no field can have."""
    if not name:
        raise invalid("A field name is empty.")
    if len(name) * 4 > _MAX_ID_BYTES and len(name.encode()) > _MAX_ID_BYTES:
        raise invalid(f"A field name is longer than {_MAX_ID_BYTES} bytes.")
    if name.startswith("__") and _RESERVED.fullmatch(name):
        raise invalid(f"Field name {name} is reserved.")


@lru_cache(maxsize=4_096)
def field_path(text: str) -> FieldPath:
    """Return the segments of ``a.`b.c`.d``. Segments in back-quotes may contain any characters,
    with backslash escapes.
    """
    path = []
    position = 0
    while match := _SEGMENT.match(text, position):
        path.append(match[1] or _ESCAPE.sub(r"\1", match[2]))
        position = match.end()
        if position == len(text):
            if tuple(path) != DOCUMENT_NAME:
                for segment in path:
                    check_field_name(segment)
            return tuple(path)
        if text[position] != ".":
            break
        position += 1
    raise invalid(
        f'Invalid property path "{text}". Unquoted segments match [a-zA-Z_][a-zA-Z_0-9]*; '
        "others stand in back-quotes."
    )


def invalid(message: str) -> Refusal:
    """Return an INVALID_ARGUMENT error."""
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, message)


@lru_cache(maxsize=4_096)
def _split_collection(name: str) -> tuple[str, str] | None:
    resource = _RESOURCE.fullmatch(name)
    if resource is None or resource[2] is None:
        return None
    segments = resource[2].split("/")
    if len(segments) % 2 == 0:
        return None
    if len(segments) // 2 + 1 > _MAX_SUBCOLLECTIONS:
        raise invalid(f"A document name is deeper than {_MAX_SUBCOLLECTIONS} collections.")
    for index, segment in enumerate(segments):
        _check_id(segment, _DOCUMENT if index % 2 else "Collection id")
    return resource[1], resource[2]


def _collection(parent: str, name: str) -> tuple[str, str]:
    found = _split_collection(parent)
    if found is None:
        raise invalid(
            f'Document name "{name}" is not '
            "projects/PROJECT/databases/DATABASE/documents/COLLECTION/ID[/COLLECTION/ID…]."
        )
    return found


def _check_id(text: str, what: str) -> None:
    if not text:
        raise invalid(f"{what} is empty.")
    if text in (".", ".."):
        raise invalid(f'{what} "{text}" is invalid.')
    if text.startswith("__") and _RESERVED.fullmatch(text):
        _check_reserved(text, what)
    if len(text) * 4 > _MAX_ID_BYTES and len(text.encode()) > _MAX_ID_BYTES:
        raise invalid(f"{what} is longer than {_MAX_ID_BYTES} bytes.")


def _check_reserved(text: str, what: str) -> None:
    """Refuse a reserved id, unless it is the number of a document that came from Datastore."""
    numeric = _NUMERIC_ID.fullmatch(text)
    if not numeric or what != _DOCUMENT:
        raise invalid(f'{what} "{text}" is invalid because it is reserved.')
    if not -(2**63) <= int(numeric[1]) < 2**63:
        raise invalid(f'{what} "{text}" is invalid because it is not a 64 bit integer.')
