"""Vector search, through the real client on our Firestore and on Google's emulator."""

import math
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import firestore
from google.cloud.firestore_v1.base_query import FieldFilter
from google.cloud.firestore_v1.base_vector_query import DistanceMeasure
from google.cloud.firestore_v1.vector import Vector

from .firestore_client import fill, ids

EUCLIDEAN = DistanceMeasure.EUCLIDEAN
COSINE = DistanceMeasure.COSINE
DOT_PRODUCT = DistanceMeasure.DOT_PRODUCT

ROWS = {
    "h": {"v": Vector([0.0, 0.0]), "n": 1},
    "i": {"v": Vector([2.0, 1.0]), "n": 1},
    "text": {"v": "x", "n": 1},
    "array": {"v": [1.0, 2.0], "n": 1},
    "three": {"v": Vector([1.0, 1.0, 1.0]), "n": 1},
    "none": {"n": 1},
    "c": {"v": Vector([-1.0, -2.0]), "n": 1},
    "b": {"v": Vector([2.0, 1.0]), "n": 2},
    "a": {"v": Vector([1.0, 2.0]), "n": 1, "distance": "before"},
}


@pytest.fixture
def filled(rows: firestore.CollectionReference) -> firestore.CollectionReference:
    fill(rows, ROWS)
    return rows


def nearest(query: Any, measure: DistanceMeasure = EUCLIDEAN, limit: int = 10, **more: Any) -> Any:
    wanted = Vector([1.0, 2.0])
    return query.find_nearest("v", wanted, limit=limit, distance_measure=measure, **more)


class TestNearest:
    @pytest.mark.parametrize(
        ("measure", "threshold", "found"),
        [
            (EUCLIDEAN, None, {"a": 0, "b": 2**0.5, "i": 2**0.5, "h": 5**0.5, "c": 20**0.5}),
            (EUCLIDEAN, 1.5, {"a": 0, "b": 2**0.5, "i": 2**0.5}),
            (COSINE, None, {"a": 0, "b": 0.2, "i": 0.2, "c": 2, "h": math.nan}),
            (COSINE, 1.0, {"a": 0, "b": 0.2, "i": 0.2}),
            (DOT_PRODUCT, None, {"a": 5, "b": 4, "i": 4, "h": 0, "c": -5}),
            (DOT_PRODUCT, 4.0, {"a": 5, "b": 4, "i": 4}),
        ],
    )
    def test_distances(
        self,
        filled: firestore.CollectionReference,
        measure: DistanceMeasure,
        threshold: float | None,
        found: dict[str, float],
    ) -> None:
        query = nearest(
            filled, measure, distance_result_field="distance", distance_threshold=threshold
        )
        distances = {document.id: document.get("distance") for document in query.get()}
        assert [*distances] == [*found]
        assert [*distances.values()] == pytest.approx([*found.values()], nan_ok=True)

    def test_limits_filters_and_orders(self, filled: firestore.CollectionReference) -> None:
        assert ids(nearest(filled, limit=2)) == ["a", "b"]
        one = filled.where(filter=FieldFilter("n", "==", 1))
        assert ids(nearest(one, limit=2)) == ["a", "i"]
        assert ids(nearest(filled.order_by("n"), limit=3)) == ["a", "i", "b"]

    def test_projection(self, filled: firestore.CollectionReference) -> None:
        (found,) = nearest(filled.select(["n"]), limit=1, distance_result_field="d").get()
        assert found.to_dict() == {"n": 1}
        (found,) = nearest(filled.select(["n", "d"]), limit=1, distance_result_field="d").get()
        assert found.to_dict() == {"n": 1, "d": 0.0}
        assert filled.document("a").get().to_dict() == ROWS["a"]

    @pytest.mark.parametrize(
        "build",
        [
            lambda rows: nearest(rows, limit=0),
            lambda rows: nearest(rows, limit=1001),
            lambda rows: nearest(rows.limit(2)),
            lambda rows: nearest(rows.offset(2)),
            lambda rows: nearest(rows, distance_result_field="__x__"),
            lambda rows: rows.find_nearest("v", Vector([]), limit=1, distance_measure=EUCLIDEAN),
            lambda rows: rows.find_nearest(
                "v", Vector([0.0] * 2049), limit=1, distance_measure=EUCLIDEAN
            ),
        ],
    )
    def test_refused(self, rows: firestore.CollectionReference, build: Any) -> None:
        with pytest.raises(exceptions.InvalidArgument):
            build(rows).get()
