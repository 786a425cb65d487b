"""The lines of a file that may be compressed and may be damaged, in constant memory."""

import gzip
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import SEEK_END
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple, Protocol, cast

from mcloud.errors import UsageError

# A depth message of a thousand levels has 60 KB. A longer line does not belong to a recording.
MAX_LINE = 1 << 20

_CHUNK = 1 << 17
_BOM = b"\xef\xbb\xbf"


class _Stream(Protocol):
    def read1(self, size: int, /) -> bytes: ...


class Chunk(NamedTuple):
    """Consecutive lines of a file, with their line ends."""

    number: int
    """Number of the first line, counted from 1."""
    text: bytes
    is_cut: bool
    """Whether this is the part of a line before damaged data."""


class Lines:
    """``(number, line)`` for each line of a plain, gzip or zip file, counted from 1.

    The line ends are removed. A line above MAX_LINE bytes is truncated to MAX_LINE + 1. If the
    compressed data is damaged, ``truncated`` has the reason, and only the part of a line before the
    damage is returned.

    Raises (when iterated):
        UsageError: the file cannot be opened, or is a zip that does not contain exactly one file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.member: str | None = None
        """The name of the file inside the zip, once it is open."""
        self.truncated: str | None = None
        self._damage: tuple[str, str] | None = None
        self._size = 0
        """Bytes of the content, or of the file if its content has no known size."""
        self._passed = 0
        """Those of them that were read."""

    @property
    def share(self) -> float | None:
        """Share of the content that was read, from 0 to 1; None if its size is unknown. It is
        approximate for a gzip file of several members.
        """
        return min(1.0, self._passed / self._size) if self._size else None

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        number = 0
        rest = b""
        overlong = False
        self._passed = 0
        with self._open() as (stream, position):
            while chunk := self._read(stream):
                if number == 0 and not rest:
                    chunk = chunk.removeprefix(_BOM)
                *whole, rest = (rest + chunk).split(b"\n")
                if position is not None:
                    self._passed = position()
                for line in whole:
                    self._passed += len(line) + 1 if position is None else 0
                    if overlong:
                        overlong = False
                        continue
                    number += 1
                    yield number, line[: MAX_LINE + 1].rstrip(b"\r")
                if overlong:
                    rest = b""
                elif len(rest) > MAX_LINE:
                    number += 1
                    yield number, rest[: MAX_LINE + 1]
                    rest = b""
                    overlong = True
            self._end(number)
        if rest and not overlong:
            yield number + 1, rest.rstrip(b"\r")

    def chunks(self, size: int, count_lines: Callable[[bytes], int]) -> Iterator[Chunk]:
        """Yield the lines in chunks of about ``size`` bytes, for readers of many lines at once.

        A line above ``size`` bytes is truncated to MAX_LINE + 1 bytes, and a line feed.

        Args:
            size: bytes of a chunk, more than MAX_LINE.
            count_lines: returns the number of line feeds in a text.

        Raises:
            UsageError: as when iterated.
        """
        number = 0
        rest = b""
        overlong = False
        self._passed = 0
        with self._open() as (stream, position):
            while parts := self._gather(stream, size):
                if number == 0 and not rest:
                    parts[0] = parts[0].removeprefix(_BOM)
                self._passed += sum(map(len, parts))
                if position is not None:
                    self._passed = position()
                while overlong and parts:
                    _, newline, parts[0] = parts[0].partition(b"\n")
                    overlong = not newline
                    if overlong:
                        parts.pop(0)
                if not parts:
                    continue
                # Each part is copied once.
                end = parts[-1].rfind(b"\n") + 1
                if end:
                    after, parts[-1] = parts[-1][end:], parts[-1][:end]
                    text, rest = b"".join((rest, *parts)), after
                else:
                    whole = b"".join((rest, *parts))
                    end = whole.rfind(b"\n") + 1
                    text, rest = whole[:end], whole[end:]
                if text:
                    yield Chunk(number + 1, text, is_cut=False)
                    number += count_lines(text)
                if len(rest) > size:
                    yield Chunk(number + 1, rest[: MAX_LINE + 1] + b"\n", is_cut=False)
                    number += 1
                    rest = b""
                    overlong = True
            self._end(number)
        if rest:
            yield Chunk(number + 1, rest, is_cut=self.truncated is not None)

    def _gather(self, stream: _Stream, size: int) -> list[bytes]:
        """Return about ``size`` bytes in parts, fewer at the end, and none behind it."""
        parts: list[bytes] = []
        while size > 0 and not self._damage and (part := self._read(stream)):
            parts.append(part)
            size -= len(part)
        return parts

    def _read(self, stream: _Stream) -> bytes:
        # read1 is used, because a longer read would lose its data when it reaches the damage.
        try:
            return stream.read1(_CHUNK)
        except EOFError:
            self._damage = "the compressed data is cut short after line", ""
        except (zlib.error, lzma.LZMAError, zipfile.BadZipFile, OSError) as error:
            self._damage = "the data cannot be read after line", f": {error}"
        return b""

    def _end(self, number: int) -> None:
        """Report damage behind this line."""
        if self._damage:
            what, why = self._damage
            self.truncated = f"{what} {number}{why}"

    @contextmanager
    def _open(self) -> Iterator[tuple[_Stream, Callable[[], int] | None]]:
        """Yield the content, and how to get the position in the file if the content has no known
        size.
        """
        path = self.path
        if not path.exists():
            raise UsageError(f"there is no file {path}", remedy="check the path")
        if not path.is_file():
            raise UsageError(f"{path} is not a file", remedy="use a recording, not a folder")
        try:
            file = path.open("rb")
        except OSError as error:
            raise UsageError(
                f"{path} cannot be opened: {error.strerror}", remedy="check its permissions"
            ) from None
        with file:
            magic = file.read(4)
            self._size = packed = file.seek(0, SEEK_END)
            if magic.startswith(b"\x1f\x8b"):
                self._size = max(packed, _gzip_size(file))
                file.seek(0)
                with gzip.GzipFile(fileobj=file) as stream:
                    yield stream, file.tell if self._size == packed else None
            elif magic in (b"PK\x03\x04", b"PK\x05\x06"):
                with self._open_member(file) as member:
                    yield member, None
            else:
                file.seek(0)
                yield file, None

    @contextmanager
    def _open_member(self, file: IO[bytes]) -> Iterator[_Stream]:
        try:
            archive = zipfile.ZipFile(file)
            names = [info.filename for info in archive.infolist() if _is_data(info)]
            if len(names) != 1:
                raise UsageError(
                    f"{self.path} holds {len(names)} files, not one",
                    remedy="unpack it and use the file to replay",
                )
            member = cast(zipfile.ZipExtFile, archive.open(names[0]))
        except zipfile.BadZipFile as error:
            raise UsageError(
                f"{self.path} is not a readable zip file ({error})", remedy="download it again"
            ) from None
        except RuntimeError as error:
            # zipfile raises these errors for a password and for an unknown compression.
            raise UsageError(
                f"{self.path} cannot be unpacked: {error}", remedy="unpack it with another tool"
            ) from None
        self.member = names[0]
        self._size = archive.getinfo(names[0]).file_size
        with archive, member:
            yield member


def _gzip_size(file: IO[bytes]) -> int:
    """Return the size that the end of a gzip file gives for its content.

    It is that of the last member only, and modulo 4 GiB (RFC 1952). A size below that of the file
    is therefore not that of its content.
    """
    if file.seek(0, SEEK_END) < 4:
        return 0
    file.seek(-4, SEEK_END)
    return int.from_bytes(file.read(4), "little")


def _is_data(member: zipfile.ZipInfo) -> bool:
    """Return whether a member of a zip is data and not metadata.

    Binance adds a checksum to a file, and macOS a folder of metadata.
    """
    path = PurePosixPath(member.filename)
    return not (
        member.is_dir()
        or path.suffix.upper() == ".CHECKSUM"
        or path.parts[0] == "__MACOSX"
        or path.name.startswith(".")
    )
