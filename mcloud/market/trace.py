"""The trace context of a message (https://www.w3.org/TR/trace-context), made of what is in it.

The same body has the same trace and span id, wherever and whenever these are made: a message that
is sent again stays in its trace, anybody who has it can tell which that is, and no two machines
have to agree. The first eight digits are seconds since 1970, those of the message's last trade,
where X-Ray looks for a time; the rest is a SHA-256.
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
    trace_id: str
    """32 hex digits, not all of them 0."""
    span_id: str
    """Of whoever sent it: 16 hex digits, not all of them 0."""
    sampled: bool
    """Whether spans of it are to be recorded."""

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.sampled:02x}"


def derive(content: bytes, seconds: int, one_in: int) -> TraceParent:
    """The context of a message with this content, whose last trade is of ``seconds``.

    One message in ``one_in`` is sampled, which ones the trace id decides; 0 is none.
    """
    digest = hashlib.sha256(content).hexdigest()
    trace_id = f"{seconds % 2**32:08x}{digest[:24]}"
    sampled = one_in > 0 and int(digest[8:24], 16) % one_in == 0
    # A digest of nothing but zeros is as likely as finding another message's.
    return TraceParent(trace_id, digest[24:40], sampled)


def parse(text: str) -> TraceParent | None:
    """Read a ``traceparent``; None for one that is to be passed over, as W3C wants it."""
    match = _VALID.fullmatch(text)
    if match is None or match["version"] == "ff" or (match["version"] == "00" and match["more"]):
        return None
    if not match["trace"].strip("0") or not match["span"].strip("0"):
        return None
    return TraceParent(match["trace"], match["span"], bool(int(match["flags"], 16) & _SAMPLED))


def xray_id(trace_id: str) -> str:
    """A trace id as X-Ray writes it: ``1-5759e988-bd862e3fe1be46a994272793``."""
    return f"1-{trace_id[:8]}-{trace_id[8:]}"
