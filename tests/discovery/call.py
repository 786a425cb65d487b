"""A request while it is answered."""

import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from .documents import Document, Method
from .names import Json


@dataclass
class Call:
    """A request that fits a method of an API."""

    method: Method
    name: str
    """Name of the resource, or of the parent of those that the call is about."""
    query: Json = field(default_factory=dict)
    body: Json = field(default_factory=dict)
    media: bytes | None = None
    """Content of an upload."""
    notes: list[str] = field(default_factory=list)
    """Remarks for the log."""

    @property
    def document(self) -> Document:
        return self.method.document

    @property
    def api(self) -> str:
        return self.method.document.api

    @property
    def collection(self) -> str:
        return self.method.collection


def resource_name(method: Method, path: str) -> str:
    """Return the name in the path of a request: the path without version and custom verb."""
    name = unquote(path)
    for start in ("resumable/", "upload/", method.document.service_path):
        name = name.removeprefix(start)
    name = re.sub(r"^v\d+(beta\d+)?/", "", name)
    return re.sub(r":[A-Za-z]+$", "", name).rstrip("/")
