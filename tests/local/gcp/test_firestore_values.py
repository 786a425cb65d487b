"""Value order, sizes and names equal simple Python code and the documented examples."""

import itertools
import math
from typing import Any

import grpc
import pytest
from google.cloud.firestore_v1 import _helpers
from google.cloud.firestore_v1.field_path import FieldPath
from google.cloud.firestore_v1.vector import Vector
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from mcloud.local.gcp import firestore_values as values
from mcloud.local.gcp.firestore_names import check_field_name, document_path, field_path
from mcloud.local.gcp.firestore_protos import Document, Value
from mcloud.local.gcp.rpc import Refusal

ROOT = "projects/p/databases/(default)/documents"


def value(python: Any) -> Any:
    """Return the value as the real client encodes it."""
    return _helpers.encode_value(python)._pb


def key(python: Any) -> values.Key:
    return values.sort_key(value(python))


# Each line is one type, in the documented order. Each entry sorts after the one before it.
LADDER: list[Any] = [
    *[value(None)],
    *map(value, [False, True]),
    *map(value, [math.nan, -math.inf, -(2**63), -1.5, 0, 5e-324, 1, 2**53]),
    *map(value, [2**53 + 1, 2**63 - 1, 2.0**63, math.inf]),
    *[Value(timestamp_value=Timestamp(seconds=s, nanos=n)) for s, n in [(-1, 5), (0, 0), (0, 1)]],
    *map(value, ["", "a", "aa", "b", "é", "\uffff", "\U0001f600"]),
    *map(value, [b"", b"\x00", b"a", b"\xff"]),
    *[Value(reference_value=f"{ROOT}/{path}") for path in ["a/b", "a/b/c/d", "a/b-", "b/a"]],
    *[value(_helpers.GeoPoint(*point)) for point in [(-1, 5), (1, -2), (1, 2)]],
    *map(value, [[], [1], [1, 2, 3], [1, 2, 3, 1], [2], ["a"]]),
    *[value(Vector(list(map(float, v))).to_map_value()) for v in [[9], [1, 2], [1, 3]]],
    *map(value, [{}, {"a": "aaa", "b": "baz"}, {"a": "foo", "b": "bar"}]),
    *map(value, [{"a": "foo", "b": "bar", "c": "qux"}, {"a": "foo", "b": "baz"}]),
    *map(value, [{"b": "aaa", "c": "baz"}, {"c": "aaa"}]),
]


@pytest.mark.parametrize(("low", "high"), [*itertools.pairwise(LADDER)])
def test_values_sort_as_documented(low: Any, high: Any) -> None:
    assert values.sort_key(low) < values.sort_key(high)


def test_equal_numbers_of_different_types_are_equal() -> None:
    assert key(1) == key(1.0)
    assert key(0) == key(-0.0)
    assert key(2**53 + 1) != key(float(2**53 + 1))


scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text()


def oracle_order(one: Any, other: Any) -> int:
    """Compare two values, and return -1, 0 or 1.

    The values are null, booleans, numbers, strings, or arrays or maps of these. The order follows
    the documentation, by type and then by value.
    """
    ranks: list[Any] = [type(None), bool, (int, float), str, list, dict]
    rank_one, rank_other = (
        next(i for i, kind in enumerate(ranks) if isinstance(thing, kind)) for thing in (one, other)
    )
    if rank_one != rank_other:
        return -1 if rank_one < rank_other else 1
    if rank_one == 2 and (one != one or other != other):
        return int(other != other) - int(one != one)
    if isinstance(one, str):
        one, other = one.encode(), other.encode()
    if isinstance(one, dict):
        one = [part for name in sorted(one, key=str.encode) for part in (name, one[name])]
        other = [part for name in sorted(other, key=str.encode) for part in (name, other[name])]
    if isinstance(one, list):
        for mine, theirs in zip(one, other, strict=False):
            if order := oracle_order(mine, theirs):
                return order
        one, other = len(one), len(other)
    return 0 if one is None or one == other else (-1 if one < other else 1)


anything = scalars | st.lists(scalars, max_size=3) | st.dictionaries(st.text(), scalars, max_size=3)


@given(anything, anything)
def test_the_order_of_any_two_values_equals_the_oracle(one: Any, other: Any) -> None:
    keys = key(one), key(other)
    order = (keys[0] > keys[1]) - (keys[0] < keys[1])
    assert order == oracle_order(one, other)
    assert (keys[0] == keys[1]) == (order == 0)


