"""The cloud as a function from requests to answers."""

import copy
import json
import threading
from dataclasses import dataclass, field

from . import apis  # noqa: F401 - registers what is special to single APIs
from .call import Call, resource_name
from .cloud import Cloud, Settings
from .documents import Method, find
from .failures import Failure
from .names import Json, camel
from .refusal import Refusal, invalid, missing
from .schemas import Checker, without_defaults

COMMON_PARAMETERS = {
    *("alt", "access_token", "callback", "fields", "key", "oauth_token", "prettyPrint"),
    *("quotaUser", "userIp", "uploadType", "upload_protocol", "upload_id", "$.xgafv"),
    "$alt",
}
"""Query parameters of every method. (Google's own clients send ``$alt``.)"""


@dataclass(frozen=True)
class Request:
    http: str
    api: str
    """First part of the host, such as ``pubsub``."""
    path: str
    """Path at that host, without a leading slash."""
    query: Json = field(default_factory=dict)
    body: Json = field(default_factory=dict)
    media: bytes | None = None
    """Content of an upload."""
    token: str = ""
    quota_project: str = ""
    """Project of the header ``X-Goog-User-Project``."""


@dataclass(frozen=True)
class Entry:
    """A request in the log, with its answer."""

    request: Request
    method: str
    """Id of the method; empty for a request that belongs to none."""
    status: int
    answer: Json
    notes: tuple[str, ...]

    def __str__(self) -> str:
        to = f"{self.request.http} {self.request.api}/{self.request.path}"
        error = self.answer.get("error", {})
        return f"{self.status} {to} {error.get('message', '') if self.status >= 400 else ''}"


class Google:
    """The server without its sockets; thread-safe."""

    def __init__(self, settings: Settings | None = None) -> None:
        self._lock = threading.Lock()
        self.reset(settings)

    def reset(self, settings: Settings | None = None) -> None:
        """Forget all resources, failures and requests."""
        self.settings = settings or Settings()
        self.cloud = Cloud(self.settings)
        self.failures: list[Failure] = []
        self.log: list[Entry] = []

    def answer(self, request: Request) -> tuple[int, Json]:
        """Return status and body of the answer to a request."""
        with self._lock:
            notes: list[str] = []
            found = find(request.http, request.api, request.path)
            method = found[0] if found else None
            try:
                status, answer = 200, self._answer(request, method, notes)
            except Refusal as refusal:
                status, answer = refusal.code, refusal.body()
            name = method.id if method else ""
            self.log.append(Entry(request, name, status, answer, tuple(notes)))
            return status, answer

    def refused(self) -> list[Entry]:
        """Return the requests that were answered with an error."""
        return [entry for entry in self.log if entry.status >= 400]

    def _answer(self, request: Request, method: Method | None, notes: list[str]) -> Json:
        if self.settings.tokens and request.token not in self.settings.tokens:
            raise Refusal(
                401,
                "Request had invalid authentication credentials. Expected OAuth 2 access token,"
                " login cookie or other valid authentication credential. See"
                " https://developers.google.com/identity/sign-in/web/devconsole-project.",
            )
        if request.api in self.settings.quota_project_apis and not request.quota_project:
            raise Refusal(
                403,
                "Your application is authenticating by using local Application Default"
                f" Credentials. The {request.api}.googleapis.com API requires a quota project,"
                " which is not set by default.",
            )
        if method is None:
            raise missing(f"No method of {request.api} is {request.http} {request.path}")
        # The name of a parameter may be in snake case as well.
        query = {
            camel(name) if camel(name) in method.parameters else name: value
            for name, value in request.query.items()
        }
        name = resource_name(method, request.path)
        call = Call(method, name, query, copy.deepcopy(request.body), request.media, notes)
        failure = next((f for f in self.failures if f.applies(method.id, name, call.body)), None)
        if failure and failure.operation is None:
            project = self.cloud.project_of(call) or ""
            raise failure.refusal(self.settings.projects.get(project, "0"))
        _check(call)
        key = call.api, self.cloud.canonical_name(name)
        before = copy.deepcopy(self.cloud.store.get(key))
        answer = self.cloud.answer(call)
        if failure:
            answer = self._failed(call, failure, answer, before)
        return copy.deepcopy(_canonical(method, answer))

    def _failed(self, call: Call, failure: Failure, answer: Json, before: Json | None) -> Json:
        """Return an operation that ends with an error."""
        about = answer["metadata"].items()
        target = call.name if before else next(name for key, name in about if key != "@type")
        key = call.api, target
        if key in self.cloud.store and failure.keeps:
            self.cloud.store[key]["state"] = "FAILED"
        elif before is not None:
            self.cloud.store[key] = before
        else:
            self.cloud.store.pop(key, None)
        return self.cloud.start_operation(call, target, {"error": failure.operation})


def _canonical(method: Method, answer: Json) -> Json:
    """Return an answer in the JSON of the API."""
    document = method.document
    if document.keeps_empty_values or not method.response:
        return answer
    answer = without_defaults(document, {"$ref": method.response}, answer)
    if "response" in answer and method.starts_operation and method.request:
        schema = {"$ref": method.request}
        answer["response"] = without_defaults(document, schema, answer["response"])
    return answer


def _check(call: Call) -> None:
    """Refuse what does not fit the document, and bring the body into its canonical form."""
    method, known = call.method, call.document.properties(call.method.request)
    faults = []
    for name, value in call.query.items():
        schema = method.parameters.get(name)
        # A field of the body may come in the query.
        if schema is None and name not in COMMON_PARAMETERS and name not in known:
            faults.append(f"query parameter {name} is unknown")
        for item in value if isinstance(value, list) else [value]:
            if schema and "enum" in schema and item not in schema["enum"]:
                faults.append(f"query parameter {name} is none of {', '.join(schema['enum'])}")
    for name, schema in method.parameters.items():
        if schema.get("required") and schema["location"] == "query" and name not in call.query:
            faults.append(f"query parameter {name} is required")
    if method.request:
        checker = Checker(call.document)
        call.body = checker.canonical({"$ref": method.request}, call.body)
        faults += checker.faults
        call.notes.extend(checker.notes)
    elif call.body:
        faults.append(f"the method takes no body: {json.dumps(call.body)[:120]}")
    if faults:
        raise invalid(f"Invalid request for {method.id}: {'; '.join(faults)}")
