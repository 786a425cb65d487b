"""The embedded Firestore: its RPCs, for the real ``google-cloud-firestore`` client.

A database is created when a request names it. Composite indexes, security rules and pipelines are
not supported; Google's own emulator (``--emulators official``) has some of them.
"""

import asyncio
import base64
import bisect
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status

from mcloud.local.gcp import firestore_protos as protos
from mcloud.local.gcp.firestore_documents import Documents
from mcloud.local.gcp.firestore_history import DocumentHistory
from mcloud.local.gcp.firestore_listen import ListenStream
from mcloud.local.gcp.firestore_names import (
    FieldPath,
    collection_id,
    database_name,
    document_path,
    field_path,
    invalid,
    parent_path,
)
from mcloud.local.gcp.firestore_protos import DocumentMessage, microseconds, timestamp
from mcloud.local.gcp.firestore_query import (
    Query,
    aggregate,
    parse_aggregation,
    parse_query,
    project,
    run_query,
)
from mcloud.local.gcp.firestore_transactions import Transaction, Transactions
from mcloud.local.gcp.firestore_values import id_key
from mcloud.local.gcp.firestore_writes import WriteBatch, written_name
from mcloud.local.gcp.rpc import Refusal, Service

# https://cloud.google.com/firestore/quotas#writes_and_transactions
_MAX_REQUEST_BYTES = 10 * 1_024 * 1_024

_DEFAULT_PAGE, _MAX_PAGE = 100, 1_000


@dataclass
class Database:
    """The current documents of one database, and their earlier versions."""

    documents: Documents = field(default_factory=Documents)
    history: DocumentHistory = field(default_factory=DocumentHistory)


