"""Spans to X-Ray, through the daemon that Lambda runs beside every function.

Each segment is one UDP packet, so that nothing has to wait and no SDK is loaded. See
https://docs.aws.amazon.com/xray/latest/devguide/xray-api-segmentdocuments.html.
"""

import json
import socket
from collections.abc import Sequence
from typing import Any

from mcloud.clouds.spans import Span
from mcloud.errors import Unavailable
from mcloud.market.trace import xray_id

_HEADER = b'{"format":"json","version":1}\n'


class XRay:
    def __init__(self, daemon: str) -> None:
        """``daemon`` is AWS_XRAY_DAEMON_ADDRESS: one ``host:port``, or one each for UDP and TCP."""
        udp = next((each[4:] for each in daemon.split() if each.startswith("udp:")), daemon)
        host, _, port = udp.rpartition(":")
        self._address = host, int(port)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def export(self, spans: Sequence[Span]) -> None:
        try:
            for segment in segments(spans):
                self._socket.sendto(_HEADER + json.dumps(segment).encode(), self._address)
        except OSError as error:
            raise Unavailable(f"X-Ray's daemon at {self._address}: {error}") from error


def segments(spans: Sequence[Span]) -> list[dict[str, Any]]:
    """Return one segment for each span whose parent is not in ``spans``. The segment contains the
    span's descendants."""
    inner = {span.span_id for span in spans}
    return [
        {
            **_document(span, spans),
            "trace_id": xray_id(span.trace_id),
            "parent_id": span.parent_id,
            "annotations": span.attributes,
        }
        for span in spans
        if span.parent_id not in inner
    ]


def _document(span: Span, spans: Sequence[Span]) -> dict[str, Any]:
    below = [_document(each, spans) for each in spans if each.parent_id == span.span_id]
    document: dict[str, Any] = {
        "id": span.span_id,
        "name": span.name,
        "start_time": span.start,
        "end_time": span.end,
    }
    return {**document, "subsegments": below} if below else document
