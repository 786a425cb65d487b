"""Names, ids and times as Google's APIs write them."""

import base64
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]


def camel(name: str) -> str:
    """Return ``snake_case`` as ``camelCase``; a name in camel case stays as it is."""
    head, *rest = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


def timestamp(ahead: timedelta = timedelta()) -> str:
    """Return the present time, plus ``ahead``, as a timestamp in JSON."""
    return f"{datetime.now(UTC) + ahead:%Y-%m-%dT%H:%M:%S.%fZ}"


def new_etag() -> str:
    """Return an etag that no other version has."""
    return base64.b64encode(uuid.uuid4().bytes[:8]).decode()


def new_uuid() -> str:
    return str(uuid.uuid4())


def new_number(digits: int = 18) -> str:
    """Return a random id of digits that does not begin with 0."""
    return "1" + str(uuid.uuid4().int)[: digits - 1]


def new_index_id() -> str:
    """Return an id as Firestore gives to indexes."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes[:8]).decode().strip("=")


def last(name: str) -> str:
    """Return the last part of a resource's name."""
    return name.rsplit("/", 1)[-1]