field_names = st.text(min_size=1, max_size=8).filter(
    lambda name: not (name.startswith("__") and name.endswith("__"))
)


@given(st.lists(field_names, min_size=1, max_size=4))
def test_a_path_written_by_the_client_is_read_back(path: list[str]) -> None:
    assert field_path(FieldPath(*path).to_api_repr()) == tuple(path)


@pytest.mark.parametrize(
    "path", ["", ".", "a.", ".a", "a..b", "a-b", "1a", "`a", "``", "a`b`", "__x__", "a.__x__"]
)
def test_malformed_field_paths_are_refused(path: str) -> None:
    with pytest.raises(Refusal) as refused:
        field_path(path)
    assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "path",
    [
        *["c", "c/a/b", "c//a", "/a", "c/.", "c/..", "c/__x__", "./a", "__c__/a"],
        *["c/" + "é" * 751, "/".join("ab" * 101)],
    ],
)
def test_malformed_document_names_are_refused(path: str) -> None:
    with pytest.raises(Refusal) as refused:
        document_path(f"{ROOT}/{path}")
    assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT


def test_document_names_at_the_limits_are_accepted() -> None:
    for document_id in ["...", "__", "_x_", "é" * 750, " ", "a\nb", "BTCUSDT_2024-08-08T23:54:00Z"]:
        path = document_path(f"{ROOT}/c/a/d/{document_id}")
        assert path == ("projects/p/databases/(default)", "c/a/d", document_id)
    check_field_name("é" * 750)


@given(field_names, st.lists(field_names, min_size=1, max_size=3), scalars)
def test_a_value_at_a_path_exists_until_it_is_deleted(
    other: str, path: list[str], scalar: Any
) -> None:
    document = Document()
    document.fields[other].integer_value = 7
    values.set_at(document.fields, tuple(path), value(scalar))
    found = values.value_at(document.fields, tuple(path))
    assert found is not None
    assert values.sort_key(found) == key(scalar)
    assert other in document.fields
    values.delete_at(document.fields, tuple(path))
    assert values.value_at(document.fields, tuple(path)) is None


def test_timestamps_are_kept_to_the_microsecond() -> None:
    document = Document()
    stamps = document.fields["at"].array_value.values
    stamps.add().timestamp_value.nanos = 123_456_789
    values.settle(document.fields)
    assert stamps[0].timestamp_value.nanos == 123_456_000


def nested(depth: int) -> Any:
    inner: Any = 1
    for _ in range(depth):
        inner = {"m": inner}
    return inner


@pytest.mark.parametrize(
    "field",
    [Value(), value(nested(21)), value({"__x__": 1})],
    ids=["unset", "too deep", "reserved name"],
)
def test_invalid_values_are_refused(field: Any) -> None:
    document = Document()
    document.fields["a"].CopyFrom(field)
    with pytest.raises(Refusal):
        values.settle(document.fields)


def test_an_array_holds_no_array() -> None:
    document = Document()
    inner = document.fields["a"].array_value.values.add()
    inner.array_value.SetInParent()
    with pytest.raises(Refusal):
        values.settle(document.fields)


def test_twenty_levels_are_stored() -> None:
    document = Document()
    document.fields["a"].CopyFrom(value(nested(20)))
    values.settle(document.fields)
    assert document.fields["a"].HasField("map_value")


def document_of_size(size: int) -> Any:
    """Return a document with one string field.

    The documented overheads are 16 + 2 + 2 (name c/d), 2 + 1 and 32 bytes.
    """
    document = Document(name=f"{ROOT}/c/d")
    document.fields["s"].string_value = "x" * (size - 16 - 2 - 2 - 2 - 1 - 32)
    return document


def test_a_document_may_have_a_mebibyte() -> None:
    values.check_size(document_of_size(1_048_576))
    with pytest.raises(Refusal, match=r"1,048,577 bytes"):
        values.check_size(document_of_size(1_048_577))


def test_values_that_are_small_when_encoded_count_in_full() -> None:
    document = Document(name=f"{ROOT}/c/d")
    points = document.fields["p"].array_value.values
    for _ in range(65_537):
        points.add().geo_point_value.SetInParent()
    assert document.ByteSize() < 300_000
    with pytest.raises(Refusal, match="exceeds the maximum"):
        values.check_size(document)
