"""Listeners: the targets of one ``Listen`` stream, and the changes in them.

A target is a query or a list of documents. The stream first sends all documents of a target, and
then the changes of each commit. After that, a ``NO_CHANGE`` has the time up to which everything was
sent. Its resume token is that time, so that a client that reconnects gets only the changes that it
missed, if the history reaches back that far. Protocol: google/firestore/v1/firestore.proto.
"""

import asyncio
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from google.rpc.status_pb2 import Status

from mcloud.local.gcp.firestore_documents import Documents
from mcloud.local.gcp.firestore_history import DocumentChange, DocumentHistory
from mcloud.local.gcp.firestore_names import document_path, parent_path
from mcloud.local.gcp.firestore_protos import (
    DocumentMessage,
    ListenResponse,
    TargetChange,
    microseconds,
    timestamp,
)
from mcloud.local.gcp.firestore_query import Query, parse_query, project, run_query
from mcloud.local.gcp.rpc import Refusal, invalid

_TOKEN = struct.Struct(">Q")
_ADD, _REMOVE = TargetChange.ADD, TargetChange.REMOVE
_CURRENT, _RESET = TargetChange.CURRENT, TargetChange.RESET

Found = dict[str, DocumentMessage | None]
"""Documents by name, in order. None stands for a document of the target that does not exist."""


class ListenSource(Protocol):
    """The documents that a target selects."""

    def covers(self, collection: str) -> bool:
        """Return whether a change in the collection with that path can change the target."""
        ...

    def find(self, documents: Documents) -> Found: ...

    def shown(self, document: DocumentMessage) -> DocumentMessage:
        """Return the requested fields of a document."""
        ...


@dataclass(frozen=True)
class QuerySource:
    """The documents that a query finds."""

    query: Query

    def covers(self, collection: str) -> bool:
        return self.query.covers(collection)

    def find(self, documents: Documents) -> Found:
        return {document.name: document for document in run_query(documents, self.query)}

    def shown(self, document: DocumentMessage) -> DocumentMessage:
        return project(document, self.query.mask)


@dataclass(frozen=True)
class NamedSource:
    """Documents by their names."""

    names: tuple[str, ...]

    def covers(self, collection: str) -> bool:
        return any(document_path(name).collection == collection for name in self.names)

    def find(self, documents: Documents) -> Found:
        paths = {name: document_path(name) for name in self.names}
        return {name: documents.get(path.collection, path.id) for name, path in paths.items()}

    def shown(self, document: DocumentMessage) -> DocumentMessage:
        return document


@dataclass
class ListenTarget:
    """One target of a stream. ``sent`` is the state that the client has received."""

    id: int
    source: ListenSource
    once: bool
    sent: Found = field(default_factory=dict)
    is_current: bool = False
    is_changed: bool = True


