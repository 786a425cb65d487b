"""The ``where`` of a query: parsing, refusal of invalid filters as in Firestore, and tests of
documents.

Rules: https://cloud.google.com/firestore/docs/query-data/queries#limitations. Composite indexes are
not modelled: a query that needs one on the real service needs none here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

from mcloud.local.gcp import firestore_values as values
from mcloud.local.gcp.firestore_names import DOCUMENT_NAME, FieldPath, field_path, invalid
from mcloud.local.gcp.firestore_protos import DocumentMessage, StructuredQuery, ValueMessage
from mcloud.local.gcp.firestore_values import NAN, NULL, Key

_FIELD_OPERATORS = StructuredQuery.FieldFilter.Operator
_UNARY_OPERATORS = StructuredQuery.UnaryFilter.Operator
_COMPOSITE_OPERATORS = StructuredQuery.CompositeFilter.Operator

_MAX_OPERANDS = {"IN": 30, "ARRAY_CONTAINS_ANY": 30, "NOT_IN": 10}
_MAX_DISJUNCTIONS = 30

_RANGES = ("LESS_THAN", "LESS_THAN_OR_EQUAL", "GREATER_THAN", "GREATER_THAN_OR_EQUAL")
_EXCLUSIONS = ("NOT_EQUAL", "NOT_IN", "IS_NOT_NULL", "IS_NOT_NAN")
_UNSETTLED = (NULL, NAN)  # equal to no value; only unary filters find them


@dataclass(frozen=True)
class Condition:
    """A test of one field.

    The operator is one of the API's. ``operands`` has one key, several for IN, NOT_IN and
    ARRAY_CONTAINS_ANY, or none for unary operators.
    """

    path: FieldPath
    operator: str
    operands: tuple[Key, ...] = ()

    def holds(self, document: DocumentMessage) -> bool:
        """Return whether the document matches."""
        if self.operator.startswith("ARRAY_CONTAINS"):
            return self._contains(document)
        key = values.key_at(document, self.path)
        return key is not None and self._admits(key)

    def bounds(self) -> tuple[Key, Key] | None:
        """Return the lowest and highest key that can match, both included, if these keys form one
        range.
        """
        if self.operator == "EQUAL":
            return self.operands[0], self.operands[0]
        if self.operator not in _RANGES:
            return None
        operand = self.operands[0]
        if self.operator.startswith("LESS"):
            return operand[:1], operand
        return operand, (operand[0] + 1,)

    def _admits(self, key: Key) -> bool:
        match self.operator:
            case "EQUAL":
                return key == self.operands[0] and key not in _UNSETTLED
            case "NOT_EQUAL":
                return key != NULL and key != self.operands[0] not in _UNSETTLED
            case "IN":
                return key in self.operands and key not in _UNSETTLED
            case "NOT_IN":
                return key != NULL and NULL not in self.operands and not self._excludes(key)
            case "IS_NULL":
                return key == NULL
            case "IS_NAN":
                return key == NAN
            case "IS_NOT_NULL":
                return key != NULL
            case "IS_NOT_NAN":
                return key not in _UNSETTLED
        operand = self.operands[0]
        if key[0] != operand[0] or operand in _UNSETTLED:
            return False
        match self.operator:
            case "LESS_THAN":
                return key < operand
            case "LESS_THAN_OR_EQUAL":
                return key <= operand
            case "GREATER_THAN":
                return key > operand
        return key >= operand

    def _excludes(self, key: Key) -> bool:
        return key != NAN and key in self.operands

    def _contains(self, document: DocumentMessage) -> bool:
        value = values.value_at(document.fields, self.path)
        return value is not None and any(
            values.sort_key(element) in self.operands for element in value.array_value.values
        )


@dataclass(frozen=True)
class Composite:
    """A combination of filters, of which all or any must match."""

    every: bool
    parts: "tuple[Filter, ...]"

    def holds(self, document: DocumentMessage) -> bool:
        """Return whether the document matches."""
        results = (part.holds(document) for part in self.parts)
        return all(results) if self.every else any(results)


Filter: TypeAlias = Condition | Composite

EVERYTHING = Composite(True, ())


def parse_filter(message: Any) -> Filter:
    """Convert a StructuredQuery.Filter. Raise INVALID_ARGUMENT for a filter that the service
    refuses.
    """
    if message.WhichOneof("filter_type") is None:
        return EVERYTHING
    parsed = _parse(message)
    _check_combination(parsed)
    return parsed


def conditions(wanted: Filter) -> Iterator[Condition]:
    """Yield every condition at any depth."""
    if isinstance(wanted, Condition):
        yield wanted
    else:
        for part in wanted.parts:
            yield from conditions(part)


def required(wanted: Filter) -> Iterator[Condition]:
    """Yield the conditions that every matching document satisfies."""
    if isinstance(wanted, Condition):
        yield wanted
    elif wanted.every:
        for part in wanted.parts:
            yield from required(part)


def inequality_paths(wanted: Filter) -> list[FieldPath]:
    """Return the fields by which a query with this filter is ordered implicitly."""
    paths = {
        condition.path
        for condition in conditions(wanted)
        if condition.operator in _RANGES + _EXCLUSIONS
    }
    return sorted(paths)


def _parse(message: Any) -> Filter:
    kind = message.WhichOneof("filter_type")
    if kind == "composite_filter":
        return _parse_composite(message.composite_filter)
    if kind == "field_filter":
        return _parse_field(message.field_filter)
    if kind == "unary_filter":
        operator = _name(_UNARY_OPERATORS, message.unary_filter.op, "UnaryFilter")
        return Condition(field_path(message.unary_filter.field.field_path), operator)
    raise invalid("A filter is empty.")


def _parse_composite(message: Any) -> Filter:
    operator = _name(_COMPOSITE_OPERATORS, message.op, "CompositeFilter")
    if not message.filters:
        raise invalid("Composite filter must have at least one sub-filter.")
    return Composite(operator == "AND", tuple(_parse(part) for part in message.filters))


def _parse_field(message: Any) -> Filter:
    path = field_path(message.field.field_path)
    operator = _name(_FIELD_OPERATORS, message.op, "FieldFilter")
    operands = _operands(operator, message.value)
    keys = tuple(values.sort_key(operand) for operand in operands)
    if path == DOCUMENT_NAME and not all(values.is_name_key(key) for key in keys):
        raise invalid("A filter on __name__ must have references as its values.")
    return Condition(path, operator, keys)


def _operands(operator: str, value: ValueMessage) -> list[ValueMessage]:
    limit = _MAX_OPERANDS.get(operator)
    if limit is None:
        return [value]
    if not value.HasField("array_value"):
        raise invalid(f"'{operator}' requires an ArrayValue.")
    operands = list(value.array_value.values)
    if not operands:
        raise invalid(f"'{operator}' requires an non-empty ArrayValue.")
    if len(operands) > limit:
        raise invalid(f"'{operator}' supports up to {limit} comparison values.")
    return operands


def _name(operators: Any, number: int, kind: str) -> str:
    if number == 0 or number not in operators.values():
        raise invalid(f"Unknown {kind} operator.")
    return str(operators.Name(number))


def _check_combination(wanted: Filter) -> None:
    used = [condition.operator for condition in conditions(wanted)]
    if sum(operator in _EXCLUSIONS for operator in used) > 1:
        raise invalid(
            "Only a single 'NOT_EQUAL', 'NOT_IN', 'IS_NOT_NAN', or 'IS_NOT_NULL' filter allowed "
            "per query."
        )
    if "NOT_IN" in used and (
        "IN" in used or "ARRAY_CONTAINS_ANY" in used or _has_alternatives(wanted)
    ):
        raise invalid(
            "'NOT_IN' cannot be used in the same query with 'IN', 'ARRAY_CONTAINS_ANY' or 'OR'."
        )
    if _most_contains(wanted) > 1:
        raise invalid("A maximum of 1 'ARRAY_CONTAINS' filter is allowed per disjunction.")
    count = _disjunctions(wanted)
    if count > _MAX_DISJUNCTIONS:
        raise invalid(
            f"Too many disjunctions after normalization. Result had {count} disjunctions which is "
            f"more than the maximum of {_MAX_DISJUNCTIONS}"
        )


def _has_alternatives(wanted: Filter) -> bool:
    return isinstance(wanted, Composite) and (
        not wanted.every or any(_has_alternatives(part) for part in wanted.parts)
    )


def _most_contains(wanted: Filter) -> int:
    """Return the largest number of ARRAY_CONTAINS(_ANY) in one disjunction."""
    if isinstance(wanted, Condition):
        return int(wanted.operator.startswith("ARRAY_CONTAINS"))
    counts = [_most_contains(part) for part in wanted.parts]
    return sum(counts) if wanted.every else max(counts)


def _disjunctions(wanted: Filter) -> int:
    """Return the number of ANDs in the filter when it is written as an OR of ANDs."""
    if isinstance(wanted, Condition):
        multiplies = wanted.operator in ("IN", "ARRAY_CONTAINS_ANY")
        return len(wanted.operands) if multiplies else 1
    counts = [_disjunctions(part) for part in wanted.parts]
    return prod(counts) if wanted.every else sum(counts)
