"""Discovery documents: the methods and schemas of an API.

They are in PyPI's google-api-python-client; see
https://developers.google.com/discovery/v1/reference/apis for their format.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from urllib.parse import unquote

import googleapiclient  # type: ignore[import-untyped]

from .names import Json

KEEPS_EMPTY_VALUES = ("storage", "bigquery", "compute")
"""APIs that answer with a value that was set even if it is false or empty; others leave it out."""

OPERATIONS = ("Operation", "GoogleLongrunningOperation")
"""Schemas of long-running operations."""


@dataclass(frozen=True, eq=False)
class Document:
    """The description of one version of an API."""

    content: Json

    @property
    def api(self) -> str:
        return str(self.content["name"])

    @property
    def version(self) -> str:
        return str(self.content["version"])

    @property
    def service_path(self) -> str:
        """Path in front of that of every method, such as ``storage/v1/``; mostly empty."""
        return str(self.content.get("servicePath", ""))

    @property
    def schemas(self) -> Json:
        schemas: Json = self.content["schemas"]
        return schemas

    def properties(self, schema: str | None) -> Json:
        """Return the fields of a schema; none if the document has no such schema."""
        properties: Json = self.schemas.get(schema or "", {}).get("properties", {})
        return properties

    @property
    def keeps_empty_values(self) -> bool:
        return self.api in KEEPS_EMPTY_VALUES

    @cached_property
    def methods(self) -> list["Method"]:
        """All methods; ``{name}:getIamPolicy`` comes before the less exact ``{name}``."""
        found = [Method(self, description) for description in _methods(self.content)]
        return sorted(found, key=lambda method: method.exactness, reverse=True)


@dataclass(frozen=True, eq=False)
class Method:
    """One method of an API, and the requests that belong to it."""

    document: Document
    description: Json

    @property
    def id(self) -> str:
        return str(self.description["id"])

    @property
    def collection(self) -> str:
        """Id without the verb, such as ``pubsub.projects.topics``."""
        return self.id.rpartition(".")[0]

    @property
    def verb(self) -> str:
        return self.id.rpartition(".")[2]

    @property
    def http(self) -> str:
        return str(self.description["httpMethod"])

    @cached_property
    def parameters(self) -> Json:
        """Parameters of the path and the query, with those that every method takes."""
        own = self.description.get("parameters", {})
        return {**self.document.content.get("parameters", {}), **own}

    @property
    def request(self) -> str | None:
        """Name of the body's schema; None if the method takes no body."""
        name: str | None = self.description.get("request", {}).get("$ref")
        return name

    @property
    def response(self) -> str | None:
        name: str | None = self.description.get("response", {}).get("$ref")
        return name

    @property
    def starts_operation(self) -> bool:
        return self.response in OPERATIONS

    @property
    def path(self) -> str:
        return self.document.service_path + str(self.description["path"])

    @property
    def exactness(self) -> tuple[int, int]:
        """How much of the path is fixed."""
        return len(re.sub(r"\{[^}]*\}", "", self.path)), len(self.path)

    def match(self, http: str, path: str) -> dict[str, str] | None:
        """Return the parameters in the path; None if the request belongs to another method."""
        if http != self.http:
            return None
        for expression in self._expressions:
            found = expression.fullmatch(path)
            if found:
                return {name: unquote(value) for name, value in found.groupdict().items()}
        return None

    @cached_property
    def _expressions(self) -> list[re.Pattern[str]]:
        uploads = self.description.get("mediaUpload", {}).get("protocols", {}).values()
        paths = [self.path, *(upload["path"].lstrip("/") for upload in uploads)]
        return [self._expression(path) for path in paths]

    def _expression(self, template: str) -> re.Pattern[str]:
        """Return the template as a regular expression with a named group for each parameter."""
        pieces = []
        for piece in re.split(r"(\{\+?\w+\})", template):
            found = re.fullmatch(r"\{(\+?)(\w+)\}", piece)
            if not found:
                pieces.append(re.escape(piece))
                continue
            any_characters = "^.+$" if found[1] else "^[^/]+$"
            pattern = self.parameters.get(found[2], {}).get("pattern", any_characters)
            pieces.append(f"(?P<{found[2]}>{pattern.strip('^$')})")
        return re.compile("".join(pieces) + "/?")


def _methods(resource: Json) -> Iterator[Json]:
    """Yield the descriptions of the methods of a resource and of all below it."""
    yield from resource.get("methods", {}).values()
    for child in resource.get("resources", {}).values():
        yield from _methods(child)


@cache
def read(api: str, version: str) -> Document | None:
    """Return the document of an API; None if Google publishes none."""
    folder = files(googleapiclient) / "discovery_cache" / "documents"
    try:
        return Document(json.loads((folder / f"{api}.{version}.json").read_text()))
    except FileNotFoundError:
        return None


def find(http: str, api: str, path: str) -> tuple[Method, dict[str, str]] | None:
    """Return the method that a request belongs to, with the parameters in its path.

    Args:
        path: path of the request at the host of the API, without a leading slash.
    """
    version = re.search(r"(?:^|/)(v\d+\w*)/", path)
    document = read(api, version[1]) if version else None
    for method in document.methods if document else ():
        parameters = method.match(http, path)
        if parameters is not None:
            return method, parameters
    return None


def operation_pattern(method: Method) -> str:
    """Return the pattern of the names of operations that a method starts.

    It is that of the method ``operations.get`` that is nearest in the document.
    """
    own = method.collection.split(".")

    def nearness(other: Method) -> int:
        theirs = other.collection.split(".")
        return sum(mine == their for mine, their in zip(own, theirs, strict=False))

    gets = [each for each in method.document.methods if each.id.endswith("operations.get")]
    if not gets:
        return "operations/.*"
    return str(max(gets, key=nearness).parameters["name"]["pattern"]).strip("^$")
