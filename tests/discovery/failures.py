"""Calls that fail because a test wants it."""

import fnmatch
import json
import re
from dataclasses import dataclass

from .names import Json
from .refusal import Refusal, error_info


@dataclass
class Failure:
    """A rule that makes calls fail.

    With ``operation``, the call itself is answered, and the operation that it starts fails.
    """

    method: str
    """Id of a method, or a pattern with ``*``."""
    status: int = 503
    message: str = "Injected failure."
    path: str = ""
    """Regular expression that is found in the path of the request."""
    body: str = ""
    """Regular expression that is found in the body of the request."""
    after: int = 0
    """Number of calls that are answered first."""
    times: int | None = None
    """Number of calls that fail; None for all."""
    reason: str = ""
    """Reason in the details of the error, such as SERVICE_DISABLED."""
    service: str = ""
    status_name: str = ""
    operation: Json | None = None
    """Error of the operation, with ``code`` and ``message``."""
    keeps: bool = True
    """Whether the resource is kept, in state FAILED, or is as it was before."""
    seen: int = 0
    used: int = 0

    def refusal(self, project_number: str) -> Refusal:
        """Return the error of a call."""
        info = error_info(self.reason, self.service, project_number)
        details = (info,) if self.reason else ()
        return Refusal(self.status, self.message, self.status_name, details)

    def applies(self, method: str, path: str, body: Json) -> bool:
        """Return whether a call fails, and count it."""
        if not fnmatch.fnmatchcase(method, self.method):
            return False
        if not re.search(self.path, path) or not re.search(self.body, json.dumps(body)):
            return False
        self.seen += 1
        if self.seen <= self.after or self.used == self.times:
            return False
        self.used += 1
        return True
