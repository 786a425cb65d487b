"""Everything that mcloud raises on purpose.

McloudError                 what an operator can read: one sentence, and what to do about it
├── UsageError              the command line or a file given on it cannot be used       exit 2
│   └── ConfigError         mcloud.toml, .env or a variable is wrong
├── NotInOrder              done, and what was looked at is not as it should be         exit 3
├── Unavailable             a service did not answer, or answered that it cannot now; try again
│   └── Throttled           it said when it will: not before ``retry_after`` seconds have passed
├── Refused                 a service said no, and will again: access, name, quota
│   └── Damaged             what is stored there is not what anything of ours writes
├── Trimmed                 a store no longer remembers all changes since a position
├── Contention              a conditional write lost every one of its attempts
└── LocalError              the embedded clouds: a taken port, a missing extra, a child that died

Errors of an SDK become one of these inside ``mcloud.clouds``, once, at the border.
"""


class McloudError(Exception):
    """Base of all of them; ``remedy`` says what to do next and may be empty."""

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