class Firestore:
    """All databases of one server. ``clock`` returns nanoseconds since the epoch."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._last_time = 0
        self._databases: dict[str, Database] = {}
        self._transactions = Transactions(self._now)
        self._service = Service("google.firestore.v1.Firestore", "Firestore")

    def services(self) -> list[Service]:
        """The gRPC services to put on a server."""
        service = self._service
        for method, unary in {
            "GetDocument": self.get_document,
            "ListDocuments": self.list_documents,
            "ListCollectionIds": self.list_collection_ids,
            "BeginTransaction": self.begin_transaction,
            "Commit": self.commit,
            "Rollback": self.rollback,
            "BatchWrite": self.batch_write,
        }.items():
            service.unary(method, unary, *_message_types(method))
        for method, streaming in {
            "BatchGetDocuments": self.batch_get_documents,
            "RunQuery": self.run_query,
            "RunAggregationQuery": self.run_aggregation_query,
        }.items():
            service.streaming(method, streaming, *_message_types(method))
        service.streaming("Listen", self.listen, *_message_types("Listen"), client_streams=True)
        return [service]

    def dump(self) -> dict[str, Any]:
        """Return the state that should outlive the process, as JSON values. Transactions are not
        part of it.
        """
        return {
            "last_time": self._last_time,
            "last_serial": self._transactions.last_serial,
            "documents": [
                base64.b64encode(document.SerializeToString()).decode("ascii")
                for database in self._databases.values()
                for document in database.documents.all()
            ],
        }

    def load(self, dump: dict[str, Any]) -> None:
        """Load the result of ``dump``.

        Raises:
            LookupError, TypeError, ValueError: it is not a result of ``dump``.
        """
        self._last_time = int(dump["last_time"])
        self._transactions.last_serial = int(dump["last_serial"])
        for encoded in dump["documents"]:
            try:
                document = protos.Document.FromString(base64.b64decode(encoded))
                path = document_path(document.name)
            except (DecodeError, Refusal) as error:
                raise ValueError(f"a document is damaged: {error}") from error
            self._documents(path.database).put(path.collection, path.id, document)
        for database in self._databases.values():
            database.history.began = self._last_time

    async def get_document(self, request: Any, _context: Any) -> DocumentMessage:
        """Return one document, or NOT_FOUND."""
        path = document_path(request.name)
        mask = _mask(request)
        documents, transaction = self._reader(path.database, request)
        document = await self._read(documents, transaction, request.name)
        if document is None:
            raise Refusal(grpc.StatusCode.NOT_FOUND, f"Document ({request.name}) not found.")
        return project(document, mask)

    async def batch_get_documents(self, request: Any, _context: Any) -> AsyncIterator[Any]:
        """Return many documents, each found or missing."""
        database = database_name(request.database)
        for name in request.documents:
            _check_inside(name, database)
        mask = _mask(request)
        documents, transaction = self._reader(database, request)
        if request.HasField("new_transaction") and transaction is not None:
            yield protos.BatchGetDocumentsResponse(transaction=transaction.id)
        for name in dict.fromkeys(request.documents):
            document = await self._read(documents, transaction, name)
            response = protos.BatchGetDocumentsResponse(read_time=timestamp(self._now()))
            if document is None:
                response.missing = name
            else:
                response.found.CopyFrom(project(document, mask))
            yield response

    async def list_documents(self, request: Any, _context: Any) -> Any:
        """Return one page of a collection, by document id."""
        database, parent = parent_path(request.parent)
        if request.order_by not in ("", "__name__", "__name__ asc"):
            raise _unimplemented(f"ListDocuments ordered by {request.order_by}")
        documents, transaction = self._reader(database, request)
        if transaction is not None and transaction.snapshot is None:
            raise _unimplemented("ListDocuments in a read-write transaction")
        prefix = f"{parent}/" if parent else ""
        path = prefix + collection_id(request.collection_id)
        found = documents.collections.get(path)
        ids = found.ids() if found is not None else []
        if request.show_missing:
            ids = sorted({*ids, *documents.ids_below(path)}, key=id_key)
        mask = _mask(request)
        page, token = _page(ids, request)
        response = protos.ListDocumentsResponse(next_page_token=token)
        for document_id in page:
            document = documents.get(path, document_id)
            name = f"{database}/documents/{path}/{document_id}"
            response.documents.append(
                protos.Document(name=name) if document is None else project(document, mask)
            )
        return response

    async def list_collection_ids(self, request: Any, _context: Any) -> Any:
        """Return one page of the ids of the collections directly below a document or the root."""
        database, parent = parent_path(request.parent)
        documents, _ = self._reader(database, request)
        page, token = _page(sorted(documents.ids_below(parent)), request)
        return protos.ListCollectionIdsResponse(collection_ids=page, next_page_token=token)

    async def run_query(self, request: Any, _context: Any) -> AsyncIterator[Any]:
        """Return the matching documents, one per response."""
        database, parent = parent_path(request.parent)
        _refuse_explain(request)
        query = parse_query(parent, request.structured_query)
        documents, transaction = self._reader(database, request)
        if request.HasField("new_transaction") and transaction is not None:
            yield protos.RunQueryResponse(transaction=transaction.id)
        found = await self._query(documents, transaction, query)
        read_time = timestamp(self._now())
        if not found:
            yield protos.RunQueryResponse(read_time=read_time, done=True)
        last = len(found) - 1
        for number, document in enumerate(found):
            response = protos.RunQueryResponse(
                document=project(document, query.mask), read_time=read_time
            )
            if number == last:
                response.done = True
            yield response

    async def run_aggregation_query(self, request: Any, _context: Any) -> AsyncIterator[Any]:
        """Return counts, sums and averages of the matching documents, all in one response."""
        database, parent = parent_path(request.parent)
        _refuse_explain(request)
        wanted = request.structured_aggregation_query
        query = parse_aggregation(parent, wanted)
        documents, transaction = self._reader(database, request)
        found = await self._query(documents, transaction, query)
        response = protos.RunAggregationQueryResponse(read_time=timestamp(self._now()))
        for alias, value in aggregate(found, wanted.aggregations).items():
            response.result.aggregate_fields[alias].CopyFrom(value)
        if request.HasField("new_transaction") and transaction is not None:
            response.transaction = transaction.id
        yield response

    async def begin_transaction(self, request: Any, _context: Any) -> Any:
        """Open a transaction."""
        transaction = self._begin(database_name(request.database), request.options)
        return protos.BeginTransactionResponse(transaction=transaction.id)

    async def commit(self, request: Any, _context: Any) -> Any:
        """Apply all writes at one instant, or none. In a transaction, apply them only if its reads
        are still valid.
        """
        database = database_name(request.database)
        _check_request_size(request)
        documents = self._documents(database)
        transaction = None
        if request.transaction:
            transaction = self._transactions.get(request.transaction, database)
            if transaction.snapshot is None:
                written = [written_name(write) for write in request.writes]
                await self._transactions.before_commit(transaction, written)
                self._transactions.check(transaction, documents)
            elif request.writes:
                raise invalid("Cannot modify entities in a read-only transaction.")
        now = self._tick()
        batch = WriteBatch(documents, database, now)
        try:
            results = [batch.apply(write) for write in request.writes]
        finally:
            if transaction is not None:
                self._transactions.close(transaction)
        self._database(database).history.add(batch.install(), now)
        return protos.CommitResponse(write_results=results, commit_time=timestamp(now))

    async def rollback(self, request: Any, _context: Any) -> Any:
        """Close a transaction without writing."""
        self._transactions.roll_back(request.transaction, database_name(request.database))
        return protos.Empty()

    async def batch_write(self, request: Any, _context: Any) -> Any:
        """Apply each write separately, and return a status for each. Malformed writes refuse the
        request.
        """
        database = database_name(request.database)
        _check_request_size(request)
        names = [written_name(write) for write in request.writes]
        if len(set(names)) < len(names):
            raise invalid("the same document cannot be written more than once in a single request")
        now = self._tick()
        batch = WriteBatch(self._documents(database), database, now)
        response = protos.BatchWriteResponse()
        for write in request.writes:
            result, status = protos.WriteResult(), Status()
            try:
                result = batch.apply(write)
            except Refusal as refusal:
                if refusal.code is grpc.StatusCode.INVALID_ARGUMENT:
                    raise
                status = Status(code=refusal.code.value[0], message=refusal.message)
            response.write_results.append(result)
            response.status.append(status)
        self._database(database).history.add(batch.install(), now)
        return response

    async def listen(self, requests: Any, _context: Any) -> AsyncIterator[Any]:
        """Send the documents of the client's targets, and each change of them, until the stream
        ends.
        """
        requests = aiter(requests)
        first = await anext(requests, None)
        if first is None:
            return
        name = database_name(first.database)
        database = self._database(name)
        stream = ListenStream(database.documents, database.history, name, self._now)
        stream.apply(first)
        stream.open()
        reader = asyncio.create_task(stream.read(requests))
        reader.add_done_callback(lambda _: stream.woken.set())
        try:
            while True:
                stream.woken.clear()
                for response in stream.take():
                    yield response
                if reader.done():
                    break
                await stream.woken.wait()
                await self._service.gate(self._service.product)
            reader.result()
        finally:
            stream.close()
            reader.cancel()

    def _database(self, name: str) -> Database:
        return self._databases.setdefault(name, Database())

    def _documents(self, database: str) -> Documents:
        return self._database(database).documents

    def _past(self, database: str, read_time: Any) -> Documents:
        """Return the documents at a time in the past."""
        if read_time.nanos % 1_000:
            raise invalid("timestamp cannot have more than microseconds precision")
        time, now = microseconds(read_time), self._now()
        if time > now:
            raise invalid("The requested 'read_time' cannot be in the future.")
        return self._database(database).history.at(self._documents(database), time, now)

    def _reader(self, database: str, request: Any) -> tuple[Documents, Transaction | None]:
        """Return the documents that a request reads, and its transaction if it has one."""
        documents = self._documents(database)
        selector = request.WhichOneof("consistency_selector")
        if selector == "read_time":
            return self._past(database, request.read_time), None
        if selector == "transaction":
            transaction = self._transactions.get(request.transaction, database)
        elif selector == "new_transaction":
            transaction = self._begin(database, request.new_transaction)
        else:
            return documents, None
        return transaction.snapshot or documents, transaction

    def _begin(self, database: str, options: Any) -> Transaction:
        snapshot = None
        if options.HasField("read_only"):
            if options.read_only.HasField("read_time"):
                snapshot = self._past(database, options.read_only.read_time)
            else:
                snapshot = self._documents(database).snapshot()
        return self._transactions.begin(
            database, snapshot, retry=options.read_write.retry_transaction
        )

    async def _read(
        self, documents: Documents, transaction: Transaction | None, name: str
    ) -> DocumentMessage | None:
        path = document_path(name)
        if transaction is None or transaction.snapshot is not None:
            return documents.get(path.collection, path.id)
        await self._transactions.before_get(transaction, name)
        document = documents.get(path.collection, path.id)
        self._transactions.note_read(transaction, name, document)
        return document

    async def _query(
        self, documents: Documents, transaction: Transaction | None, query: Query
    ) -> list[DocumentMessage]:
        if transaction is None or transaction.snapshot is not None:
            return run_query(documents, query)
        await self._transactions.before_query(transaction, query)
        found = run_query(documents, query)
        self._transactions.note_query(transaction, query, found)
        return found

    def _now(self) -> int:
        """Return the time in microseconds since the epoch, never before the last commit."""
        return max(self._clock() // 1_000, self._last_time)

    def _tick(self) -> int:
        """Return a commit time in microseconds since the epoch, later than all earlier ones."""
        self._last_time = max(self._clock() // 1_000, self._last_time + 1)
        return self._last_time


def _message_types(method: str) -> tuple[Any, Any]:
    responses = {"GetDocument": protos.Document, "Rollback": protos.Empty}
    request = getattr(protos, f"{method}Request")
    return request, responses.get(method) or getattr(protos, f"{method}Response")


def _mask(request: Any) -> tuple[FieldPath, ...] | None:
    if not request.HasField("mask"):
        return None
    return tuple(field_path(text) for text in request.mask.field_paths)


def _page(items: list[str], request: Any) -> tuple[list[str], str]:
    """Return the items of one page and the token of the next page. A token is the last item
    shown.
    """
    if request.page_size < 0:
        raise invalid("page_size is negative")
    size = min(request.page_size or _DEFAULT_PAGE, _MAX_PAGE)
    first = 0
    if request.page_token:
        first = bisect.bisect_right(items, id_key(request.page_token), key=id_key)
    page = items[first : first + size]
    return page, page[-1] if first + size < len(items) else ""


def _check_inside(name: str, database: str) -> None:
    if document_path(name).database != database:
        raise invalid(f'Document "{name}" is not in database "{database}".')


def _check_request_size(request: Any) -> None:
    if request.ByteSize() > _MAX_REQUEST_BYTES:
        raise invalid(f"Request payload size exceeds the limit: {_MAX_REQUEST_BYTES} bytes.")


def _refuse_explain(request: Any) -> None:
    if request.HasField("explain_options"):
        raise _unimplemented("explain_options")


def _unimplemented(what: str) -> Refusal:
    return Refusal(grpc.StatusCode.UNIMPLEMENTED, f"the embedded Firestore has no {what}")
