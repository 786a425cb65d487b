"""Spans for any OpenTelemetry collector: OTLP over HTTP, as JSON.

The standard variable OTEL_EXPORTER_OTLP_ENDPOINT names the collector, such as a layer or a sidecar.
OTEL_EXPORTER_OTLP_HEADERS (``name=value,…``) adds headers. The SDK is not used, because it would
take longer to load than a message takes to process. See https://opentelemetry.io/docs/specs/otlp/.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from mcloud import http
from mcloud.clouds.spans import Span
from mcloud.errors import Unavailable

_CONSUMER = 5  # SpanKind of an operation that receives a message from a queue
_INTERNAL = 1


class Otlp:
    def __init__(self, endpoint: str, headers: str, resource: Mapping[str, str]) -> None:
        self._url = f"{endpoint.rstrip('/')}/v1/traces"
        pairs = (pair.partition("=") for pair in headers.split(",") if "=" in pair)
        self._headers = {name.strip(): unquote(value.strip()) for name, _, value in pairs}
        self._resource = resource

    def export(self, spans: Sequence[Span]) -> None:
        answer = http.ask(
            "POST",
            self._url,
            http.SPANS,
            document=document(spans, self._resource),
            headers=self._headers,
        )
        if not answer.ok:
            raise Unavailable(f"OTLP {self._url}: HTTP {answer.status}")


def document(spans: Sequence[Span], resource: Mapping[str, str]) -> dict[str, Any]:
    """Return an ``ExportTraceServiceRequest`` as a JSON document."""
    inner = {span.span_id for span in spans}
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes(resource)},
                "scopeSpans": [
                    {
                        "scope": {"name": "mcloud"},
                        "spans": [
                            {
                                "traceId": span.trace_id,
                                "spanId": span.span_id,
                                "parentSpanId": span.parent_id,
                                "name": span.name,
                                "kind": _INTERNAL if span.parent_id in inner else _CONSUMER,
                                # 64-bit numbers are strings in protobuf's JSON.
                                "startTimeUnixNano": str(int(span.start * 1e6) * 1000),
                                "endTimeUnixNano": str(int(span.end * 1e6) * 1000),
                                "attributes": _attributes(span.attributes),
                            }
                            for span in spans
                        ],
                    }
                ],
            }
        ]
    }


def _attributes(values: Mapping[str, str | int]) -> list[dict[str, Any]]:
    return [
        {
            "key": key,
            "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value},
        }
        for key, value in values.items()
    ]
