"""Vector search: the documents of a query whose vectors are nearest to a given one.

https://cloud.google.com/firestore/docs/vector-search. Every document is compared, without an index.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

from mcloud.local.gcp import firestore_values as values
from mcloud.local.gcp.firestore_names import FieldPath, check_field_name, field_path, invalid
from mcloud.local.gcp.firestore_protos import Document, DocumentMessage, StructuredQuery

MAX_RESULTS: Final = 1_000
MAX_DIMENSIONS: Final = 2_048

_MEASURES: Final = StructuredQuery.FindNearest.DistanceMeasure


@dataclass(frozen=True)
class Nearest:
    """The search that a query asks for; the measure is one of the API's.

    ``result_field`` is the name of the field that shows the distance, or "".
    """

    path: FieldPath
    vector: tuple[float, ...]
    measure: str
    limit: int
    threshold: float | None
    result_field: str

    def select(self, found: list[DocumentMessage]) -> list[DocumentMessage]:
        """Return the nearest of the documents, and the nearest one first."""
        distances = [(self._distance(document), document) for document in found]
        near = [
            (distance, document)
            for distance, document in distances
            if distance is not None and self._is_within(distance)
        ]
        near.sort(key=lambda pair: self._rank(pair[0]))
        return [self._shown(distance, document) for distance, document in near[: self.limit]]

    def _distance(self, document: DocumentMessage) -> float | None:
        value = values.value_at(document.fields, self.path)
        vector = None if value is None else values.vector_of(value)
        if vector is None or len(vector) != len(self.vector):
            return None
        if self.measure == "EUCLIDEAN":
            return math.dist(vector, self.vector)
        product = sum(a * b for a, b in zip(vector, self.vector, strict=True))
        if self.measure == "DOT_PRODUCT":
            return product
        lengths = math.hypot(*vector) * math.hypot(*self.vector)
        return 1 - product / lengths if lengths else math.nan

    def _is_within(self, distance: float) -> bool:
        if self.threshold is None:
            return True
        if self.measure == "DOT_PRODUCT":
            return distance >= self.threshold
        return distance <= self.threshold

    def _rank(self, distance: float) -> tuple[bool, float]:
        """Sort key: a distance that is not a number comes last."""
        if math.isnan(distance):
            return True, 0.0
        return False, -distance if self.measure == "DOT_PRODUCT" else distance

    def _shown(self, distance: float, document: DocumentMessage) -> DocumentMessage:
        if not self.result_field:
            return document
        shown = Document()
        shown.CopyFrom(document)
        shown.fields[self.result_field].double_value = distance
        return shown


def parse_nearest(message: Any) -> Nearest | None:
    """Return the search of a StructuredQuery, or None without one; or INVALID_ARGUMENT."""
    if not message.HasField("find_nearest"):
        return None
    if message.HasField("limit"):
        raise invalid("A query limit cannot be used with FindNearest")
    if message.offset:
        raise invalid("A query offset cannot be used with FindNearest")
    wanted = message.find_nearest
    if not wanted.distance_measure:
        raise invalid("FindNearest.distance_measure is not set.")
    if not 0 < wanted.limit.value <= MAX_RESULTS:
        raise invalid(f"FindNearest.limit must be a positive integer of no more than {MAX_RESULTS}")
    vector = values.vector_of(wanted.query_vector)
    if not vector:
        raise invalid("Cannot have a zero length vector.")
    if len(vector) > MAX_DIMENSIONS:
        raise invalid(f"Vectors must be at most {MAX_DIMENSIONS} dimensions.")
    if wanted.distance_result_field:
        check_field_name(wanted.distance_result_field)
    return Nearest(
        path=field_path(wanted.vector_field.field_path),
        vector=vector,
        measure=str(_MEASURES.Name(wanted.distance_measure)),
        limit=wanted.limit.value,
        threshold=(
            wanted.distance_threshold.value if wanted.HasField("distance_threshold") else None
        ),
        result_field=wanted.distance_result_field,
    )
