"""The places that files of trades are read from: a web server, a folder or a bucket.

A library finds a file by its name. Binance's own layout is known
(``data/spot/daily/trades/BTCUSDT/BTCUSDT-trades-2024-08-08.zip``), and so is a plain folder that
holds the files themselves.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.parse import urlsplit

from mcloud import http
from mcloud.backfill.dumps import Dump
from mcloud.errors import McloudError, Refused, Throttled, Unavailable, UsageError
from mcloud.http import KIB, HttpAnswer, HttpLimit
from mcloud.market.trade import SPOT, split_market

PUBLIC = "https://data.binance.vision"
"""URL at which Binance publishes its files."""

SUFFIXES = (".zip", ".csv.gz", ".csv")
PIECE = 8 * KIB * KIB  # bytes that one request fetches
LEAST = 256 * KIB
"""Bytes that a request for a piece has to bring in its time. A slow link is no failure, a silent
server is one."""
FETCH = HttpLimit(2 * PIECE, 120.0)
WHOLE = HttpLimit(512 * KIB * KIB, 3600.0)  # from a server that sends whole files only
SHORT = HttpLimit(64 * KIB, 20.0)

_CHECKSUM = re.compile(r"([0-9a-fA-F]{64})(?:\s+\*?(\S+))?\s*")
_RANGE = re.compile(r"bytes ([0-9]{1,15})-[0-9]{1,15}/([0-9]{1,15})")


@dataclass(frozen=True)
class FoundDump:
    """A file that exists."""

    dump: Dump
    where: str
    """Its URL or path."""
    size: int
    """Bytes."""
    tag: str
    """Changes with the content of the file: its ETag, or the time of its last change."""
    checksum: str | None = None
    """Published SHA-256 of the file, in hexadecimal; None if there is none."""

    @property
    def content(self) -> str:
        """Text that changes with the content of the file."""
        return self.checksum or f"{self.size} {self.tag}"


class Library(Protocol):
    """A place that files are read from. All methods may be called from several threads.

    They raise Unavailable or Refused if the place does not answer or refuses to.
    """

    name: str
    """URL or path of the place, without credentials."""
    copies: bool
    """Whether ``fetch`` writes a copy of a file on the disk of this machine."""

    def find(self, dump: Dump) -> FoundDump | None:
        """Return a file with its checksum, or None if there is no such file."""
        ...

    def fetch(self, found: FoundDump, folder: Path, note: Callable[[int], None]) -> Path:
        """Return the file on this machine. A fetch that was interrupted is continued.

        Args:
            folder: folder for the file, if it has to be fetched.
            note: called with each number of bytes that have arrived.
        """
        ...


def open_library(where: str) -> Library:
    """Return the library at a URL (``https``, ``http``, ``s3``, ``gs``) or in a folder.

    Raises:
        UsageError: there is no such folder, or the URL has another scheme.
    """
    scheme, separator, _ = where.partition("://")
    if not separator:
        return FolderLibrary(Path(where).expanduser())
    if scheme in ("http", "https"):
        return HttpLibrary(where)
    if scheme in ("s3", "gs"):
        return BucketLibrary(where)
    raise UsageError(
        f"--files cannot read {scheme}://", remedy="use https, http, s3, gs or a folder"
    )


def check(found: FoundDump, path: Path) -> None:
    """Compare a file on this machine with its published checksum.

    Raises:
        Refused: it has another content.
        Unavailable: it cannot be read.
    """
    with _reading(path), path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if found.checksum not in (None, digest):
        raise Refused(
            f"{found.where} does not have its published checksum: its SHA-256 is {digest}, and not"
            f" {found.checksum}",
            remedy="get both files again, or try again later",
        )


class HttpLibrary:
    """The files of a web server, fetched in pieces, so that a fetch can be continued."""

    copies = True

    def __init__(self, url: str) -> None:
        _check_url(url)
        self.name = url.rstrip("/")
        self._client = http.HttpClient(keep=16)

    def find(self, dump: Dump) -> FoundDump | None:
        for url in (f"{self.name}/{path}" for path in _relative(dump)):
            # A server may not allow HEAD. The answer to a range has the size, too.
            answer = self._client.ask("GET", url, http.REACH, headers={"Range": "bytes=0-0"})
            if answer.status in (404, 410):
                continue
            size = _size(answer)
            if size is None:
                raise _refusal(answer)
            tag = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
            return FoundDump(dump, url, size, tag, self._checksum(url))
        return None

    def _checksum(self, of: str) -> str | None:
        url = f"{of}.CHECKSUM"
        answer = self._client.ask("GET", url, SHORT)
        if answer.status in (404, 410):
            return None
        if answer.status != 200 or answer.cut:
            raise _refusal(answer)
        return _parse_checksum(answer.text, url)

    def fetch(self, found: FoundDump, folder: Path, note: Callable[[int], None]) -> Path:
        target, part = _targets(found, folder)
        if target.exists():
            return target
        with part.open("ab") as file:
            note(file.tell())
            while file.tell() < found.size:
                file.write(self._piece(found, file.tell()))
                file.flush()
                note(file.tell())
        part.replace(target)
        return target

    def _piece(self, found: FoundDump, first: int) -> bytes:
        last = min(first + PIECE, found.size) - 1
        headers = {"Range": f"bytes={first}-{last}"}
        if found.tag.startswith('"'):
            headers["If-Match"] = found.tag
        answer = self._client.ask("GET", found.where, FETCH, headers=headers)
        if answer.status == 200:
            if answer.cut:
                answer = self._client.ask("GET", found.where, WHOLE)
            if not answer.cut and len(answer.body) == found.size:
                return answer.body[first:]
        elif answer.status == 412 or _size(answer) not in (None, found.size):
            raise Unavailable(
                f"{found.where} has changed while it was read", remedy="run the command again"
            )
        # What came before an interruption is kept.
        least = LEAST if answer.cut else 1
        if _first(answer) == first and least <= len(answer.body) <= last - first + 1:
            return answer.body
        raise _refusal(answer)


class FolderLibrary:
    """The files in a folder and its subfolders."""

    copies = False

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UsageError(f"--files: there is no folder {folder}", remedy="check the path")
        self.name = str(folder)
        self._folder = folder

    @cached_property
    def _paths(self) -> dict[str, list[Path]]:
        paths = defaultdict(list)
        for path in sorted(self._folder.rglob("*")):
            if path.name.endswith(SUFFIXES) and path.is_file():
                paths[path.name].append(path)
        return paths

    def find(self, dump: Dump) -> FoundDump | None:
        for suffix in SUFFIXES:
            for path in self._paths.get(dump.name + suffix, ()):
                if _may_be_of(dump, path.relative_to(self._folder)):
                    return self._describe(dump, path)
        return None

    def _describe(self, dump: Dump, path: Path) -> FoundDump:
        listed, checksum = Path(f"{path}.CHECKSUM"), None
        with _reading(path):
            state = path.stat()
        with _reading(listed):
            if listed.is_file():
                checksum = _parse_checksum(listed.read_text(errors="replace"), str(listed))
        return FoundDump(dump, str(path), state.st_size, str(state.st_mtime_ns), checksum)

    def fetch(self, found: FoundDump, folder: Path, note: Callable[[int], None]) -> Path:
        note(found.size)
        return Path(found.where)


class BucketLibrary:
    """The files under a prefix of a bucket, read with the credentials of this machine.

    The URL may have the parameters of ``pyarrow.fs.FileSystem.from_uri``, such as ``region``.
    """

    copies = True

    def __init__(self, url: str) -> None:
        from pyarrow.fs import FileSystem

        self.name = url.partition("?")[0].rstrip("/")
        try:
            self._files, self._root = FileSystem.from_uri(url)
        except (ValueError, OSError) as error:
            raise UsageError(f"--files: {self.name} cannot be opened: {error}") from None

    def find(self, dump: Dump) -> FoundDump | None:
        paths = [f"{self._root}/{each}" for each in _relative(dump)]
        with self._reading():
            for info in self._files.get_file_info(paths):
                if info.is_file:
                    tag, checksum = str(info.mtime_ns), self._checksum(info.path)
                    return FoundDump(dump, info.path, info.size, tag, checksum)
        return None

    def _checksum(self, of: str) -> str | None:
        path = f"{of}.CHECKSUM"
        if not self._files.get_file_info(path).is_file:
            return None
        with self._files.open_input_stream(path) as file:
            return _parse_checksum(file.read().decode(errors="replace"), path)

    def fetch(self, found: FoundDump, folder: Path, note: Callable[[int], None]) -> Path:
        target, part = _targets(found, folder)
        if target.exists():
            return target
        with part.open("ab") as file:
            note(file.tell())
            for piece in self._pieces(found, file.tell()):
                # An error of this disk must not look like one of the bucket.
                file.write(piece)
                note(file.tell())
        part.replace(target)
        return target

    def _pieces(self, found: FoundDump, first: int) -> Iterator[bytes]:
        """Yield the content of a file from a byte on."""
        with self._reading():
            source = self._files.open_input_file(found.where)
        with source:
            while first < found.size:
                with self._reading():
                    source.seek(first)
                    piece = source.read(PIECE)
                if not piece:
                    raise Unavailable(
                        f"{found.where} has changed while it was read",
                        remedy="run the command again",
                    )
                yield piece
                first += len(piece)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # pyarrow raises an OSError for every answer of the store.
            raise Unavailable(
                f"{self.name} cannot be read: {error}", remedy="check its credentials and region"
            ) from None


def _check_url(url: str) -> None:
    """Raise UsageError if the files cannot be at a URL, or if it has a secret to be shown."""
    try:
        parts = urlsplit(url)
        is_valid = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_valid = False
    if not is_valid:
        raise UsageError("--files is not a valid URL", remedy="use one such as https://HOST/PATH")
    if parts.username is not None or parts.query or parts.fragment:
        raise UsageError(
            "--files cannot use a URL with a password or parameters",
            remedy="use one such as https://HOST/PATH, or download the files into a folder",
        )


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}") from None


def _relative(dump: Dump) -> Iterator[str]:
    """Yield the paths at which a library may hold a file."""
    for base in ("data/", ""):
        yield f"{base}{dump.folder}/{dump.name}.zip"
    for suffix in SUFFIXES:
        yield f"{dump.name}{suffix}"


def _may_be_of(dump: Dump, path: Path) -> bool:
    """Return whether the folders of a file do not show another market."""
    _, market = split_market(dump.symbol)
    shown = {SPOT, "um", "cm"} & {*path.parts[:-1]}
    return not shown or market in shown


def _targets(found: FoundDump, folder: Path) -> tuple[Path, Path]:
    """Return the path of a fetched file, and that of its beginning while it is fetched.

    The names have the tag, so that a file that has changed is fetched from its beginning.
    """
    version = hashlib.sha256(f"{found.where} {found.size} {found.tag}".encode()).hexdigest()[:12]
    name = PurePosixPath(found.where).name
    return folder / f"{version}-{name}", folder / f"{version}-{name}.part"


def _parse_checksum(text: str, where: str) -> str:
    match = _CHECKSUM.fullmatch(text)
    if match is None:
        raise Refused(f"{where} has no SHA-256 in it", remedy="report it to its publisher")
    return match[1].lower()


def _size(answer: HttpAnswer) -> int | None:
    """Return the size of the file that a server answers with, or None if it does not answer."""
    if answer.status == 206:
        match = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        return int(match[2]) if match else None
    length = answer.headers.get("Content-Length", "")
    return int(length) if answer.status == 200 and length.isdecimal() else None


def _first(answer: HttpAnswer) -> int | None:
    """Return the first byte of the part of a file that a server answers with."""
    match = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    return int(match[1]) if match and answer.status == 206 else None


def _refusal(answer: HttpAnswer) -> McloudError:
    # The path is left out, so that the same answer to many files is reported once.
    said = f"{answer.server} answered with {answer.status}"
    if answer.status in (418, 429):
        return Throttled(said, answer.retry_after or 60.0)
    if answer.cut:
        said = f"the answer of {answer.server} is incomplete: {answer.cut}"
    if answer.status >= 500 or answer.cut:
        return Unavailable(said, remedy="run the command again")
    if answer.status in (301, 302, 303, 307, 308):
        return Refused(f"{said}, a redirect", remedy="use --files with the URL that it leads to")
    if answer.status in (401, 403, 451):
        return Refused(said, remedy="use --files with a place that this machine may read")
    return Refused(said, remedy="check --files")
