"""The form of a wrong request."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from ..cloud import PROJECT
from ..google import Request

P = f"projects/{PROJECT}"
REGION = f"{P}/locations/us-central1"
DOCS = "https://docs.cloud.google.com"
EMAIL = f"processor@{PROJECT}.iam.gserviceaccount.com"


@dataclass(frozen=True)
class Described:
    """A rule in the description of a field, a parameter or a method of a discovery document."""

    document: str
    """Name and version, such as ``pubsub.v1``."""
    where: str
    """``Schema.field``, ``method.id`` or ``method.id:parameter``."""
    text: str
    """Words of the description."""


@dataclass(frozen=True)
class Wrong:
    """A request that breaks one rule, and the same request without the fault."""

    rule: str
    source: Described | str
    """A part of a discovery document, or a page."""
    wrong: Request
    right: Request
    status: int = 400
    reason: str = "INVALID_ARGUMENT"
    says: str = "Invalid"
    """Words of the error message."""
    before: tuple[Request, ...] = ()
    """Requests that are sent first."""
    wait: float = 0
    """Seconds between the wrong and the right request."""


def ask(line: str, **body: Any) -> Request:
    """Return the request of a line such as ``PUT pubsub/v1/projects/p/topics/t?a=1``."""
    http, _, address = line.partition(" ")
    place, _, query = address.partition("?")
    api, _, path = place.partition("/")
    return Request(http, api, path, dict(parse_qsl(query)), body)
