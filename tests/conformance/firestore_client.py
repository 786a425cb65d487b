"""Helpers of the Firestore cases. Each test has a client with its own project."""

import uuid
from typing import Any

import pytest
from google.cloud import firestore


def connect(host: str) -> firestore.Client:
    """Return a client of the Firestore at "host:port", in a new project."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRESTORE_EMULATOR_HOST", host)
        client = firestore.Client(project=f"test-{uuid.uuid4().hex[:12]}")
    # Google's emulator accepts batch writes from an administrator only. The client passes the
    # header for this as a channel option, where gRPC ignores it.
    client._rpc_metadata_internal = [*client._rpc_metadata, ("authorization", "Bearer owner")]
    return client


def fill(rows: firestore.CollectionReference, documents: dict[str, dict[str, Any]]) -> None:
    """Set documents by id, in one commit."""
    batch = rows._client.batch()
    for document_id, fields in documents.items():
        batch.set(rows.document(document_id), fields)
    batch.commit()


def ids(query: Any) -> list[str]:
    """Return the ids of the documents that a query finds, in order."""
    return [document.id for document in query.stream()]
