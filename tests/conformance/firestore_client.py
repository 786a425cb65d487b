"""What the Firestore cases share: a client of its own project for each test, and a few words."""

import uuid
from typing import Any

import pytest
from google.cloud import firestore


def connect(host: str) -> firestore.Client:
    """A client of the Firestore at "host:port", in a project that nobody else uses."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRESTORE_EMULATOR_HOST", host)
        client = firestore.Client(project=f"test-{uuid.uuid4().hex[:12]}")
    # Google's emulator takes batch writes from an administrator only, which the client means to be
    # but does not say: it passes the header as a channel option, where gRPC ignores it.
    client._rpc_metadata_internal = [*client._rpc_metadata, ("authorization", "Bearer owner")]
    return client


def fill(rows: firestore.CollectionReference, documents: dict[str, dict[str, Any]]) -> None:
    """Set documents by id, in one commit."""
    batch = rows._client.batch()
    for document_id, fields in documents.items():
        batch.set(rows.document(document_id), fields)
    batch.commit()


def ids(query: Any) -> list[str]:
    """The ids of what a query finds, in its order."""
    return [document.id for document in query.stream()]
