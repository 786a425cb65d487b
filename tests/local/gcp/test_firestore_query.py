"""Queries over a changing collection equal filtering and sorting a dictionary."""

import functools
from typing import Any

import grpc
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import firestore
from google.cloud.firestore_v1.base_query import FieldFilter, Or
from hypothesis import given
from hypothesis import strategies as st

from mcloud.local.gcp.firestore_documents import Documents
from mcloud.local.gcp.firestore_protos import Document
from mcloud.local.gcp.firestore_query import parse_query, run_query
from mcloud.local.gcp.rpc import Refusal

from .test_firestore_values import oracle_order, value

ROOT = "projects/p/databases/(default)/documents"

client = firestore.Client(project="p", credentials=AnonymousCredentials())
rows = client.collection("rows")


def put(documents: Documents, path: str, fields: dict[str, Any] | None) -> None:
    """Store fields at a path, or remove the document there."""
    collection, _, document_id = path.rpartition("/")
    if fields is None:
        documents.put(collection, document_id, None)
        return
    document = Document(name=f"{ROOT}/{path}")
    for name, python in fields.items():
        document.fields[name].CopyFrom(value(python))
    documents.put(collection, document_id, document)


def run(documents: Documents, query: Any) -> list[str]:
    """Return the paths of the documents that a query of the real client finds."""
    found = run_query(documents, parse_query("", query._to_protobuf()._pb))
    return [document.name.removeprefix(f"{ROOT}/") for document in found]


numbers = st.integers(-3, 3) | st.sampled_from([0.5, -0.0, float("inf"), float("nan")])
cells = st.none() | st.booleans() | numbers | st.sampled_from(["", "a", "b"])
contents = st.dictionaries(st.sampled_from(["a", "b"]), cells)
changes = st.lists(st.tuples(st.integers(0, 79), st.none() | contents), max_size=6)
operators = st.sampled_from(["==", "<", "<=", ">", ">="])
plain_cells = st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, "", "a", "b"])
wheres = st.lists(st.tuples(st.sampled_from(["a", "b"]), operators, plain_cells), max_size=2)
orderings = st.lists(
    st.tuples(st.sampled_from(["a", "b"]), st.booleans()), max_size=2, unique_by=lambda o: o[0]
)
cursors = st.none() | st.tuples(st.booleans(), st.booleans(), cells)
requests = st.tuples(wheres, orderings, cursors, st.none() | st.integers(0, 9), st.integers(0, 3))


def client_query(wanted: Any) -> Any:
    """Return the query as the client builds it."""
    where, orders, cursor, limit, offset = wanted
    query: Any = rows
    for field, operator, operand in where:
        query = query.where(filter=FieldFilter(field, operator, operand))
    for field, descending in orders:
        query = query.order_by(field, direction="DESCENDING" if descending else "ASCENDING")
    if cursor is not None and orders:
        start, inclusive, cell = cursor
        method = {
            (True, True): "start_at",
            (True, False): "start_after",
            (False, True): "end_at",
            (False, False): "end_before",
        }[start, inclusive]
        query = getattr(query, method)([cell])
    if limit is not None:
        query = query.limit(limit)
    return query.offset(offset)


def oracle(table: dict[str, dict[str, Any]], wanted: Any) -> list[str]:
    """Return the result of a query by testing every row and sorting all of them."""
    where, explicit, cursor, limit, offset = wanted
    ranged = sorted({field for field, operator, _ in where if operator != "=="})
    descending = explicit[-1][1] if explicit else False
    orders = [*explicit]
    orders += [(field, descending) for field in ranged if field not in dict(explicit)]

    def passes(row: dict[str, Any]) -> bool:
        return all(field in row for field, _ in orders) and all(
            field in row and compare(row[field], operator, operand)
            for field, operator, operand in where
        )

    def in_order(one: str, other: str) -> int:
        for field, down in orders:
            if order := oracle_order(table[one][field], table[other][field]):
                return -order if down else order
        return (-1 if one < other else 1) * (-1 if descending else 1)

    found = sorted(
        (name for name, row in table.items() if passes(row)), key=functools.cmp_to_key(in_order)
    )
    if cursor is not None and explicit:
        start, inclusive, cell = cursor
        field, down = explicit[0]
        sides = {
            name: oracle_order(table[name][field], cell) * (-1 if down else 1) for name in found
        }
        wanted_side = 1 if start else -1
        found = [
            name for name in found if sides[name] == wanted_side or (inclusive and sides[name] == 0)
        ]
    return found[offset:][:limit]


def compare(cell: Any, operator: str, operand: Any) -> bool:
    """Return the result of one filter. Ranges only match values of the same type, and never NaN."""

    def kind(thing: Any) -> Any:
        return "number" if type(thing) in (int, float) else type(thing)

    if kind(cell) != kind(operand) or cell != cell:
        return False
    order = oracle_order(cell, operand)
    return {"==": order == 0, "<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0}[
        operator
    ]


