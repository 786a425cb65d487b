"""The control collection in Firestore: documents ``heartbeat_BTCUSDT``, ``record``, and
``lag_aws gcp all`` and others of the form ``KIND_KEY``."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any
from urllib.parse import quote, unquote

from mcloud import errors
from mcloud.clouds.gcp.client import TIMEOUT, retry, translated
from mcloud.clouds.optimistic import attempts
from mcloud.clouds.ports import HEARTBEAT, RECORD, ControlRecord, Heartbeat, Lag
from mcloud.documents import Damaged, decode, parse
from mcloud.errors import Contention


class FirestoreControl:
    def __init__(self, client: Any, collection: str) -> None:
        self._client = client
        self._collection = client.collection(collection)
        self._what = f"Firestore {collection}"

    def beat(self, beats: Iterable[Heartbeat]) -> None:
        from google.cloud.firestore_v1 import Increment, Maximum

        batch = self._client.batch()
        for beat in beats:
            batch.set(
                self._collection.document(f"heartbeat_{beat.symbol}"),
                {
                    "kind": "heartbeat",
                    "symbol": beat.symbol,
                    "last_trade_time": Maximum(beat.last_trade_time),
                    "trades": Increment(beat.trades),
                    "messages": Increment(beat.messages),
                    "at": beat.at,
                },
                merge=True,
            )
        with translated(self._what):
            batch.commit(timeout=TIMEOUT, retry=retry())

    def heartbeats(self) -> list[Heartbeat | Damaged]:
        return [
            decode(Heartbeat, fields, HEARTBEAT + name.removeprefix("heartbeat_"))
            for name, fields in self._all("heartbeat")
        ]

    def note_lag(self, lag: Lag) -> None:
        self.keep("lag", lag.key, asdict(lag))

    def lags(self) -> list[Lag | Damaged]:
        return [decode(Lag, lag, f"the lag {key}") for key, lag in self.kept("lag").items()]

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

    def replace(
        self, kind: str, key: str, document: Mapping[str, Any], before: Mapping[str, Any]
    ) -> bool:
        from google.api_core.exceptions import Aborted, FailedPrecondition, NotFound

        place = self._document(kind, key)
        with translated(self._what):
            snapshot = place.get(timeout=TIMEOUT, retry=retry())
            if not snapshot.exists or _document(kind, key, snapshot.to_dict()) != before:
                return False
            option = self._client.write_option(last_update_time=snapshot.update_time)
            try:
                place.update(
                    _fields(kind, key, document), option=option, timeout=TIMEOUT, retry=retry()
                )
            except (Aborted, FailedPrecondition, NotFound):
                return False
        return True

    def get(self, kind: str, key: str) -> Any:
        with translated(self._what):
            snapshot = self._document(kind, key).get(timeout=TIMEOUT, retry=retry())
        return _document(kind, key, snapshot.to_dict()) if snapshot.exists else None

    def kept(self, kind: str, after: str = "", limit: int | None = None) -> dict[str, Any]:
        found = {
            unquote(name.removeprefix(f"{kind}_")): fields
            for name, fields in self._all(kind, after, limit)
        }
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

    def _document(self, kind: str, key: str) -> Any:
        return self._collection.document(f"{kind}_{quote(key, safe=' :')}")

    def _all(
        self, kind: str, after: str = "", limit: int | None = None
    ) -> list[tuple[str, dict[str, Any]]]:
        """Return the names of documents, and their fields."""
        from google.cloud.firestore_v1.base_query import FieldFilter

        # Within a kind, the order of names is that of keys.
        query = self._collection.where(filter=FieldFilter("kind", "==", kind))
        if after:
            query = query.where(
                filter=FieldFilter("__name__", ">", self._document(kind, after))
            ).order_by("__name__")
        if limit is not None:
            query = query.limit(limit)
        with translated(self._what):
            found = query.stream(timeout=TIMEOUT, retry=retry())
            return [(snapshot.id, snapshot.to_dict()) for snapshot in found]

    def _try_record(self, record: ControlRecord) -> bool | None:
        """Write the record if its epoch is above the stored one; otherwise return False.

        Return None if another writer was first. The caller then has to compare the epochs again.
        """
        from google.api_core.exceptions import (
            Aborted,
            AlreadyExists,
            FailedPrecondition,
            NotFound,
        )

        document = self._collection.document("record")
        with translated(self._what):
            snapshot = document.get(timeout=TIMEOUT, retry=retry())
            stored = _record(snapshot)
            if isinstance(stored, Damaged):
                raise errors.DamagedData(f"{self._what}: {stored}")
            if stored is not None and stored.epoch >= record.epoch:
                return False
            fields = {"kind": "control", **asdict(record)}
            try:
                if stored is None:
                    document.create(fields, timeout=TIMEOUT, retry=retry())
                else:
                    option = self._client.write_option(last_update_time=snapshot.update_time)
                    document.update(fields, option=option, timeout=TIMEOUT, retry=retry())
            except (Aborted, AlreadyExists, FailedPrecondition, NotFound):
                return None
        return True


def _record(snapshot: Any) -> ControlRecord | Damaged | None:
    if not snapshot.exists:
        return None
    return decode(ControlRecord, snapshot.to_dict(), RECORD)


def _document(kind: str, key: str, fields: dict[str, Any]) -> Any:
    where = f"the {kind} {key}"
    if not isinstance(fields.get("document"), str):
        return Damaged("document is not a text", where, found=fields)
    return parse(fields["document"], where)


def _fields(kind: str, key: str, document: Mapping[str, Any]) -> dict[str, str]:
    return {"kind": kind, "key": key, "document": json.dumps(document)}
