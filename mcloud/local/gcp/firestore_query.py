"""Structured queries, from a request to the ordered documents, and aggregations over them."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import grpc

from mcloud.local.gcp import firestore_filters as filters
from mcloud.local.gcp import firestore_values as values
from mcloud.local.gcp.firestore_documents import Collection, Documents, is_below
from mcloud.local.gcp.firestore_names import (
    DOCUMENT_NAME,
    FieldPath,
    collection_id,
    field_path,
    invalid,
)
from mcloud.local.gcp.firestore_nearest import Nearest, parse_nearest
from mcloud.local.gcp.firestore_protos import Document, DocumentMessage, StructuredQuery, Value
from mcloud.local.gcp.firestore_values import Key
from mcloud.local.gcp.rpc import Refusal

_LOWEST: Key = (-1,)
_HIGHEST: Key = (99,)


@dataclass(frozen=True)
class SortOrder:
    """A field by which results are ordered."""

    path: FieldPath
    descending: bool


@dataclass(frozen=True)
class QueryCursor:
    """A position among the results: a prefix of their keys, and whether it lies before or after
    equal keys.
    """

    keys: tuple[Key, ...]
    before: bool


@dataclass(frozen=True)
class Query:
    """A query with all implied parts added. ``parent`` is "" for the database's root."""

    parent: str
    collection_id: str
    descendants: bool
    where: filters.Filter
    orders: tuple[SortOrder, ...]
    start: QueryCursor | None
    end: QueryCursor | None
    offset: int
    limit: int | None
    mask: tuple[FieldPath, ...] | None
    nearest: Nearest | None = None

    def covers(self, collection: str) -> bool:
        """Return whether the query includes documents of the collection with that path."""
        return is_below(collection, self.parent, self.collection_id, self.descendants)


def parse_query(parent: str, message: Any, aggregated: frozenset[FieldPath] = frozenset()) -> Query:
    """Parse a StructuredQuery below a parent path, or raise INVALID_ARGUMENT.

    ``aggregated`` are the fields of which sums or averages are computed.
    """
    if len(message.from_) > 1:
        raise invalid("StructuredQuery.from cannot have more than one collection selector.")
    if message.offset < 0:
        raise invalid("offset is negative")
    if message.HasField("limit") and message.limit.value < 0:
        raise invalid("limit is negative")
    # Without a selector, the query includes everything below the parent.
    source = message.from_[0] if message.from_ else None
    descendants = source is None or source.all_descendants
    collection = source.collection_id if source is not None else ""
    if collection or not descendants:
        collection_id(collection)

    where = filters.parse_filter(message.where)
    explicit = [_parse_order(order) for order in message.order_by]
    _check_orders(explicit)
    orders = _with_implied(explicit, where, aggregated)
    _check_scan(collection, where, orders)
    return Query(
        parent=parent,
        collection_id=collection,
        descendants=descendants,
        where=where,
        orders=orders,
        start=_parse_cursor(message.start_at, explicit) if message.HasField("start_at") else None,
        end=_parse_cursor(message.end_at, explicit) if message.HasField("end_at") else None,
        offset=message.offset,
        limit=message.limit.value if message.HasField("limit") else None,
        mask=(
            tuple(field_path(field.field_path) for field in message.select.fields)
            if message.HasField("select")
            else None
        ),
        nearest=parse_nearest(message),
    )


def parse_aggregation(parent: str, message: Any) -> Query:
    """Return the query of the documents of a StructuredAggregationQuery.

    As on the real service, it is also ordered by the fields that are summed or averaged. A limit
    therefore keeps the documents with the smallest values, and a count beside a sum counts only
    documents that have the field.
    """
    fields = frozenset(
        field_path(operation.field.field_path)
        for aggregation in message.aggregations
        for operation in (aggregation.sum, aggregation.avg)
        if operation.HasField("field")
    )
    if DOCUMENT_NAME in fields:
        raise invalid("Aggregations are not supported for the property: __name__")
    return parse_query(parent, message.structured_query, fields)