@given(st.lists(contents, min_size=80, max_size=80), st.lists(st.tuples(changes, requests)))
def test_queries_between_changes_equal_the_oracle(
    start: list[dict[str, Any]], steps: list[Any]
) -> None:
    documents, table = Documents(), {}
    for number, row in enumerate(start):
        table[f"rows/{number:02}"] = row
        put(documents, f"rows/{number:02}", row)
    for writes, wanted in steps:
        for number, changed in writes:
            put(documents, f"rows/{number:02}", changed)
            if changed is None:
                table.pop(f"rows/{number:02}", None)
            else:
                table[f"rows/{number:02}"] = changed
        assert run(documents, client_query(wanted)) == oracle(table, wanted)


toggles = st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=4)


@given(st.lists(toggles, max_size=20))
def test_ids_stay_in_order_through_any_changes(steps: list[list[tuple[str, bool]]]) -> None:
    documents = Documents()
    present = {f"{number:03}" for number in range(200)}
    for document_id in present:
        put(documents, f"rows/{document_id}", {})
    for step in steps:
        for document_id, add in step:
            put(documents, f"rows/{document_id}", {} if add else None)
            present = present | {document_id} if add else present - {document_id}
        assert documents.collections["rows"].ids() == sorted(present)


def test_names_may_be_ordered_against_the_fields() -> None:
    documents = Documents()
    for document_id, number in {"x": 1, "y": 1, "z": 0}.items():
        put(documents, f"rows/{document_id}", {"a": number})
    query = rows.order_by("a").order_by("__name__", direction="DESCENDING")
    assert run(documents, query) == ["rows/z", "rows/y", "rows/x"]


def test_a_snapshot_keeps_what_later_writes_change() -> None:
    documents = Documents()
    for name in ["rows/a", "rows/b", "rows/a/sub/x"]:
        put(documents, name, {"a": 1})
    assert run(documents, rows.where(filter=FieldFilter("a", "==", 1))) == ["rows/a", "rows/b"]
    snapshot = documents.snapshot()
    put(documents, "rows/a", None)
    put(documents, "rows/b", {"a": 2})
    put(documents, "rows/c", {"a": 1})
    put(documents, "rows/a/sub/x", None)
    assert run(snapshot, rows.where(filter=FieldFilter("a", "==", 1))) == ["rows/a", "rows/b"]
    assert run(snapshot, client.collection_group("sub")) == ["rows/a/sub/x"]
    assert run(documents, rows.where(filter=FieldFilter("a", "==", 1))) == ["rows/c"]
    assert run(documents, client.collection_group("sub")) == []


def test_a_group_query_sorts_over_all_its_collections() -> None:
    documents = Documents()
    for path, number in {"z/1/rows/x": 3, "rows/y": 1, "a/1/rows/x": 2, "a/1/other/x": 0}.items():
        put(documents, path, {"a": number})
    group = client.collection_group("rows")
    assert run(documents, group) == ["a/1/rows/x", "rows/y", "z/1/rows/x"]
    assert run(documents, group.order_by("a", direction="DESCENDING")) == [
        "z/1/rows/x",
        "a/1/rows/x",
        "rows/y",
    ]


def test_a_recursive_query_finds_a_collection_and_all_below_it() -> None:
    documents = Documents()
    for path in ["rows/a", "rows/b/sub/c", "rowsx/a", "row/a"]:
        put(documents, path, {})
    assert run(documents, rows.recursive()) == ["rows/a", "rows/b/sub/c"]


@pytest.mark.parametrize(
    "query",
    [
        rows.where(filter=FieldFilter("a", "in", list(range(31)))),
        rows.where(filter=FieldFilter("a", "not-in", list(range(11)))),
        rows.where(filter=FieldFilter("a", "in", [])),
        rows.where(filter=FieldFilter("a", "!=", 1)).where(filter=FieldFilter("b", "!=", 1)),
        rows.where(filter=FieldFilter("a", "in", [1])).where(
            filter=FieldFilter("b", "not-in", [1])
        ),
        rows.where(filter=FieldFilter("a", "array_contains", 1)).where(
            filter=FieldFilter("b", "array_contains", 1)
        ),
        rows.where(filter=Or([FieldFilter("a", "==", number) for number in range(31)])),
        rows.where(filter=FieldFilter("a", "in", [1, 2, 3, 4, 5, 6])).where(
            filter=FieldFilter("b", "in", [1, 2, 3, 4, 5, 6])
        ),
        rows.order_by("a").order_by("a"),
        rows.order_by("__name__").order_by("a"),
        rows.offset(-1),
        rows.limit(-1),
    ],
)
def test_queries_that_firestore_refuses_are_refused(query: Any) -> None:
    with pytest.raises(Refusal) as refused:
        run(Documents(), query)
    assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT
