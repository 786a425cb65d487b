"""Posts JSON to a URL that may be a secret itself: no error and no answer contains it."""

import re
from typing import Any
from urllib.parse import urlsplit

from mcloud import http
from mcloud.errors import Refused, Throttled, Unavailable

SHOWN = 200  # maximum number of characters of an answer that are shown
MASK = "********"
# number of characters from which a segment of a path counts as a secret; `services` and `webhooks`
# do not
TOKEN = 9


def problem_with(url: str) -> str:
    """Return why a URL cannot be used, without the URL itself, or an empty string if it can."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return "is not a URL"
    if parts.scheme not in ("http", "https") or not host:
        return "is not an http or https URL"
    if parts.scheme == "http" and not is_loopback(url):
        return "must be https, because messages are confidential"
    return ""


def is_loopback(url: str) -> bool:
    return http.is_loopback(urlsplit(url).hostname)


def post(url: str, body: dict[str, Any], *secrets: str) -> str:
    """Post JSON. Return the answer as one line, without any of the secrets.

    A server that answers with a success has received the message, even if the rest of the answer
    fails. A second request would deliver it twice.

    Raises:
        Throttled: the server requests a pause.
        Unavailable: the server did not answer, or cannot process the message now; retry later.
        Refused: the server refused the message.
    """
    try:
        answer = http.ask("POST", url, http.WEBHOOK, document=body)
    except http.NoAnswer as error:
        reason = _shown(error.reason, url, secrets)
        raise Unavailable(f"{urlsplit(url).hostname} does not answer: {reason}") from None
    said = f"HTTP {answer.status} {_shown(answer.text, url, secrets)}".strip()
    if answer.cut:
        said += f" (the answer was cut: {answer.cut})"
    if answer.status == 429 or answer.status >= 500:
        if answer.retry_after is not None:
            raise Throttled(said, answer.retry_after)
        raise Unavailable(said)
    if not answer.ok:
        raise Refused(said)
    return said


def _shown(text: str, url: str, secrets: tuple[str, ...]) -> str:
    line = "".join(each for each in " ".join(text.split()) if each.isprintable())
    # Secrets are masked before the line is truncated, because a truncated secret would not be
    # found.
    return _masked(line, url, secrets)[:SHOWN]


def _masked(text: str, url: str, secrets: tuple[str, ...]) -> str:
    parts = urlsplit(url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    # A server may repeat only the token, which is one of these.
    tokens = (each for each in re.split("[/?&=;]", path) if len(each) >= TOKEN)
    # The longest secret is masked first: masking a part of a secret must not leave the rest of it
    # visible.
    for secret in sorted((url, path, parts.path, *tokens, *secrets), key=len, reverse=True):
        if len(secret) > 1:
            text = text.replace(secret, MASK)
    return text
