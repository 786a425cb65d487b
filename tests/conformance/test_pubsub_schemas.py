"""Schemas, and topics whose messages have to conform to one."""

import json
from collections.abc import Iterator
from uuid import uuid4

import grpc
import pytest
from google.api_core import exceptions
from google.protobuf.field_mask_pb2 import FieldMask
from google.pubsub_v1 import SchemaServiceClient
from google.pubsub_v1.services.schema_service.transports.grpc import SchemaServiceGrpcTransport
from google.pubsub_v1.types import Encoding, Schema, SchemaView

from .pubsub_client import PROJECT, Cloud

PARENT = f"projects/{PROJECT}"
FIELDS = [{"name": "symbol", "type": "string"}, {"name": "count", "type": ["null", "long"]}]
AVRO = json.dumps({"type": "record", "name": "Trade", "fields": FIELDS})
GOOD = b'{"symbol": "BTCUSDT", "count": {"long": 3}}'
NULL = b'{"symbol": "BTCUSDT", "count": null}'
BINARY = b"\x0eBTCUSDT\x02\x06"
BAD = (b"{", b'{"symbol": "BTCUSDT"}', b'{"symbol": 1, "count": null}', b"[]")


@pytest.fixture
def schemas(pubsub_host: str) -> Iterator[SchemaServiceClient]:
    with grpc.insecure_channel(pubsub_host) as channel:
        yield SchemaServiceClient(transport=SchemaServiceGrpcTransport(channel=channel))


def avro(definition: str = AVRO) -> Schema:
    return Schema(type_=Schema.Type.AVRO, definition=definition)


def create(schemas: SchemaServiceClient) -> str:
    schema = schemas.create_schema(parent=PARENT, schema=avro(), schema_id=f"schema-{uuid4().hex}")
    return schema.name


def validate(schemas: SchemaServiceClient, message: bytes) -> None:
    """Check a message in JSON against the definition."""
    schemas.validate_message(
        request={
            "parent": PARENT,
            "schema": avro(),
            "message": message,
            "encoding": Encoding.JSON,
        }
    )


def topic_with(cloud: Cloud, schema: str, encoding: Encoding) -> str:
    name = f"{PARENT}/topics/t-{uuid4().hex}"
    settings = {"schema": schema, "encoding": encoding}
    cloud.publisher.create_topic(request={"name": name, "schema_settings": settings})
    return name


class TestSchemas:
    def test_they_are_found_and_deleted(self, cloud: Cloud, schemas: SchemaServiceClient) -> None:
        name = create(schemas)
        found = schemas.get_schema(name=name)
        assert (found.name, found.definition, found.type_) == (name, AVRO, Schema.Type.AVRO)
        basic = schemas.get_schema(request={"name": name, "view": SchemaView.BASIC})
        assert (basic.definition, basic.revision_id) == ("", found.revision_id)
        assert name in {each.name for each in schemas.list_schemas(parent=PARENT)}
        with pytest.raises(exceptions.AlreadyExists):
            schemas.create_schema(parent=PARENT, schema=avro(), schema_id=name.rpartition("/")[2])
        schemas.delete_schema(name=name)
        for call in (schemas.get_schema, schemas.delete_schema):
            with pytest.raises(exceptions.NotFound):
                call(name=name)

    def test_revisions(self, cloud: Cloud, schemas: SchemaServiceClient) -> None:
        name = create(schemas)
        first = schemas.get_schema(name=name)
        changed = avro(AVRO.replace("count", "number"))
        changed.name = name
        second = schemas.commit_schema(name=name, schema=changed)
        assert second.revision_id != first.revision_id
        assert schemas.get_schema(name=name).revision_id == second.revision_id
        assert schemas.get_schema(name=f"{name}@{first.revision_id}").definition == AVRO
        listed = [each.revision_id for each in schemas.list_schema_revisions(name=name)]
        assert sorted(listed) == sorted([first.revision_id, second.revision_id])
        third = schemas.rollback_schema(name=name, revision_id=first.revision_id)
        assert third.definition == AVRO
        assert third.revision_id not in listed
        schemas.delete_schema_revision(name=f"{name}@{second.revision_id}")
        with pytest.raises(exceptions.NotFound):
            schemas.get_schema(name=f"{name}@{second.revision_id}")

    @pytest.mark.parametrize("definition", ["", "{", '{"type": "trade"}', '["null", "trade"]'])
    def test_what_is_no_schema_is_refused(
        self, cloud: Cloud, schemas: SchemaServiceClient, definition: str
    ) -> None:
        with pytest.raises(exceptions.InvalidArgument):
            schemas.validate_schema(parent=PARENT, schema=avro(definition))

    def test_protocol_buffers_are_not_offered(
        self, cloud: Cloud, schemas: SchemaServiceClient
    ) -> None:
        schema = Schema(
            type_=Schema.Type.PROTOCOL_BUFFER, definition='syntax = "proto3"; message A {}'
        )
        with pytest.raises(exceptions.MethodNotImplemented):
            schemas.validate_schema(parent=PARENT, schema=schema)


