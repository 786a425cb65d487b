"""Values and the schemas of a discovery document."""

import json
import re
from typing import Any

from .documents import Document
from .names import Json, camel


def is_output_only(schema: Json) -> bool:
    """Return whether only the server sets a field."""
    description = schema.get("description", "")
    return bool(schema.get("readOnly")) or description.startswith(
        ("Output only", "[Output Only]", "Output-only")
    )


class Checker:
    """Compares values with schemas, and brings them into their canonical form."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self.faults: list[str] = []
        """Descriptions of everything that does not fit."""
        self.notes: list[str] = []
        """Fields that the server ignores rather than refuses."""

    def canonical(self, schema: Json, value: Any, where: str = "") -> Any:
        """Return the value as Google stores it."""
        if value is None:
            return None
        if "$ref" in schema:
            return self._object(self._document.schemas[schema["$ref"]], value, where)
        match schema.get("type"):
            case "object":
                return self._object(schema, value, where)
            case "array":
                if not isinstance(value, list):
                    return self._fault(where, "has to be a list", value)
                return [
                    self.canonical(schema["items"], item, f"{where}[{index}]")
                    for index, item in enumerate(value)
                ]
            case "string":
                return self._string(schema, value, where)
            case "integer":
                if isinstance(value, bool) or not re.fullmatch(r"-?\d+(\.0+)?", str(value)):
                    return self._fault(where, "has to be a whole number", value)
                return int(float(value))
            case "number":
                try:
                    return value if isinstance(value, int | float) else float(value)
                except (TypeError, ValueError):
                    return self._fault(where, "has to be a number", value)
            case "boolean" if not isinstance(value, bool):
                return self._fault(where, "has to be true or false", value)
        return value

    def mask(self, schema: str, mask: str) -> list[list[str]]:
        """Return the paths of an update mask, in camel case; unknown ones are faults."""
        paths = []
        for path in filter(None, mask.split(",")):
            at, parts = self._document.schemas[schema], []
            for part in path.split("."):
                properties = at.get("properties", {})
                name = camel(part) if camel(part) in properties else part
                if name in properties:
                    at = properties[name]
                    at = self._document.schemas[at["$ref"]] if "$ref" in at else at
                elif "additionalProperties" not in at and name != "*":
                    self._fault("updateMask", f"has no field {name}", path)
                    break
                parts.append(name)
            paths.append(parts)
        return paths

    def _object(self, schema: Json, value: Any, where: str) -> Any:
        if schema.get("type") == "any":
            return value
        if not isinstance(value, dict):
            return self._fault(where, "has to be an object", value)
        properties = schema.get("properties", {})
        others = schema.get("additionalProperties")
        result = {}
        for name, item in value.items():
            known = name if name in properties else camel(name)
            place = f"{where}.{name}" if where else name
            if known not in properties and others is None:
                self._fault(place, "is unknown", item)
            elif item is None and not self._document.keeps_empty_values:
                continue  # null removes a field in those APIs, and is the same as absent in others
            elif known not in properties:
                result[name] = self.canonical(others or {}, item, place)
            elif is_output_only(properties[known]):
                self.notes.append(f"output only: {place}")
            else:
                result[known] = self.canonical(properties[known], item, place)
        return result

    def _string(self, schema: Json, value: Any, where: str) -> Any:
        form = schema.get("format")
        if form in ("int64", "uint64"):
            if isinstance(value, bool) or not re.fullmatch(r"-?\d+", str(value)):
                return self._fault(where, f"has to be a whole number ({form})", value)
            return str(value)
        if not isinstance(value, str):
            return self._fault(where, "has to be a string", value)
        if "enum" in schema and value not in schema["enum"]:
            return self._fault(where, f"is none of {', '.join(schema['enum'])}", value)
        if form == "google-duration" and not re.fullmatch(r"-?\d+(\.\d{1,9})?s", value):
            return self._fault(where, "is no duration", value)
        if form == "google-datetime" and not re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", value):
            return self._fault(where, "is no timestamp", value)
        return value

    def _fault(self, where: str, what: str, value: Any) -> Any:
        self.faults.append(f"{where or 'body'} {what}: {json.dumps(value)[:120]}")
        return value


def without_defaults(document: Document, schema: Json, value: Any) -> Any:
    """Return the value as JSON of protocol buffers: without 0, false, "" and empty lists and maps.

    A message that is set stays even if it is empty. Documents do not tell which fields keep the
    value 0 (those in a oneof, and the optional ones); they are left out as well.
    """
    schema = document.schemas[schema["$ref"]] if "$ref" in schema else schema
    if isinstance(value, list):
        items = schema.get("items", {})
        return [without_defaults(document, items, item) for item in value]
    if not isinstance(value, dict) or schema.get("type") == "any":
        return value
    properties = schema.get("properties", {})
    return {
        name: without_defaults(document, properties[name], item) if name in properties else item
        for name, item in value.items()
        if name not in properties or not _is_default(properties[name], item)
    }


def _is_default(schema: Json, value: Any) -> bool:
    if value is None:
        return True
    if "$ref" in schema or "properties" in schema:
        return False
    if schema.get("format") in ("int64", "uint64") and value == "0":
        return True
    return value in (0, "", [], {})
