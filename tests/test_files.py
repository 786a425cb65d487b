"""A file is written completely or not at all."""

import errno
import os
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mcloud import files
from mcloud.errors import McloudError


@contextmanager
def small_disk() -> Iterator[None]:
    """Limit all files to 8 bytes, including the one that pytest may print to."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("content", ["größer\n", b"\x00\xff"])
def test_replaces_a_file(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "file"
    files.write(path, "before")
    files.write(path, content)
    assert path.read_bytes() == (content if isinstance(content, bytes) else content.encode())
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_content_is_kept_on_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write(path, "before")
    with (
        small_disk(),
        pytest.raises(McloudError, match="file cannot be written: File too large"),
    ):
        files.write(path, "longer than that")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_with_the_name_of_the_file_is_left_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    with pytest.raises(McloudError, match="folder cannot be written: Is a directory"):
        files.write(path, "")
    assert list(tmp_path.iterdir()) == [path]


def test_adds_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.append(path, "one\n")
    files.append(path, "two\nthree\n", durable=False)
    assert path.read_text() == "one\ntwo\nthree\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_line_after_a_truncated_one_starts_on_a_new_line(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with (
        small_disk(),
        pytest.raises(McloudError, match="file cannot be written: No space left on device"),
    ):
        files.append(path, "longer than that\n")
    assert path.read_text() == "longer t"
    files.append(path, "more\n")
    assert path.read_text() == "longer t\nmore\n"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device; free some"),
        (OSError(errno.EMFILE, "Too many open files"), r"Too many open files; .*`ulimit -n 4096`"),
        (
            PermissionError(errno.EACCES, "Permission denied", "/x/y"),
            "/x/y: Permission denied",
        ),
        (
            OSError(errno.EROFS, "Read-only file system", "/x"),
            "/x: Read-only .*MCLOUD_STATE",
        ),
    ],
)
def test_errors_of_the_machine_are_explained(error: OSError, said: str) -> None:
    assert re.match(said, str(files.refusal(error)))


@pytest.mark.parametrize(
    "error", [ValueError("x"), FileNotFoundError(2, "none", "/x"), PermissionError(13, "no port")]
)
def test_other_errors_stay_unexplained(error: Exception) -> None:
    assert files.refusal(error) is None


def test_folders_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        files.make_private(tmp_path / "a" / "b" / "c")
    finally:
        os.umask(before)
    made = [tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "c"]
    assert [path.stat().st_mode & 0o777 for path in made] == [0o700] * 3
    files.make_private(made[-1], tmp_path)


def test_a_full_disk_is_reported_before_the_work_begins(tmp_path: Path) -> None:
    files.check_room(tmp_path, 1)
    with pytest.raises(McloudError, match=f"the disk of {tmp_path} is full: [0-9,]+ KiB are left"):
        files.check_room(tmp_path, 2**62)
