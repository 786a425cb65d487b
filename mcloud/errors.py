"""The errors of mcloud. Each has one sentence for the operator, and a remedy if one is known.

McloudError                 the base class                                          exit code 1
├── UsageError              the command line, or a file that it names, is invalid   exit code 2
│   └── ConfigError         mcloud.toml, .env or a variable is invalid
├── NotInOrder              the command has finished, and has found a problem       exit code 3
├── Unavailable             a service did not answer, or cannot answer now; a retry may succeed
│   └── Throttled           the service accepts no request for ``retry_after`` seconds
├── Refused                 a service refuses the request, and a retry would be refused too
│   └── DamagedData         the stored data is not in a form that mcloud writes
├── Trimmed                 a store no longer has all changes since a position
├── Contention              other writers were faster in every attempt at a conditional write
└── LocalError              a fault of the embedded clouds, such as a port in use

The adapters in ``mcloud.clouds`` convert the errors of an SDK into these.
"""


class McloudError(Exception):
    """Base class of all errors. ``remedy`` says what to do next, and may be empty."""

    exit_code = 1

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}" if self.remedy else self.message


class UsageError(McloudError):
    exit_code = 2


class ConfigError(UsageError):
    pass


class NotInOrder(McloudError):
    exit_code = 3


class Unavailable(McloudError):
    """``is_local`` is true for a fault of this machine, such as its credentials, its name
    resolution or its proxy. It says nothing about the service."""

    def __init__(self, message: str, *, remedy: str = "", is_local: bool = False) -> None:
        super().__init__(message, remedy=remedy)
        self.is_local = is_local


class Throttled(Unavailable):
    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message, remedy=f"try again in {retry_after:.0f} s")
        self.retry_after = retry_after


class Refused(McloudError):
    pass


class DamagedData(Refused):
    pass


class Trimmed(McloudError):
    pass


class Contention(McloudError):
    pass


class LocalError(McloudError):
    pass


def shows_outage(error: BaseException) -> bool:
    """Return whether an error of a call to a service counts as an outage of the service.

    A refusal is about the caller, as with expired credentials, and so is a fault of this machine.
    """
    if isinstance(error, Unavailable):
        return not error.is_local
    return isinstance(error, TimeoutError)


def reason_of(error: BaseException) -> str:
    """Return the text of an error, or its name if it has none. A reason is never empty."""
    return str(error) or type(error).__name__
