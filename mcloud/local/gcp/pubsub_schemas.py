"""Pub/Sub's schemas, and the messages that they accept.

As in Google's emulator, a schema is in Avro: definitions in Protocol Buffers are refused.
"""

import secrets
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import grpc
from google.protobuf.empty_pb2 import Empty
from google.pubsub_v1.types import Encoding, Schema, SchemaView
from google.pubsub_v1.types import schema as types

from mcloud.local.gcp import pubsub_rules as rules
from mcloud.local.gcp.avro import AvroError, AvroSchema
from mcloud.local.gcp.rpc import Handler, Refusal, Service, invalid, not_offered

DELETED: Final = "_deleted-schema_"

_Schema: Any = Schema.pb()


class Schemas:
    """The schemas of all projects, each with its revisions, oldest first.

    Args:
        timestamp: returns the present time.
        forget: called with the name of a deleted schema.
    """

    def __init__(self, timestamp: Callable[[], Any], forget: Callable[[str], None]) -> None:
        self._timestamp = timestamp
        self._forget = forget
        self.revisions: dict[str, list[Any]] = {}

    def service(self) -> Service:
        service = Service("google.pubsub.v1.SchemaService", "Pub/Sub")
        handler: Handler
        for method, handler, request, response in (
            ("CreateSchema", self.create, types.CreateSchemaRequest, Schema),
            ("GetSchema", self.get, types.GetSchemaRequest, Schema),
            ("ListSchemas", self.list_page, types.ListSchemasRequest, types.ListSchemasResponse),
            (
                "ListSchemaRevisions",
                self.list_revisions,
                types.ListSchemaRevisionsRequest,
                types.ListSchemaRevisionsResponse,
            ),
            ("CommitSchema", self.commit, types.CommitSchemaRequest, Schema),
            ("RollbackSchema", self.roll_back, types.RollbackSchemaRequest, Schema),
            (
                "DeleteSchemaRevision",
                self.delete_revision,
                types.DeleteSchemaRevisionRequest,
                Schema,
            ),
            (
                "ValidateSchema",
                self.validate,
                types.ValidateSchemaRequest,
                types.ValidateSchemaResponse,
            ),
            (
                "ValidateMessage",
                self.validate_message,
                types.ValidateMessageRequest,
                types.ValidateMessageResponse,
            ),
        ):
            service.unary(method, handler, request.pb(), response.pb())
        service.unary("DeleteSchema", self.delete, types.DeleteSchemaRequest.pb(), Empty)
        return service

    def find(self, name: str) -> Any:
        """Return a revision by its name, or the newest one of a schema.

        Raises:
            Refusal: there is none.
        """
        name, _, revision = name.partition("@")
        for each in reversed(self.revisions.get(name, [])):
            if revision in ("", each.revision_id):
                return each
        raise Refusal(grpc.StatusCode.NOT_FOUND, "Schema not found")

    def check_settings(self, settings: Any) -> None:
        """Check the schema of a topic."""
        if not settings.HasField("schema_settings"):
            return
        if settings.schema_settings.encoding == Encoding.ENCODING_UNSPECIFIED:
            raise invalid("Invalid schema encoding provided")
        if settings.schema_settings.schema not in self.revisions:
            raise Refusal(grpc.StatusCode.NOT_FOUND, "Schema could not be found")

    def mark_messages(self, settings: Any, messages: Any) -> None:
        """Add the newest revision that a message fits to its attributes.

        https://cloud.google.com/pubsub/docs/schemas#properties_of_a_schema

        Raises:
            Refusal: a message fits none of the revisions that its topic accepts.
        """
        if not settings.HasField("schema_settings"):
            return
        wanted = settings.schema_settings
        if wanted.schema == DELETED:
            raise Refusal(grpc.StatusCode.NOT_FOUND, "Schema associated with topic deleted.")
        revisions = self._between(wanted)
        fitting = [_newest(revisions, each.data, wanted.encoding) for each in messages]
        for message, revision in zip(messages, fitting, strict=True):
            prefix = "googclient_schema"
            message.attributes[f"{prefix}encoding"] = Encoding(wanted.encoding).name
            message.attributes[f"{prefix}name"] = wanted.schema
            message.attributes[f"{prefix}revisionid"] = revision.revision_id

    def load(self, revision: Any) -> None:
        """Add a revision from a saved state, after the older ones."""
        self.revisions.setdefault(revision.name, []).append(revision)

    async def create(self, request: Any, _context: Any) -> Any:
        """Create a schema with its first revision."""
        schema = _Schema()
        schema.CopyFrom(request.schema)
        schema.name = f"{request.parent}/schemas/{request.schema_id}"
        rules.check_name(schema.name, "schemas")
        if schema.name in self.revisions:
            raise rules.already_exists(schema.name)
        return self._added(schema)

    async def get(self, request: Any, _context: Any) -> Any:
        """Return a schema, or raise NOT_FOUND."""
        return _view(self.find(request.name), request.view)

    async def list_page(self, request: Any, _context: Any) -> Any:
        """Return one page of a project's schemas, each in its newest revision."""
        names, token = rules.page(self.revisions, request.parent, request)
        newest = [_view(self.revisions[name][-1], request.view) for name in names]
        return types.ListSchemasResponse.pb()(schemas=newest, next_page_token=token)

    async def list_revisions(self, request: Any, _context: Any) -> Any:
        """Return all revisions of a schema."""
        self.find(request.name)
        revisions = [_view(each, request.view) for each in self.revisions[request.name]]
        return types.ListSchemaRevisionsResponse.pb()(schemas=revisions)

    async def commit(self, request: Any, _context: Any) -> Any:
        """Add a revision."""
        if request.schema.type_ != self.find(request.name).type_:
            raise invalid("Invalid schema type")
        schema = _Schema()
        schema.CopyFrom(request.schema)
        schema.name = request.name
        return self._added(schema)

    async def roll_back(self, request: Any, _context: Any) -> Any:
        """Add a copy of an earlier revision."""
        schema = _Schema()
        schema.CopyFrom(self.find(f"{request.name}@{request.revision_id}"))
        return self._added(schema)

    async def delete_revision(self, request: Any, _context: Any) -> Any:
        """Delete one of several revisions."""
        found = self.find(request.name)
        revisions = self.revisions[found.name]
        if len(revisions) == 1:
            raise invalid("The last revision of a schema cannot be deleted.")
        revisions.remove(found)
        return revisions[-1]

    async def delete(self, request: Any, _context: Any) -> Any:
        """Delete a schema. Its topics accept no more messages."""
        self.find(request.name)
        del self.revisions[request.name]
        self._forget(request.name)
        return Empty()

    async def validate(self, request: Any, _context: Any) -> Any:
        """Check a definition."""
        _parsed(request.schema)
        return types.ValidateSchemaResponse.pb()()

    async def validate_message(self, request: Any, _context: Any) -> Any:
        """Check a message by a schema that exists, or by a definition."""
        schema = self.find(request.name) if request.name else request.schema
        _parsed(schema)
        if not _fits(schema, request.message, request.encoding):
            kind = "JSON" if request.encoding == Encoding.JSON else "binary"
            raise invalid(f"Could not parse {kind} Avro message")
        return types.ValidateMessageResponse.pb()()

    def _added(self, schema: Any) -> Any:
        _parsed(schema)
        schema.revision_id = secrets.token_hex(4)
        schema.revision_create_time.CopyFrom(self._timestamp())
        self.load(schema)
        return schema

    def _between(self, settings: Any) -> list[Any]:
        """Return the revisions from the first to the last one that a topic accepts."""
        revisions = self.revisions[settings.schema]
        ids = [each.revision_id for each in revisions]
        first, last = settings.first_revision_id, settings.last_revision_id
        return revisions[
            ids.index(first) if first in ids else 0 : ids.index(last) + 1 if last in ids else None
        ]