def run_query(documents: Documents, query: Query) -> list[DocumentMessage]:
    """Return the matching documents in order, with all fields (``mask`` is not applied)."""
    collections = documents.below(query.parent, query.collection_id, query.descendants)
    if len(collections) == 1 and _index_gives_order(query):
        matches = _matches(collections[0], query)
    else:
        found = [match for collection in collections for match in _matches(collection, query)]
        # Sorting is stable, so the last order is applied first.
        for order in reversed(query.orders):
            found.sort(key=_sort_key(order), reverse=order.descending)
        matches = iter(found)
    if query.nearest is not None:
        return query.nearest.select(list(matches))
    end = None if query.limit is None else query.offset + query.limit
    return list(islice(matches, query.offset, end))


def project(document: DocumentMessage, mask: tuple[FieldPath, ...] | None) -> DocumentMessage:
    """Return the document with only the fields of the mask, or the document itself without a
    mask.
    """
    if mask is None:
        return document
    part = Document(
        name=document.name,
        create_time=document.create_time,
        update_time=document.update_time,
    )
    for path in mask:
        value = None if path == DOCUMENT_NAME else values.value_at(document.fields, path)
        if value is not None:
            values.set_at(part.fields, path, value)
    return part


def aggregate(found: list[DocumentMessage], aggregations: Any) -> dict[str, Any]:
    """Return the values of StructuredAggregationQuery.aggregations over a query's documents, by
    alias.
    """
    if not aggregations:
        raise invalid("Aggregations can not be empty.")
    results: dict[str, Any] = {}
    for number, aggregation in enumerate(aggregations, 1):
        alias = aggregation.alias or f"field_{number}"
        if alias in results:
            raise invalid(f"Aggregation aliases contain duplicate alias: {alias}.")
        results[alias] = _aggregate_one(found, aggregation)
    return results


def _parse_order(message: Any) -> SortOrder:
    descending = message.direction == StructuredQuery.Direction.DESCENDING
    return SortOrder(field_path(message.field.field_path), descending)


def _check_orders(orders: list[SortOrder]) -> None:
    paths = [order.path for order in orders]
    for path in paths:
        if paths.count(path) > 1:
            raise invalid(f"order by clause cannot contain duplicate fields {'.'.join(path)}")
    if DOCUMENT_NAME in paths[:-1]:
        raise invalid("order by clause cannot contain more fields after the key")


def _check_scan(collection: str, where: filters.Filter, orders: tuple[SortOrder, ...]) -> None:
    """Refuse queries that neither the real service without an index nor Google's emulator can
    scan.
    """
    fields = {order.path for order in orders}
    fields.update(condition.path for condition in filters.conditions(where))
    if fields == {DOCUMENT_NAME} and orders[0].descending:
        raise Refusal(
            grpc.StatusCode.FAILED_PRECONDITION, "Firestore does not support descending key scans"
        )
    if fields != {DOCUMENT_NAME} and not collection:
        raise invalid("A query over all collections can filter and order by __name__ only.")


def _with_implied(
    explicit: list[SortOrder], where: filters.Filter, aggregated: frozenset[FieldPath]
) -> tuple[SortOrder, ...]:
    """Return the orders, with those that the service adds: google/firestore/v1/query.proto,
    order_by.

    Fields of aggregations come last, in the order of their names, as in Google's emulator.
    """
    paths = [order.path for order in explicit]
    implied = [path for path in filters.inequality_paths(where) if path not in paths]
    rest = sorted(aggregated.difference(paths, implied))
    if rest and DOCUMENT_NAME in (*paths, *implied):
        raise invalid(
            f"This query requires an index that has fields {['.'.join(path) for path in rest]} "
            "after __name__ and Firestore does not currently support such an index."
        )
    if DOCUMENT_NAME in paths:
        return tuple(explicit)
    descending = explicit[-1].descending if explicit else False
    if DOCUMENT_NAME in implied:
        implied.remove(DOCUMENT_NAME)
    return (*explicit, *(SortOrder(path, descending) for path in [*implied, *rest, DOCUMENT_NAME]))


def _parse_cursor(message: Any, orders: list[SortOrder]) -> QueryCursor:
    if len(message.values) > len(orders):
        raise invalid("Cursor has too many values.")
    keys = tuple(values.sort_key(value) for value in message.values)
    for key, order in zip(keys, orders, strict=False):
        if order.path == DOCUMENT_NAME and not values.is_name_key(key):
            raise invalid("A cursor's value for __name__ must be a reference.")
    return QueryCursor(keys, message.before)


