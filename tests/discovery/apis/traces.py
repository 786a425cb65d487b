"""Cloud Trace."""

import re
from datetime import datetime

from ..call import Call
from ..cloud import Cloud
from ..hooks import answer
from ..names import Json
from ..refusal import invalid

NAME = re.compile(r"projects/([^/]+)/traces/(?!0{32})[0-9a-f]{32}/spans/(?!0{16})([0-9a-f]{16})")


@answer("cloudtrace.projects.traces.batchWrite")
def write_spans(cloud: Cloud, call: Call) -> Json:
    project = call.name.split("/")[1]
    for span in call.body.get("spans", []):
        found = NAME.fullmatch(span.get("name", ""))
        if not found or found[1] != project or found[2] != span.get("spanId"):
            raise invalid(f"Invalid name of a span: {span.get('name')}.")
        title = span.get("displayName", {}).get("value", "")
        if not 1 <= len(title.encode()) <= 128:
            raise invalid("The display name of a span has from 1 to 128 bytes.")
        if datetime.fromisoformat(span["endTime"]) < datetime.fromisoformat(span["startTime"]):
            raise invalid("A span ends before it starts.")
        attributes = span.get("attributes", {}).get("attributeMap", {})
        if len(attributes) > 32:
            raise invalid("A span has at most 32 attributes.")
        for key, value in attributes.items():
            text = value.get("stringValue", {}).get("value", "")
            if len(key.encode()) > 128 or len(text.encode()) > 256:
                raise invalid(f"The attribute {key} is too long.")
    return {}
