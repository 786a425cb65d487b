"""Spans to Cloud Trace, through its REST API: a function has already loaded the libraries for that.

See https://cloud.google.com/trace/docs/reference/v2/rest/v2/projects.traces/batchWrite.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from mcloud import http
from mcloud.clouds.gcp.client import GcpSession, make_session, refused, translated
from mcloud.clouds.spans import Span

URL = "https://cloudtrace.googleapis.com"


class CloudTrace:
    def __init__(self, project: str, session: GcpSession | None = None, url: str = URL) -> None:
        self._project = project
        self._session = session
        self._url = f"{url}/v2/projects/{project}/traces:batchWrite"

    def export(self, spans: Sequence[Span]) -> None:
        body = {"spans": [document(span, self._project) for span in spans]}
        with translated("Cloud Trace"):
            if self._session is None:
                self._session = make_session()
            answer = self._session.ask("POST", self._url, http.SPANS, document=body)
        if not answer.ok:
            raise refused(
                "Cloud Trace",
                answer,
                lacks="grant roles/cloudtrace.agent to the function's service account",
            )


def document(span: Span, project: str) -> dict[str, Any]:
    """Return a span in the format of Cloud Trace."""
    return {
        "name": f"projects/{project}/traces/{span.trace_id}/spans/{span.span_id}",
        "spanId": span.span_id,
        "parentSpanId": span.parent_id,
        "displayName": {"value": span.name},
        "startTime": to_timestamp(span.start),
        "endTime": to_timestamp(span.end),
        "attributes": {
            "attributeMap": {
                key: {"intValue": str(value)}
                if isinstance(value, int)
                else {"stringValue": {"value": value}}
                for key, value in span.attributes.items()
            }
        },
    }


def to_timestamp(seconds: float) -> str:
    """Return a time as RFC 3339 text in UTC."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