class TestMessages:
    @pytest.mark.parametrize("message", [GOOD, NULL])
    def test_a_message_conforms(
        self, cloud: Cloud, schemas: SchemaServiceClient, message: bytes
    ) -> None:
        request = {
            "parent": PARENT,
            "schema": avro(),
            "message": message,
            "encoding": Encoding.JSON,
        }
        schemas.validate_message(request=request)

    @pytest.mark.parametrize("message", BAD)
    def test_a_message_does_not_conform(
        self, cloud: Cloud, schemas: SchemaServiceClient, message: bytes
    ) -> None:
        request = {
            "parent": PARENT,
            "schema": avro(),
            "message": message,
            "encoding": Encoding.JSON,
        }
        with pytest.raises(exceptions.InvalidArgument):
            schemas.validate_message(request=request)

    @pytest.mark.parametrize(
        ("encoding", "good", "bad"),
        [(Encoding.JSON, GOOD, BAD[1]), (Encoding.BINARY, BINARY, BINARY[:-1])],
    )
    def test_a_topic_refuses_what_does_not_conform(
        self,
        cloud: Cloud,
        schemas: SchemaServiceClient,
        encoding: Encoding,
        good: bytes,
        bad: bytes,
    ) -> None:
        schema = create(schemas)
        topic = topic_with(cloud, schema, encoding)
        subscription = cloud.subscription(topic)
        cloud.publish(topic, {"data": good})
        with pytest.raises(exceptions.InvalidArgument):
            cloud.publish(topic, {"data": bad})
        (received,) = cloud.drain(subscription, 1)
        assert received.message.data == good
        assert dict(received.message.attributes) == {
            "googclient_schemaencoding": encoding.name,
            "googclient_schemaname": schema,
            "googclient_schemarevisionid": schemas.get_schema(name=schema).revision_id,
        }
        schemas.delete_schema(name=schema)
        found = cloud.publisher.get_topic(topic=topic)
        assert found.schema_settings.schema == "_deleted-schema_"
        with pytest.raises(exceptions.NotFound):
            cloud.publish(topic, {"data": good})

    def test_the_schema_of_a_topic_changes(
        self, cloud: Cloud, schemas: SchemaServiceClient
    ) -> None:
        topic = topic_with(cloud, create(schemas), Encoding.JSON)
        other = create(schemas)
        cloud.publisher.update_topic(
            topic={
                "name": topic,
                "schema_settings": {"schema": other, "encoding": Encoding.BINARY},
            },
            update_mask=FieldMask(paths=["schema_settings"]),
        )
        assert cloud.publisher.get_topic(topic=topic).schema_settings.schema == other
        cloud.publish(topic, {"data": BINARY})

    def test_a_schema_that_does_not_exist(self, cloud: Cloud) -> None:
        with pytest.raises(exceptions.NotFound):
            topic_with(cloud, f"{PARENT}/schemas/missing", Encoding.JSON)
