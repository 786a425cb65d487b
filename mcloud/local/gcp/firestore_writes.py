"""Writes: preconditions, update masks and field transforms."""

from typing import Any

import grpc

from mcloud.local.gcp import firestore_values as values
from mcloud.local.gcp.firestore_documents import Documents
from mcloud.local.gcp.firestore_history import DocumentChange
from mcloud.local.gcp.firestore_names import document_path, field_path, invalid
from mcloud.local.gcp.firestore_protos import (
    Document,
    DocumentMessage,
    Value,
    ValueMessage,
    WriteResult,
    microseconds,
    timestamp,
)
from mcloud.local.gcp.rpc import Refusal

MAX_TRANSFORMS = 500

_MIN_INTEGER, _MAX_INTEGER = -(2**63), 2**63 - 1


class WriteBatch:
    """A batch of writes that take effect together.

    Each ``apply`` sees the earlier ones. The database sees none until ``install``. ``now`` is the
    commit time in microseconds since the epoch.
    """

    def __init__(self, documents: Documents, database: str, now: int) -> None:
        self._documents = documents
        self._database = database
        self._now = now
        self._staged: dict[tuple[str, str], DocumentMessage | None] = {}
        self._transforms: dict[tuple[str, str], int] = {}

    def apply(self, write: Any) -> Any:
        """Return the WriteResult of one write, or raise the error of the real service."""
        operation = write.WhichOneof("operation")
        name = written_name(write)
        place = self._place(name)
        current = self._current(place)
        if write.HasField("current_document"):
            _check_precondition(write.current_document, current, name)
        if operation == "delete":
            self._staged[place] = None
            return WriteResult()
        if operation == "update":
            new, transforms = self._updated(write, current), write.update_transforms
        else:
            new, transforms = _copy(current, name), write.transform.field_transforms
        if transforms:
            self._count_transforms(place, len(transforms))
        result = WriteResult()
        for transform in transforms:
            result.transform_results.append(_apply_transform(new, transform, self._now))
        values.check_size(new)
        new = self._versioned(new, current)
        self._staged[place] = new
        result.update_time.CopyFrom(new.update_time)
        return result

    def install(self) -> list[DocumentChange]:
        """Move the staged documents into the database, and return the changes."""
        changes = []
        for (collection, document_id), document in self._staged.items():
            before = self._documents.get(collection, document_id)
            if document is not before:
                self._documents.put(collection, document_id, document)
                changes.append(DocumentChange(self._now, collection, document_id, before))
        return changes

    def _place(self, name: str) -> tuple[str, str]:
        path = document_path(name)
        if path.database != self._database:
            raise invalid(f'Document "{name}" is not in database "{self._database}".')
        return path.collection, path.id

    def _current(self, place: tuple[str, str]) -> DocumentMessage | None:
        if place in self._staged:
            return self._staged[place]
        return self._documents.get(*place)

    def _count_transforms(self, place: tuple[str, str], count: int) -> None:
        count += self._transforms.get(place, 0)
        if count > MAX_TRANSFORMS:
            raise invalid(f"At most {MAX_TRANSFORMS} transforms are allowed for one document.")
        self._transforms[place] = count

    def _updated(self, write: Any, current: DocumentMessage | None) -> DocumentMessage:
        update = write.update
        if not write.HasField("update_mask"):
            new = Document()
            new.CopyFrom(update)
            values.settle(new.fields)
            return new
        values.settle(update.fields)
        new = _copy(current, update.name)
        for text in write.update_mask.field_paths:
            path = field_path(text)
            value = values.value_at(update.fields, path)
            if value is None:
                values.delete_at(new.fields, path)
            else:
                values.set_at(new.fields, path, value)
        return new

    def _versioned(self, new: DocumentMessage, current: DocumentMessage | None) -> DocumentMessage:
        if current is None:
            stamp = timestamp(self._now)
            new.create_time.CopyFrom(stamp)
            new.update_time.CopyFrom(stamp)
            return new
        new.create_time.CopyFrom(current.create_time)
        new.update_time.CopyFrom(current.update_time)
        # "If the write did not actually change the document, this will be the previous
        # update_time": google/firestore/v1/write.proto, WriteResult.
        if new == current:
            return current
        new.update_time.CopyFrom(timestamp(self._now))
        return new