class ListenStream:
    """The targets of one stream.

    Args:
        documents: documents of the stream's database.
        history: history of the stream's database.
        database: name of the database.
        now: microseconds since the epoch.
    """

    def __init__(
        self, documents: Documents, history: DocumentHistory, database: str, now: Callable[[], int]
    ) -> None:
        self.woken = asyncio.Event()
        self._documents = documents
        self._history = history
        self._database = database
        self._now = now
        self._targets: dict[int, ListenTarget] = {}
        self._answers: list[Any] = []  # responses to requests that are not sent yet

    def open(self) -> None:
        """Start to record changes."""
        self._history.watchers.add(self._note)

    def close(self) -> None:
        """Stop recording changes."""
        self._history.watchers.discard(self._note)

    async def read(self, requests: Any) -> None:
        """Apply the client's requests until it closes its side of the stream."""
        async for request in requests:
            self.apply(request)
            self.woken.set()

    def apply(self, request: Any) -> None:
        """Add or remove a target."""
        kind = request.WhichOneof("target_change")
        if request.database != self._database:
            raise invalid("The database of a stream is set by its first request.")
        if kind == "add_target":
            self._add(request.add_target)
        elif kind == "remove_target":
            if self._targets.pop(request.remove_target, None) is not None:
                self._answers.append(_changed(_REMOVE, request.remove_target))
        else:
            raise invalid("A request to listen must add or remove a target.")

    def take(self) -> list[Any]:
        """Return the responses that are due, or none if nothing has changed."""
        now = self._now()
        responses, self._answers = self._answers, []
        for target in [target for target in self._targets.values() if target.is_changed]:
            responses += self._update(target, now)
        if responses:
            responses.append(_changed(TargetChange.NO_CHANGE, time=now))
        return responses

    def _note(self, changes: Iterable[DocumentChange]) -> None:
        collections = {change.collection for change in changes}
        for target in self._targets.values():
            if not target.is_changed and any(map(target.source.covers, collections)):
                target.is_changed = True
                self.woken.set()

    def _add(self, message: Any) -> None:
        if message.target_id < 0:
            raise invalid("A target id must be positive.")
        target_id = message.target_id or max(self._targets, default=0) + 1
        if target_id in self._targets:
            raise invalid(f"Target id {target_id} is in use on this stream.")
        self._answers.append(_changed(_ADD, target_id))
        try:
            target = ListenTarget(target_id, self._source(message), message.once)
        except Refusal as refusal:
            cause = Status(code=refusal.code.value[0], message=refusal.message)
            self._answers.append(_changed(_REMOVE, target_id, cause=cause))
            return
        self._targets[target_id] = target
        since = _resumed(message)
        if since is None:
            return
        now = self._now()
        if self._history.has(since, now):
            target.sent = target.source.find(self._history.at(self._documents, since, now))
        else:
            self._answers.append(_changed(_RESET, target_id, time=now))

    def _source(self, message: Any) -> ListenSource:
        kind = message.WhichOneof("target_type")
        if kind == "query":
            database, parent = parent_path(message.query.parent)
            self._check_database(database)
            query = parse_query(parent, message.query.structured_query)
            if query.nearest is not None:
                raise invalid("A vector search cannot be listened to.")
            return QuerySource(query)
        if kind == "documents":
            names = tuple(dict.fromkeys(message.documents.documents))
            for name in names:
                self._check_database(document_path(name).database)
            return NamedSource(names)
        raise invalid("A target must have a query or documents.")

    def _check_database(self, database: str) -> None:
        if database != self._database:
            raise invalid(f'The target is not in database "{self._database}".')

    def _update(self, target: ListenTarget, now: int) -> Iterator[Any]:
        """Yield the responses that update the client's state of a target."""
        found = target.source.find(self._documents)
        for name in target.sent:
            if name not in found:
                yield self._gone(target, name, now)
        for name, document in found.items():
            if name in target.sent and target.sent[name] is document:
                continue
            if document is None:
                yield self._gone(target, name, now)
            else:
                response = ListenResponse()
                response.document_change.document.CopyFrom(target.source.shown(document))
                response.document_change.target_ids.append(target.id)
                yield response
        target.sent = found
        target.is_changed = False
        if not target.is_current:
            target.is_current = True
            yield _changed(_CURRENT, target.id, time=now)
            if target.once:
                del self._targets[target.id]
                yield _changed(_REMOVE, target.id)

    def _gone(self, target: ListenTarget, name: str, now: int) -> Any:
        """Return the response for a document that was deleted, or that the target no longer
        finds.
        """
        path = document_path(name)
        response = ListenResponse()
        if self._documents.get(path.collection, path.id) is None:
            gone = response.document_delete
        else:
            gone = response.document_remove
        gone.document = name
        gone.removed_target_ids.append(target.id)
        gone.read_time.CopyFrom(timestamp(now))
        return response


def _changed(
    kind: int, target_id: int | None = None, *, time: int | None = None, cause: Any = None
) -> Any:
    response = ListenResponse()
    change = response.target_change
    change.target_change_type = kind
    if target_id is not None:
        change.target_ids.append(target_id)
    if time is not None:
        change.read_time.CopyFrom(timestamp(time))
        change.resume_token = _TOKEN.pack(time)
    if cause is not None:
        change.cause.CopyFrom(cause)
    return response


def _resumed(message: Any) -> int | None:
    """Return the time from which a target resumes, or 0 for an unknown token."""
    kind = message.WhichOneof("resume_type")
    if kind == "read_time":
        return microseconds(message.read_time)
    if kind == "resume_token" and message.resume_token:
        is_ours = len(message.resume_token) == _TOKEN.size
        return int(_TOKEN.unpack(message.resume_token)[0]) if is_ours else 0
    return None