def _index_gives_order(query: Query) -> bool:
    """Return whether the index of one collection already has the query's order."""
    *fields, name = query.orders
    return not fields or (len(fields) == 1 and fields[0].descending == name.descending)


def _matches(collection: Collection, query: Query) -> Iterator[DocumentMessage]:
    """Yield the collection's matching documents, by the first order and then by id."""
    for document in _candidates(collection, query):
        if query.where.holds(document) and _within(document, query):
            yield document


def _candidates(collection: Collection, query: Query) -> Iterator[DocumentMessage]:
    first = query.orders[0]
    low, high = _bounds(query)
    if first.path != DOCUMENT_NAME:
        return collection.by_field(first.path, low, high, first.descending)
    if (low, high) == (_LOWEST, _HIGHEST):
        for condition in filters.required(query.where):
            if condition.operator == "EQUAL":
                key = condition.operands[0]
                return collection.by_field(condition.path, key, key, first.descending)
    return collection.by_name(low, high, first.descending)


def _bounds(query: Query) -> tuple[Key, Key]:
    """Return a range of keys of the first order that includes all matches."""
    first = query.orders[0]
    low, high = _LOWEST, _HIGHEST
    for condition in filters.required(query.where):
        bounds = condition.bounds() if condition.path == first.path else None
        if bounds is not None:
            low, high = max(low, bounds[0]), min(high, bounds[1])
    lower, upper = (query.end, query.start) if first.descending else (query.start, query.end)
    if lower is not None and lower.keys:
        low = max(low, lower.keys[0])
    if upper is not None and upper.keys:
        high = min(high, upper.keys[0])
    return low, high


def _sort_key(order: SortOrder) -> Callable[[DocumentMessage], Any]:
    return lambda document: values.key_at(document, order.path)


def _within(document: DocumentMessage, query: Query) -> bool:
    """Return whether the document has every ordered field and lies between the cursors."""
    keys = []
    # The candidates come from an index, so they have a name and the field of the first order.
    if query.start is None and query.end is None and len(query.orders) <= 2:
        return True
    for order in query.orders:
        key = values.key_at(document, order.path)
        if key is None:
            return False
        keys.append(key)
    if query.start is not None and _side(keys, query.start, query.orders) < 0:
        return False
    return query.end is None or _side(keys, query.end, query.orders) < 0


def _side(keys: list[Key], cursor: QueryCursor, orders: tuple[SortOrder, ...]) -> int:
    """Return -1 if the keys are before the position, and 1 if they are after it."""
    for key, mark, order in zip(keys, cursor.keys, orders, strict=False):
        if key != mark:
            return 1 if (key > mark) != order.descending else -1
    return 1 if cursor.before else -1


def _aggregate_one(found: list[DocumentMessage], aggregation: Any) -> Any:
    kind = aggregation.WhichOneof("operator")
    if kind == "count":
        count = len(found)
        if aggregation.count.HasField("up_to"):
            if aggregation.count.up_to.value <= 0:
                raise invalid("up_to must be greater than zero.")
            count = min(count, aggregation.count.up_to.value)
        return Value(integer_value=count)
    if kind == "sum":
        return _sum(_numbers(found, aggregation.sum.field.field_path))
    if kind == "avg":
        numbers = _numbers(found, aggregation.avg.field.field_path)
        if not numbers:
            return Value(null_value=0)
        return Value(double_value=_float_sum(numbers) / len(numbers))
    raise invalid("An aggregation names no operator.")


def _numbers(found: list[DocumentMessage], text: str) -> list[int | float]:
    path = field_path(text)
    numbers: list[int | float] = []
    for document in found:
        value = values.value_at(document.fields, path)
        kind = None if value is None else value.WhichOneof("value_type")
        if kind in ("integer_value", "double_value"):
            numbers.append(getattr(value, kind))
    return numbers


def _sum(numbers: list[int | float]) -> Any:
    if all(isinstance(number, int) for number in numbers):
        total = sum(numbers)
        if -(2**63) <= total < 2**63:
            return Value(integer_value=int(total))
    return Value(double_value=_float_sum(numbers))


def _float_sum(numbers: list[int | float]) -> float:
    floats = [float(number) for number in numbers]
    # fsum refuses cases that IEEE 754 defines: infinities that cancel, and sums that overflow.
    return math.fsum(floats) if math.isfinite(sum(map(abs, floats))) else sum(floats)
