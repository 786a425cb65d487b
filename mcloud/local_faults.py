"""Tells a fault of this machine from a fault of the service that it calls.

A guard moves the traffic away from a site that does not answer. It must not do so because this
machine cannot look up names, reach its proxy, trust certificates or open another file: a request
that was never sent says nothing about the service.
"""

import errno
import socket
import ssl
from collections.abc import Iterator

_NO_WAY_OUT = {
    errno.EADDRNOTAVAIL,
    errno.EMFILE,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.ENFILE,
    errno.ENOBUFS,
}
_NO_PROXY = {"ProxyError", "ProxyConnectionError"}  # of urllib3 and requests, and of botocore


def is_local(error: BaseException) -> bool:
    """Return whether this machine is the reason for an error of a request.

    Clients wrap the reason several times, so the causes and the arguments of the error are searched
    as well.
    """
    return any(_is_local_itself(each) for each in _reasons(error))


def _is_local_itself(error: BaseException) -> bool:
    if isinstance(error, socket.gaierror):
        # A name that exists without an address is a fault of the service, as on 2025-10-20, when
        # dynamodb.us-east-1.amazonaws.com had none (https://aws.amazon.com/message/101925/).
        return error.errno != getattr(socket, "EAI_NODATA", None)
    if isinstance(error, ssl.SSLCertVerificationError):  # a wrong clock, or missing certificates
        return True
    if any(kind.__name__ in _NO_PROXY for kind in type(error).__mro__):
        return True
    return isinstance(error, OSError) and error.errno in _NO_WAY_OUT


def _reasons(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        each = waiting.pop()
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        # urllib3 keeps it in `reason`, google.api_core in `cause`.
        waiting += [each.__cause__, each.__context__, *each.args]
        waiting += [getattr(each, name, None) for name in ("reason", "cause")]
