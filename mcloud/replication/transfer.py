"""Have a service of the target's cloud copy the raw trades of a restoration.

The direct engine copies the candles and whatever the service leaves out. The name of the transfer
is kept in a file, so that the next run after an interruption waits for the same transfer. While the
name is not known yet, the file holds the token with which the transfer was started.
"""

import re
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from mcloud import files
from mcloud.clouds.factory import open_transfer
from mcloud.clouds.resources import AwsResources, Resources
from mcloud.clouds.transfer import DONE, FOLDERS, GONE, RUNNING, Transfer, Transferred
from mcloud.errors import McloudError, Refused, Unavailable, UsageError
from mcloud.market.archive import prefix
from mcloud.market.block import block_prefix

POLL = 10.0  # seconds
PATIENCE = 30  # maximum number of consecutive polls that may fail

_OVER = "over"  # in place of a name: the transfer has ended
_BEGUN = "begun with "  # before a token: the name is not known yet
_DIRECT = "use `--engine direct`"
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/\S+")


def choose(source: Resources, target: Resources, role: str | None) -> Transfer:
    """Return the service that copies from the bucket of one site to that of the other.

    Raises:
        McloudError: no service copies between these sites.
        UsageError: the role is missing or invalid.
    """
    for each in (source, target):
        if _is_embedded(each):
            raise McloudError("embedded clouds have no transfer service", remedy=_DIRECT)
    if type(source) is type(target):
        raise McloudError(
            "the transfer services only copy between S3 and Cloud Storage, and both sites are in"
            " the same cloud",
            remedy=_DIRECT,
        )
    if role is None:
        raise UsageError(
            "the engine transfer-service needs --role-arn, the AWS role with which the service"
            " accesses the S3 bucket"
        )
    if not _ROLE.fullmatch(role):
        raise UsageError(
            f"invalid --role-arn {role!r}; use the form arn:aws:iam::ACCOUNT:role/NAME"
        )
    found = open_transfer(source, target, role)
    assert found is not None  # the sites are in two different clouds
    return found


def _is_embedded(site: Resources) -> bool:
    if isinstance(site, AwsResources):
        return bool(site.endpoint_url)
    return bool(site.storage_endpoint or site.pubsub_endpoint or site.firestore_endpoint)


def folders_of(hours: Iterable[tuple[str, int]]) -> list[str]:
    """Return key prefixes that contain these hours of symbols.

    The prefixes are those of days and blocks, or of whole symbols if these are too many.

    Raises:
        McloudError: there are too many symbols for one transfer.
    """
    hours = list(hours)
    days = {prefix(*hour).partition("hour=")[0] for hour in hours}
    days |= {block_prefix(symbol) for symbol, _ in hours}
    if len(days) <= FOLDERS:
        return sorted(days)
    symbols = sorted({prefix(symbol) for symbol, _ in hours})
    if len(symbols) > FOLDERS:
        raise McloudError(
            f"a transfer can copy at most {FOLDERS:,} symbols, and {len(symbols):,} are selected",
            remedy="select fewer symbols with --symbols",
        )
    return symbols


class HandedOver:
    """One run of a transfer service, whose name is kept in the file ``path``."""

    def __init__(
        self,
        transfer: Transfer,
        path: Path,
        make_token: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._transfer = transfer
        self._path = path
        self._make_token = make_token

    def run(self, hours: Sequence[tuple[str, int]], tell: Callable[[str], None]) -> Transferred:
        """Copy the raw trades of these hours, or wait for the transfer that was already started.

        The ``error`` of the result describes resources that could not be removed afterwards.

        Raises:
            Unavailable: the service is unavailable; the next call waits for the same transfer.
            McloudError: the transfer failed; the next call starts a new one.
        """
        name = self._name()
        if name == _OVER:
            return Transferred(DONE)
        found = self._wait(name, tell) if name else Transferred(GONE)
        if found.state == GONE:
            if not hours:  # the service would copy everything without a list of folders
                return Transferred(DONE)
            token = self._make_token()
            files.write(self._path, _BEGUN + token)
            name = self._transfer.start(folders_of(hours), token)
            files.write(self._path, name)
            found = self._wait(name, tell)
        left = self._remove(name)
        if found.state != DONE:
            self._path.unlink()
            raise McloudError(
                f"{self._transfer.service}: the transfer {name} is {found.state} after"
                f" {found.objects:,} objects, {found.failed:,} were not copied:"
                f" {found.error or 'no reason is given'}" + (f"; {left}" if left else ""),
                remedy=f"fix the cause and run the command again, or {_DIRECT}",
            )
        files.write(self._path, _OVER)
        return replace(found, error=left)

    def forget(self) -> None:
        """Forget the transfer, so that the next call of ``run`` starts a new one."""
        name = self._name()
        if name and name != _OVER:
            self._remove(name)
        self._path.unlink(missing_ok=True)

    def _remove(self, name: str) -> str:
        """Remove a transfer from the service. Return the error, or an empty string."""
        try:
            self._transfer.end(name)
        except (Refused, Unavailable) as error:
            return f"the resources of the transfer {name} cannot be removed: {error.message}"
        return ""

    def _wait(self, name: str, tell: Callable[[str], None]) -> Transferred:
        silent = 0
        while True:
            try:
                found = self._transfer.look(name)
            except Unavailable as error:
                silent += 1
                if silent >= PATIENCE:
                    raise Unavailable(
                        error.message,
                        remedy="the transfer continues; run the command again to wait for it",
                    ) from error
                tell(f"{self._transfer.service} does not answer; the transfer continues")
            else:
                silent = 0
                failed = f", {found.failed:,} failed" if found.failed else ""
                tell(f"{found.objects:,} raw objects, {found.bytes:,} bytes{failed}")
                if found.state != RUNNING:
                    return found
            time.sleep(POLL)

    def _name(self) -> str:
        """Return the name of the transfer that was started, ``_OVER``, or "" if there is none."""
        try:
            name = self._path.read_text(errors="replace")
        except FileNotFoundError:
            return ""
        if name.startswith(_BEGUN):
            name = self._transfer.find(name.removeprefix(_BEGUN))
            files.write(self._path, name)
        return name
