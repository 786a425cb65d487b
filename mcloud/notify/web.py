"""Posting JSON to an address that may itself be a secret: no error and no answer tells it."""

import re
from typing import Any
from urllib.parse import urlsplit

from mcloud.errors import McloudError, Refused, Unavailable

TIMEOUTS = (3.0, 5.0)  # seconds to connect, and between two pieces of the answer
SHOWN = 200  # characters of an answer
MASK = "********"
TOKEN = 9  # characters from which a piece of a path is a secret; `services` and `webhooks` are none

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def problem_with(url: str) -> str:
    """Why nothing can be posted there, without the URL itself; empty where it can."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return "is no URL"
    if parts.scheme not in ("http", "https") or not host:
        return "is no http or https URL"
    if parts.scheme == "http" and not is_loopback(url):
        return "must be https: what is sent there is for nobody else"
    return ""


def is_loopback(url: str) -> bool:
    return urlsplit(url).hostname in _LOOPBACK


def post(url: str, body: dict[str, Any], *secrets: str) -> str:
    """Post JSON; returns the answer as one line, with none of the secrets in it.

    Raises:
        Unavailable: nobody answered, or not now: try again.
        Refused: the answer was a no.
    """
    import requests

    try:
        # A redirect would take the event to somewhere that nobody has named.
        answer = requests.post(url, json=body, timeout=TIMEOUTS, allow_redirects=False)
    except OSError as error:  # RequestException among them
        raise _failure(error, url, secrets) from None  # the original one quotes the URL
    said = f"HTTP {answer.status_code} {_shown(answer.text, url, secrets)}".strip()
    if answer.status_code == 429 or answer.status_code >= 500:
        raise Unavailable(said)
    if not 200 <= answer.status_code < 300:
        raise Refused(said)
    return said


def _failure(error: OSError, url: str, secrets: tuple[str, ...]) -> McloudError:
    import requests

    from mcloud.clouds.access import SETTINGS, innermost

    host = urlsplit(url).hostname
    if isinstance(error, requests.Timeout):
        return Unavailable(f"{host} does not answer in time")
    if isinstance(error, requests.ConnectionError):
        reason = _shown(innermost(error), url, secrets)
        return Unavailable(f"{host} cannot be reached: {reason}")
    if not isinstance(error, requests.RequestException):
        return Refused(f"{host}: {error}", remedy=SETTINGS)
    return Refused(f"{host}: {type(error).__name__}")


def _shown(text: str, url: str, secrets: tuple[str, ...]) -> str:
    line = "".join(each for each in " ".join(text.split()) if each.isprintable())
    # Masked before it is cut: what a cut leaves of a secret is no longer found.
    return _masked(line, url, secrets)[:SHOWN]


def _masked(text: str, url: str, secrets: tuple[str, ...]) -> str:
    parts = urlsplit(url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    # A server may tell the token alone, which is one of these.
    tokens = (each for each in re.split("[/?&=;]", path) if len(each) >= TOKEN)
    # The longest first: a piece of one must not hide the rest of it.
    for secret in sorted((url, path, parts.path, *tokens, *secrets), key=len, reverse=True):
        if len(secret) > 1:
            text = text.replace(secret, MASK)
    return text