_avro = lru_cache(maxsize=64)(AvroSchema)


def _parsed(schema: Any) -> AvroSchema:
    if schema.type_ == Schema.Type.PROTOCOL_BUFFER:
        raise not_offered("Pub/Sub", "schemas in Protocol Buffers")
    if schema.type_ != Schema.Type.AVRO:
        raise invalid("Invalid schema type")
    try:
        return _avro(schema.definition)
    except AvroError as error:
        raise invalid("Could not parse schema definition") from error


def _newest(revisions: list[Any], message: bytes, encoding: int) -> Any:
    """Return the newest of the revisions that a message fits, or refuse the message."""
    for each in reversed(revisions):
        if _fits(each, message, encoding):
            return each
    raise invalid("Could not parse message")


def _fits(schema: Any, message: bytes, encoding: int) -> bool:
    parsed = _parsed(schema)
    try:
        if encoding == Encoding.JSON:
            parsed.check_json(message)
        else:
            parsed.check_binary(message)
    except AvroError:
        return False
    return True


def _view(schema: Any, view: int) -> Any:
    """Return a schema without its definition in the basic view."""
    if view != SchemaView.BASIC:
        return schema
    basic = _Schema()
    basic.CopyFrom(schema)
    basic.ClearField("definition")
    return basic
