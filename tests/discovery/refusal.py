"""Answers that are errors, in the form of Google's APIs."""

from .names import Json, camel

STATUS_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    412: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
}


class Refusal(Exception):
    """An error that is sent as the answer."""

    def __init__(
        self, code: int, message: str, status: str = "", details: tuple[Json, ...] = ()
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status or STATUS_NAMES.get(code, "UNKNOWN")
        self.details = details

    def body(self) -> Json:
        """Return the body of the answer."""
        disabled = any(detail.get("reason") == "SERVICE_DISABLED" for detail in self.details)
        # What the older APIs said before there were details; clients still read it.
        domain, reason = (
            ("usageLimits", "accessNotConfigured")
            if disabled
            else ("global", camel(self.status.lower()))
        )
        error: Json = {
            "code": self.code,
            "message": self.message,
            "status": self.status,
            "errors": [{"message": self.message, "domain": domain, "reason": reason}],
        }
        if self.details:
            error["details"] = list(self.details)
        return {"error": error}


def invalid(message: str) -> Refusal:
    """Return the refusal of a request whose values are wrong."""
    return Refusal(400, message)


def precondition(message: str) -> Refusal:
    """Return the refusal of a request that does not fit the state of the resource."""
    return Refusal(400, message, "FAILED_PRECONDITION")


def missing(message: str) -> Refusal:
    return Refusal(404, message)


def error_info(reason: str, service: str, project_number: str) -> Json:
    """Return the detail that gives the reason in a form for programs."""
    return {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": "googleapis.com",
        "metadata": {"service": service, "consumer": f"projects/{project_number}"},
    }
