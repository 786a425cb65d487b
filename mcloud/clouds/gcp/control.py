"""The control collection in Firestore: the document ``record``, and others of the form
``KIND_KEY``, such as ``lag_aws gcp all``."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any
from urllib.parse import quote, unquote

from mcloud import errors
from mcloud.clouds import heartbeats
from mcloud.clouds.control import EARLIER_HEARTBEAT, VersionedControl
from mcloud.clouds.gcp import conditional
from mcloud.clouds.gcp.client import TIMEOUT, retry, translated
from mcloud.clouds.optimistic import attempts
from mcloud.clouds.ports import HEARTBEAT, RECORD, ControlRecord, Heartbeat
from mcloud.documents import Damaged, decode, parse
from mcloud.errors import Contention


class FirestoreControl(VersionedControl[Any]):
    def __init__(self, client: Any, collection: str) -> None:
        super().__init__()
        self._client = client
        self._collection = client.collection(collection)
        self._what = f"Firestore {collection}"

    def heartbeats(self) -> list[Heartbeat | Damaged]:
        from google.cloud.firestore_v1.base_query import FieldFilter

        # One query asks for both kinds, because one that finds nothing is billed as a read.
        kinds = [EARLIER_HEARTBEAT, heartbeats.HEARTBEATS.name]
        earlier: list[Heartbeat | Damaged] = []
        documents: dict[str, Any] = {}
        for name, fields in self._found(
            self._collection.where(filter=FieldFilter("kind", "in", kinds))
        ):
            key = _key(fields["kind"], name)
            if fields["kind"] == EARLIER_HEARTBEAT:
                earlier.append(decode(Heartbeat, fields, HEARTBEAT + key))
            else:
                documents[key] = _document(fields["kind"], key, fields)
        return heartbeats.read(documents, earlier)

    def keep(self, kind: str, key: str, document: Mapping[str, Any]) -> None:
        with translated(self._what):
            self._document(kind, key).set(
                _fields(kind, key, document), timeout=TIMEOUT, retry=retry()
            )

    def add(self, kind: str, key: str, document: Mapping[str, Any]) -> bool:
        from google.api_core.exceptions import AlreadyExists

        with translated(self._what):
            try:
                self._document(kind, key).create(
                    _fields(kind, key, document), timeout=TIMEOUT, retry=retry()
                )
            except AlreadyExists:
                return False
        return True

    def kept(self, kind: str, after: str = "", limit: int | None = None) -> dict[str, Any]:
        from google.cloud.firestore_v1.base_query import FieldFilter

        # Within a kind, the order of names is that of keys.
        query = self._collection.where(filter=FieldFilter("kind", "==", kind))
        if after:
            query = query.where(
                filter=FieldFilter("__name__", ">", self._document(kind, after))
            ).order_by("__name__")
        if limit is not None:
            query = query.limit(limit)
        found = {_key(kind, name): fields for name, fields in self._found(query)}
        return {key: _document(kind, key, fields) for key, fields in found.items()}

    def forget(self, kind: str, key: str) -> None:
        with translated(self._what):
            self._document(kind, key).delete(timeout=TIMEOUT, retry=retry())

    def record(self) -> ControlRecord | Damaged | None:
        with translated(self._what):
            snapshot = self._collection.document("record").get(timeout=TIMEOUT, retry=retry())
        return _record(snapshot)

    def write_record(self, record: ControlRecord) -> bool:
        for _ in attempts():
            written = self._try_record(record)
            if written is not None:
                return written
        raise Contention(
            f"{self._what}: another writer changed the control record during every attempt"
        )

    def forget_record(self) -> None:
        with translated(self._what):
            self._collection.document("record").delete(timeout=TIMEOUT, retry=retry())

    def _read(self, kind: str, key: str) -> tuple[Any, Any]:
        """Return a document and its update time; twice None if there is none."""
        with translated(self._what):
            snapshot = self._document(kind, key).get(timeout=TIMEOUT, retry=retry())
        if not snapshot.exists:
            return None, None
        return _document(kind, key, snapshot.to_dict()), snapshot.update_time

    def _write(self, kind: str, key: str, document: Mapping[str, Any], update_time: Any) -> Any:
        """Write a document in place of the one with this update time, or of none.

        Return the new update time, or None if another writer was first.
        """
        with translated(self._what):
            return conditional.write(
                self._client,
                self._document(kind, key),
                _fields(kind, key, document),
                update_time,
            )

    def _document(self, kind: str, key: str) -> Any:
        return self._collection.document(f"{kind}_{quote(key, safe=' :')}")

    def _found(self, query: Any) -> list[tuple[str, dict[str, Any]]]:
        """Return the names of the documents that a query finds, and their fields."""
        with translated(self._what):
            found = query.stream(timeout=TIMEOUT, retry=retry())
            return [(snapshot.id, snapshot.to_dict()) for snapshot in found]

    def _try_record(self, record: ControlRecord) -> bool | None:
        """Write the record if its epoch is above the stored one; otherwise return False.

        Return None if another writer was first. The caller then has to compare the epochs again.
        """
        document = self._collection.document("record")
        with translated(self._what):
            snapshot = document.get(timeout=TIMEOUT, retry=retry())
            stored = _record(snapshot)
            if isinstance(stored, Damaged):
                raise errors.DamagedData(f"{self._what}: {stored}")
            if stored is not None and stored.epoch >= record.epoch:
                return False
            fields = {"kind": "control", **asdict(record)}
            update_time = snapshot.update_time if snapshot.exists else None
            written = conditional.write(self._client, document, fields, update_time)
        return None if written is None else True


def _record(snapshot: Any) -> ControlRecord | Damaged | None:
    if not snapshot.exists:
        return None
    return decode(ControlRecord, snapshot.to_dict(), RECORD)


def _key(kind: str, name: str) -> str:
    """Return the key of a document with this name."""
    return unquote(name.removeprefix(f"{kind}_"))


def _document(kind: str, key: str, fields: dict[str, Any]) -> Any:
    where = f"the {kind} {key}"
    if not isinstance(fields.get("document"), str):
        return Damaged("document is not a text", where, found=fields)
    return parse(fields["document"], where)


def _fields(kind: str, key: str, document: Mapping[str, Any]) -> dict[str, str]:
    return {"kind": kind, "key": key, "document": json.dumps(document)}
