"""The trace context of a message (https://www.w3.org/TR/trace-context), derived from its content.

The same body has the same trace id and span id, on every machine and at any time: a message that is
sent again stays in its trace, and machines do not have to agree on ids. The first eight digits are
the time of the message's last trade in seconds since 1970, because X-Ray expects a time there. The
rest is a SHA-256.
"""

import hashlib
import re
from typing import NamedTuple

_VALID = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})"
    r"(?P<more>-.*)?"
)
_SAMPLED = 1


class TraceParent(NamedTuple):
    """The trace of a message, in the form of W3C's header ``traceparent``."""

    trace_id: str
    """32 hex digits, not all of them 0."""
    span_id: str
    """Span of the sender: 16 hex digits, not all of them 0."""
    sampled: bool
    """Whether its spans are recorded."""

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.sampled:02x}"


def derive(content: bytes, seconds: int, one_in: int) -> TraceParent:
    """Return the context of a message with this content, whose last trade has the time ``seconds``.

    One message in ``one_in`` is sampled, chosen by its trace id. With 0 none is sampled.
    """
    digest = hashlib.sha256(content).hexdigest()
    trace_id = f"{seconds % 2**32:08x}{digest[:24]}"
    sampled = one_in > 0 and int(digest[8:24], 16) % one_in == 0
    # A digest of only zeros is as unlikely as two messages with the same digest.
    return TraceParent(trace_id, digest[24:40], sampled)


def parse(text: str) -> TraceParent | None:
    """Read a ``traceparent``. Return None for one that W3C requires to be ignored."""
    match = _VALID.fullmatch(text)
    if match is None or match["version"] == "ff" or (match["version"] == "00" and match["more"]):
        return None
    if not match["trace"].strip("0") or not match["span"].strip("0"):
        return None
    return TraceParent(match["trace"], match["span"], bool(int(match["flags"], 16) & _SAMPLED))


def xray_id(trace_id: str) -> str:
    """Return a trace id as X-Ray writes it: ``1-5759e988-bd862e3fe1be46a994272793``."""
    return f"1-{trace_id[:8]}-{trace_id[8:]}"
