"""Files are found and fetched from folders, web servers and buckets."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from functools import partial
from pathlib import Path

import pytest
from buckets import bucket_url
from pyarrow.fs import FileSystem

from mcloud.backfill.dumps import Dump
from mcloud.backfill.libraries import (
    PIECE,
    BucketLibrary,
    FoundDump,
    _targets,
    check,
    open_library,
)
from mcloud.errors import Refused, Throttled, Unavailable, UsageError
from mcloud.local.exchange.thread import LocalExchange
from mcloud.local.state import State

from .files import publish, trades_of_day

DATE = date(2024, 8, 8)
DUMP = Dump("BTCUSDT", DATE, DATE)
TRADES = trades_of_day(DATE, 100)


@contextmanager
def exchange() -> Iterator[LocalExchange]:
    with LocalExchange(TRADES, history=86_400.0, wait_for=0) as server:
        server.wait_finished(30)
        yield server


def fetch(where: str, folder: Path, dump: Dump = DUMP) -> tuple[FoundDump, Path]:
    library = open_library(where)
    found = library.find(dump)
    assert found is not None
    return found, library.fetch(found, folder, lambda arrived: None)


def test_a_file_of_a_web_server_is_checked(tmp_path: Path) -> None:
    with exchange() as server:
        found, path = fetch(server.rest_url, tmp_path)
        check(found, path)
        assert found.size == path.stat().st_size
        path.write_bytes(path.read_bytes() + b"!")
        with pytest.raises(Refused, match="does not have its published checksum"):
            check(found, path)
        assert open_library(server.rest_url).find(Dump("ETHUSDT", DATE, DATE)) is None


def test_a_fetch_continues_where_it_stopped(tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    content = bytes(range(256)) * 100_000  # several pieces
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / f"{DUMP.name}.zip").write_bytes(content)
    arrived: list[int] = []

    def note(count: int) -> None:
        arrived.append(count)
        if count >= PIECE and len(arrived) == 2:
            raise Killed

    with serving(tmp_path / "public", ranges=True) as url:
        library = open_library(url)
        found = library.find(DUMP)
        assert found is not None
        with pytest.raises(Killed):
            library.fetch(found, tmp_path, note)
        path = library.fetch(found, tmp_path, arrived.append)
    assert path.read_bytes() == content
    assert arrived[:4] == [0, PIECE, PIECE, 2 * PIECE]


def test_what_came_before_an_interruption_is_kept(tmp_path: Path) -> None:
    content = bytes(range(256)) * 100_000
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / f"{DUMP.name}.zip").write_bytes(content)
    with serving(tmp_path / "public", ranges=True, most=3_000_000) as url:
        _, path = fetch(url, tmp_path)
        assert path.read_bytes() == content
    with (
        serving(tmp_path / "public", ranges=True, most=1_000) as url,
        pytest.raises(Unavailable, match="incomplete"),
    ):
        fetch(url, tmp_path / "public")


def test_a_file_that_changes_between_pieces_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "public" / f"{DUMP.name}.zip"
    file.parent.mkdir()
    file.write_bytes(bytes(3 * PIECE))

    def note(arrived: int) -> None:
        if arrived == PIECE:
            file.write_bytes(bytes(4 * PIECE))

    with serving(file.parent, ranges=True) as url:
        library = open_library(url)
        found = library.find(DUMP)
        assert found is not None
        with pytest.raises(Unavailable, match="has changed while it was read"):
            library.fetch(found, tmp_path, note)


def test_a_server_without_ranges_sends_the_whole_file(tmp_path: Path) -> None:
    folder = tmp_path / "public" / "data" / DUMP.folder
    publish(folder, DUMP.name, TRADES)
    with serving(tmp_path / "public", ranges=False) as url:
        found, path = fetch(url, tmp_path)
        check(found, path)
        assert found.checksum is not None


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        (403, Refused, "answered with 403; use --files"),
        (429, Throttled, "answered with 429"),
        (503, Unavailable, "answered with 503"),
    ],
)
def test_a_server_that_refuses_is_named(status: int, error: type[Exception], said: str) -> None:
    with (
        serving(Path("/nowhere"), ranges=False, status=status) as url,
        pytest.raises(error, match=said),
    ):
        open_library(url).find(DUMP)


def test_a_folder_may_have_the_layout_of_binance_or_none(tmp_path: Path) -> None:
    publish(tmp_path / "a" / DUMP.folder, DUMP.name, TRADES)
    publish(tmp_path / "b", DUMP.name, TRADES)
    for name in "ab":
        found, path = fetch(str(tmp_path / name), tmp_path)
        check(found, path)
        assert found.checksum
        assert path.parent != tmp_path
    # A file of another market has the same name.
    future = Dump("BTCUSDT.um", DATE, DATE)
    assert open_library(str(tmp_path / "a")).find(future) is None


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_a_bucket_is_read_like_a_server(
    tmp_path: Path, embedded: State, cloud: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = bucket_url(embedded, cloud, "published", monkeypatch)
    made = publish(tmp_path / "made", DUMP.name, TRADES)
    files, root = FileSystem.from_uri(url)
    for each in (made, made.with_name(f"{made.name}.CHECKSUM")):
        with files.open_output_stream(f"{root}/{each.name}") as file:
            file.write(each.read_bytes())
    found, path = fetch(url, tmp_path)
    check(found, path)
    assert found.checksum is not None


def test_what_is_no_file_is_not_found(tmp_path: Path) -> None:
    (tmp_path / f"{DUMP.name}.zip").mkdir()
    (tmp_path / f"{DUMP.name}.csv").symlink_to("/no/such/file")
    assert open_library(str(tmp_path)).find(DUMP) is None


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    publish(tmp_path, DUMP.name, TRADES)
    found, path = fetch(str(tmp_path), tmp_path)
    path.unlink()
    with pytest.raises(Unavailable, match="cannot be read: No such file"):
        check(found, path)


def test_a_full_disk_is_not_a_fault_of_the_bucket(tmp_path: Path) -> None:
    publish(tmp_path / "public", DUMP.name, TRADES)
    library = BucketLibrary(f"file://{tmp_path}/public")
    found = library.find(DUMP)
    assert found is not None
    _, part = _targets(found, tmp_path)
    part.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        library.fetch(found, tmp_path, lambda arrived: None)


@pytest.mark.parametrize(
    "where",
    [
        *("ftp://example.com", "/no/such/folder", "http://", "http://[::", "http://a:99999999"),
        *("https://user:secret@example.com", "https://example.com/?signature=secret"),
    ],
)
def test_another_place_is_a_usage_error(where: str) -> None:
    with pytest.raises(UsageError, match="--files") as caught:
        open_library(where)
    assert "secret" not in str(caught.value)


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files, and parts of them unless the server knows no ranges."""

    ranges: bool
    status: int
    most: int
    """Maximum number of bytes until the connection breaks."""

    def do_GET(self) -> None:
        if self.status:
            self.send_error(self.status)
            return
        path = Path(self.translate_path(self.path))
        wanted = self.headers.get("Range", "")
        if not self.ranges or not wanted or not path.is_file():
            super().do_GET()
            return
        content = path.read_bytes()
        first, last = (int(each) for each in wanted.removeprefix("bytes=").split("-"))
        part = content[first : last + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(part)))
        self.send_header("ETag", '"1"')
        self.end_headers()
        self.wfile.write(part[: self.most])
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(folder: Path, *, ranges: bool, status: int = 0, most: int = 1 << 40) -> Iterator[str]:
    handler = type("Handler", (_Handler,), {"ranges": ranges, "status": status, "most": most})
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(handler, directory=str(folder))
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