def written_name(write: Any) -> str:
    """Return the name of the document of a write, or raise INVALID_ARGUMENT."""
    operation = write.WhichOneof("operation")
    if operation is None:
        raise invalid("empty write operation")
    if operation == "delete":
        return str(write.delete)
    return str(write.update.name if operation == "update" else write.transform.document)


def version(document: DocumentMessage | None) -> int:
    """Return a document's update time in microseconds since the epoch, or 0 if it does not
    exist.
    """
    return 0 if document is None else microseconds(document.update_time)


def _copy(current: DocumentMessage | None, name: str) -> DocumentMessage:
    new = Document(name=name)
    if current is not None:
        new.CopyFrom(current)
    return new


def _check_precondition(condition: Any, current: DocumentMessage | None, name: str) -> None:
    kind = condition.WhichOneof("condition_type")
    if kind == "exists":
        if condition.exists and current is None:
            raise Refusal(grpc.StatusCode.NOT_FOUND, f"No document to update: {name}")
        if not condition.exists and current is not None:
            raise Refusal(grpc.StatusCode.ALREADY_EXISTS, f"Document already exists: {name}")
    elif kind == "update_time":
        wanted, stored = microseconds(condition.update_time), version(current)
        if current is not None and wanted > stored:
            raise invalid(f"Invalid base version, it is greater than the stored version: {name}")
        if stored != wanted:
            raise Refusal(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"the stored version ({stored}) does not match the required base version "
                f"({wanted})",
            )


def _apply_transform(document: DocumentMessage, transform: Any, now: int) -> ValueMessage:
    """Transform one field, and return the value for transform_results."""
    path = field_path(transform.field_path)
    kind = transform.WhichOneof("transform_type")
    old = values.value_at(document.fields, path)
    if kind == "set_to_server_value":
        if transform.set_to_server_value != transform.REQUEST_TIME:
            raise invalid("Unknown server value.")
        # "With millisecond precision": google/firestore/v1/write.proto, ServerValue.
        new = result = Value(timestamp_value=timestamp(now // 1_000 * 1_000))
    elif kind == "increment":
        new = result = _increment(old, transform.increment)
    elif kind in ("maximum", "minimum"):
        new = result = _extreme(old, getattr(transform, kind), kind)
    elif kind in ("append_missing_elements", "remove_all_from_array"):
        new = _rebuild_array(old, getattr(transform, kind).values, kind)
        result = Value(null_value=0)
    else:
        raise invalid(f"A transform of {transform.field_path} names no operation.")
    values.set_at(document.fields, path, new)
    return result


def _increment(old: ValueMessage | None, by: ValueMessage) -> ValueMessage:
    _check_number(by)
    if old is None or not _is_number(old):
        return by
    if old.HasField("integer_value") and by.HasField("integer_value"):
        total = old.integer_value + by.integer_value
        return Value(integer_value=min(max(total, _MIN_INTEGER), _MAX_INTEGER))
    return Value(double_value=float(_number(old)) + float(_number(by)))


def _extreme(old: ValueMessage | None, operand: ValueMessage, kind: str) -> ValueMessage:
    _check_number(operand)
    if old is None or not _is_number(old):
        return operand
    # Of equal numbers of different types, the stored one is kept, and NaN always wins
    # (write.proto).
    stored, given = values.sort_key(old), values.sort_key(operand)
    if values.NAN in (stored, given):
        return old if stored == values.NAN else operand
    if stored == given or (stored > given) == (kind == "maximum"):
        return old
    return operand


def _rebuild_array(old: ValueMessage | None, given: Any, kind: str) -> ValueMessage:
    array = Value()
    array.array_value.SetInParent()
    if old is not None and old.HasField("array_value"):
        array.CopyFrom(old)
    elements = array.array_value.values
    if kind == "append_missing_elements":
        present = {values.sort_key(element) for element in elements}
        for element in given:
            key = values.sort_key(element)
            if key not in present:
                present.add(key)
                elements.append(element)
        return array
    removed = {values.sort_key(element) for element in given}
    kept = [element for element in elements if values.sort_key(element) not in removed]
    result = Value()
    result.array_value.SetInParent()
    result.array_value.values.extend(kept)
    return result


def _is_number(value: ValueMessage) -> bool:
    return bool(value.WhichOneof("value_type") in ("integer_value", "double_value"))


def _check_number(operand: ValueMessage) -> None:
    if not _is_number(operand):
        raise invalid("Input must be int64 or double.")


def _number(value: ValueMessage) -> int | float:
    number: int | float = getattr(value, value.WhichOneof("value_type"))
    return number
