"""Queries and aggregations, through the real client on our Firestore and on Google's emulator.

Each case requires the documented answer from both. Comments name the few places where Google's
emulator answers differently.
"""

from datetime import UTC, datetime
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import firestore
from google.cloud.firestore_v1.base_query import And, FieldFilter, Or
from google.cloud.firestore_v1.vector import Vector

from .firestore_client import fill, ids

LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)
NAN = float("nan")


# One value of each type, in the documented order. The ids are in another order.
MIXED = {
    "z0": None,
    "y1": False,
    "x2": True,
    "w3": NAN,
    "v4": -1,
    "u5": 0.5,
    "t6": 2**53,
    "s7": 2**53 + 1,
    "r8": float("inf"),
    "q9": LONG_AGO,
    "pa": "a",
    "ob": "\uffff",
    "nc": "\U0001f600",
    "md": b"\x00",
    "lf": firestore.GeoPoint(1, 2),
    "kg": [1, 2],
    "jh": [2],
    "ii": Vector([9.0]),
    "hj": Vector([1.0, 2.0]),
    "gk": {"a": 2},
    "fl": {"b": 1},
}


class TestQueries:
    def test_order_across_types(self, rows: firestore.CollectionReference) -> None:
        fill(rows, {name: {"v": mixed} for name, mixed in MIXED.items()} | {"none": {"w": 1}})
        assert ids(rows.order_by("v")) == list(MIXED)
        assert ids(rows.order_by("v", direction="DESCENDING")) == list(reversed(MIXED))

    @pytest.mark.parametrize(
        ("operator", "operand", "found"),
        [
            ("<", 1, "v4 u5"),
            ("<=", -1, "v4"),
            (">", 2**53, "s7 r8"),
            (">=", 0.5, "u5 t6 s7 r8"),
            (">", "a", "ob nc"),
            ("<", True, "y1"),
            ("==", None, "z0"),
            ("==", NAN, "w3"),
            ("==", 2.0**53, "t6"),
            ("==", [1, 2], "kg"),
            ("==", {"a": 2}, "gk"),
            ("!=", None, " ".join([*MIXED][1:])),
            ("!=", NAN, " ".join(name for name in [*MIXED][1:] if name != "w3")),
            ("!=", 0.5, " ".join(name for name in [*MIXED][1:] if name != "u5")),
            ("in", [None, NAN, "a", 0.5], "pa u5"),
            ("not-in", ["a", 0.5], " ".join(n for n in [*MIXED][1:] if n not in ("pa", "u5"))),
            ("not-in", [None, "a"], ""),
            ("not-in", [NAN], " ".join([*MIXED][1:])),
            ("array_contains", 2, "jh kg"),
            ("array_contains_any", [1, 9], "kg"),
            (">", [1], "kg jh"),
            ("<", Vector([10.0]), "ii"),
            (">=", firestore.GeoPoint(1, 2), "lf"),
        ],
    )
    def test_filters(
        self, rows: firestore.CollectionReference, operator: str, operand: Any, found: str
    ) -> None:
        fill(rows, {name: {"v": mixed} for name, mixed in MIXED.items()} | {"none": {"w": 1}})
        assert ids(rows.where(filter=FieldFilter("v", operator, operand))) == found.split()

    def test_filters_together(self, rows: firestore.CollectionReference) -> None:
        fill(rows, {f"{n:02}": {"n": n, "odd": n % 2 == 1, "m": {"k": n // 4}} for n in range(12)})
        odd, low = FieldFilter("odd", "==", True), FieldFilter("n", "<", 6)
        assert ids(rows.where(filter=And([odd, low]))) == ["01", "03", "05"]
        assert ids(rows.where(filter=odd).where(filter=FieldFilter("m.k", "==", 2))) == ["09", "11"]
        either = Or([FieldFilter("n", "==", 10), And([odd, FieldFilter("m.k", "==", 0)])])
        assert ids(rows.where(filter=either)) == ["01", "03", "10"]
        two_ranges = rows.where(filter=low).where(filter=FieldFilter("m.k", ">", 0))
        assert ids(two_ranges) == ["04", "05"]

    def test_orders_limits_and_offsets(self, rows: firestore.CollectionReference) -> None:
        fill(rows, {f"{n:02}": {"n": n // 2, "m": -n} for n in range(10)})
        by_n = rows.order_by("n", direction="DESCENDING")
        assert ids(by_n.limit(3)) == ["09", "08", "07"]
        assert ids(by_n.order_by("m", direction="DESCENDING").limit(3)) == ["08", "09", "06"]
        assert ids(rows.offset(8)) == ["08", "09"]
        assert ids(rows.offset(8).limit(1)) == ["08"]
        assert ids(rows.limit(0)) == []
        assert ids(rows.offset(99)) == []
        assert [document.id for document in rows.order_by("n").limit_to_last(3).get()] == [
            "07",
            "08",
            "09",
        ]

    def test_cursors(self, rows: firestore.CollectionReference) -> None:
        fill(rows, {f"{n:02}": {"n": n // 2} for n in range(10)})
        by_n = rows.order_by("n")
        assert ids(by_n.start_at({"n": 3}).end_before({"n": 4})) == ["06", "07"]
        assert ids(by_n.start_after({"n": 3})) == ["08", "09"]
        assert ids(by_n.end_at({"n": 0})) == ["00", "01"]
        page = by_n.limit(3).get()
        assert ids(by_n.start_after(page[-1]).limit(3)) == ["03", "04", "05"]
        downward = rows.order_by("n", direction="DESCENDING")
        assert ids(downward.start_at({"n": 1}).end_before({"n": 0})) == ["03", "02"]
        by_name = rows.order_by("__name__")
        assert ids(by_name.start_at([rows.document("07")]).end_at([rows.document("08")])) == [
            "07",
            "08",
        ]
        assert ids(by_n.start_at({"n": "text"})) == []

    def test_names_as_filters(self, rows: firestore.CollectionReference) -> None:
        fill(rows, {name: {"n": 1} for name in ["BTC_1", "BTC_2", "ETH_1"]})

        def named(operator: str, value: Any) -> list[str]:
            return ids(rows.where(filter=FieldFilter("__name__", operator, value)))

        assert named(">=", rows.document("BTC_2")) == ["BTC_2", "ETH_1"]
        assert named("==", rows.document("ETH_1")) == ["ETH_1"]
        assert named("in", [rows.document("ETH_1"), rows.document("BTC_1")]) == ["BTC_1", "ETH_1"]
        between = rows.where(filter=FieldFilter("__name__", ">=", rows.document("BTC_"))).where(
            filter=FieldFilter("__name__", "<", rows.document("BTC`"))
        )
        assert ids(between) == ["BTC_1", "BTC_2"]
        with pytest.raises(exceptions.FailedPrecondition):
            ids(rows.order_by("__name__", direction="DESCENDING"))

    def test_projection(self, rows: firestore.CollectionReference) -> None:
        fill(rows, {"a": {"n": 1, "m": {"x": 1, "y": 2}}, "b": {"k": 1}})
        found = {document.id: document.to_dict() for document in rows.select(["n", "m.x"]).get()}
        assert found == {"a": {"n": 1, "m": {"x": 1}}, "b": {}}
        assert [document.to_dict() for document in rows.select(["__name__"]).get()] == [{}, {}]

    def test_queries_of_collection_groups_return_all_of_their_documents(
        self, client: firestore.Client
    ) -> None:
        for number, path in enumerate(["b/1/rows/x", "rows/y", "rows/y/rows/z", "a/1/other/x"]):
            client.document(path).set({"n": number})
        group = client.collection_group("rows")
        assert [document.reference.path for document in group.stream()] == [
            "b/1/rows/x",
            "rows/y",
            "rows/y/rows/z",
        ]
        assert ids(group.order_by("n", direction="DESCENDING")) == ["z", "y", "x"]
        assert ids(group.where(filter=FieldFilter("n", ">", 0))) == ["y", "z"]
        assert ids(client.collection("rows")) == ["y"]

    def test_aggregations(self, rows: firestore.CollectionReference) -> None:
        fill(rows, {str(n): {"n": n} for n in range(1, 6)} | {"text": {"n": "x"}, "no": {}})
        query = rows.count(alias="count").sum("n", alias="sum").avg("n", alias="avg")
        answer = {result.alias: result.value for result in query.get()[0]}
        # A count together with a sum excludes the document without the field.
        assert answer == {"count": 6, "sum": 15, "avg": 3.0}
        assert rows.count().get()[0][0].value == 7
        assert rows.limit(2).count().get()[0][0].value == 2
        assert rows.where(filter=FieldFilter("n", ">", 2)).count().get()[0][0].value == 3
        nothing = rows.where(filter=FieldFilter("n", ">", 99))
        assert nothing.count().get()[0][0].value == 0
        assert nothing.sum("n").get()[0][0].value == 0

    @pytest.mark.parametrize(
        ("narrow", "n", "count"),
        [
            # Google's emulator orders by the summed field last, before the name.
            (lambda rows: rows.limit(3), 1 + 2 + 4, 3),
            (lambda rows: rows.limit(99), 31, 5),
            (lambda rows: rows.offset(2).limit(2), 4 + 8, 2),
            (lambda rows: rows.order_by("n", direction="DESCENDING").limit(3), 16 + 8 + 4, 3),
            (lambda rows: rows.order_by("m").limit(3), 2 + 8 + 1, 3),
            (lambda rows: rows.order_by("m", direction="DESCENDING").limit(2), 16 + 4, 2),
            (lambda rows: rows.where(filter=FieldFilter("m", ">=", 2)).limit(2), 1 + 4, 2),
            (lambda rows: rows.where(filter=FieldFilter("m", "==", 1)).limit(1), 2, 1),
            (lambda rows: rows.order_by("m").start_at({"m": 2}).limit(1), 1, 1),
        ],
    )
    def test_sums_of_a_limited_query(
        self, rows: firestore.CollectionReference, narrow: Any, n: int, count: int
    ) -> None:
        documents = {
            "a": {"n": 16, "m": 3},
            "b": {"n": 1, "m": 2},
            "c": {"n": 8, "m": 1},
            "d": {"n": 2, "m": 1},
            "e": {"n": 4, "m": 2},
            "f": {"m": 0},
        }
        fill(rows, documents)
        query = narrow(rows).sum("n", alias="n").avg("n", alias="avg").count(alias="count")
        answer = {result.alias: result.value for result in query.get()[0]}
        assert answer == {"n": n, "avg": n / count, "count": count}

    def test_sums_of_several_fields_order_by_their_names(
        self, rows: firestore.CollectionReference
    ) -> None:
        fill(rows, {"a": {"n": 1, "m": 3}, "b": {"n": 3, "m": 1}, "c": {"n": 2, "m": 1}})
        query = rows.limit(1).sum("n", alias="n").sum("m", alias="m")
        assert {result.alias: result.value for result in query.get()[0]} == {"n": 2, "m": 1}

    @pytest.mark.parametrize(
        "build",
        [
            lambda rows: rows.sum("__name__"),
            lambda rows: rows.order_by("__name__").sum("n"),
            lambda rows: rows.where(filter=FieldFilter("__name__", ">", rows.document("a"))).avg(
                "n"
            ),
        ],
    )
    def test_sums_by_name_are_refused(
        self, rows: firestore.CollectionReference, build: Any
    ) -> None:
        with pytest.raises(exceptions.InvalidArgument):
            build(rows).get()

    def test_a_sum_beyond_an_integer(self, rows: firestore.CollectionReference) -> None:
        fill(rows, {"a": {"n": 2**63 - 1}, "b": {"n": 2**63 - 1}})
        assert rows.sum("n").get()[0][0].value == 2.0**64

    @pytest.mark.parametrize(
        "build",
        [
            lambda rows: rows.where(filter=FieldFilter("n", "in", [])),
            lambda rows: rows.where(filter=FieldFilter("n", "in", list(range(31)))),
            lambda rows: rows.where(filter=FieldFilter("n", "not-in", list(range(11)))),
            lambda rows: rows.where(filter=FieldFilter("n", "!=", 1)).where(
                filter=FieldFilter("m", "!=", 1)
            ),
            lambda rows: rows.where(filter=FieldFilter("n", "array_contains", 1)).where(
                filter=FieldFilter("m", "array_contains", 1)
            ),
            lambda rows: rows.where(filter=Or([FieldFilter("n", "==", n) for n in range(31)])),
            lambda rows: rows.order_by("n").order_by("n"),
            lambda rows: rows.order_by("__name__").order_by("n"),
            lambda rows: rows.offset(-1),
            lambda rows: rows.limit(-1),
        ],
    )
    def test_refused_queries(self, rows: firestore.CollectionReference, build: Any) -> None:
        with pytest.raises(exceptions.InvalidArgument):
            ids(build(rows))
