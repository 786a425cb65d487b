"""The versions of envelopes that a site's function can read, as the function itself notes them.

A function of an older release notes nothing, and reads version 1. A function renews its note while
messages come, so that producers notice within some twenty minutes if an older release replaces it.
"""

from dataclasses import dataclass
from typing import Annotated

from mcloud.documents import Between, Kind, Time


@dataclass(frozen=True)
class EnvelopeSupport:
    highest: Annotated[int, Between(1, 1_000)]
    """Newest version that it reads. It also reads all earlier versions."""
    at: Time
    """Time of the note in seconds since 1970, by the clock of the function."""


SUPPORT, ENVELOPES = Kind("function", EnvelopeSupport), "envelopes"
"""Kind and key of the document in the control store."""
