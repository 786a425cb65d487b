"""A spool whose file, log or disk is damaged."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from mcloud.errors import McloudError, Unavailable
from mcloud.producer.cursor import Hole, Position
from mcloud.producer.spool import Pending, Spool

from .spools import (
    SITES,
    as_left_by_a_crash,
    bodies,
    drain,
    entry,
    environment,
    fill,
    flip,
    position,
)

FRAME = 24 + 4096  # bytes of a page in the log, with its header
LOG_HEADER = 32

# The spool's file reaches a limit of the operating system, which is then removed.
FULL_DISK = """
import resource, sys
from pathlib import Path
from mcloud.errors import Unavailable
from mcloud.producer.spool import Spool
from tests.producer.spools import entry, position

with Spool.open(Path(sys.argv[1]), ["aws"]) as spool:
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, unlimited[1]))
    written = 0
    while True:
        entries = [entry(written + n, sites=["aws"], size=9_000) for n in range(5)]
        try:
            spool.append(entries, [position(written + 5)])
        except Unavailable as caught:
            error = caught
            break
        written += 5
    assert spool.pending("aws").messages == written > 0
    assert spool.resume_points() == [position(written)]
    resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    spool.append(entries, [position(written + 5)])
    print(written + 5, error)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "0" / "spool"


def test_a_truncated_log_loses_messages_and_positions_together(path: Path, tmp_path: Path) -> None:
    ends = set()
    with Spool.open(path, SITES) as spool:
        fill(spool, range(8))
        log = path.with_name("spool-wal").stat().st_size
        frames = range(LOG_HEADER, log, FRAME)
        lengths = [0, LOG_HEADER - 1, *(each + cut for each in frames for cut in (0, 30, 4000))]
        for number, length in enumerate(lengths):
            copy = as_left_by_a_crash(path, tmp_path / f"{number + 1}")
            with copy.with_name("spool-wal").open("r+b") as file:
                file.truncate(length)
            with Spool.open(copy, SITES) as left:
                assert left.set_aside is None
                (end,) = [each.next_id for each in left.resume_points()] or [0]
                assert drain(left, "aws") == drain(left, "gcp") == bodies(range(end))
                ends.add(end)
    assert ends == set(range(8))


def truncate(path: Path, random: Random) -> None:
    with path.open("r+b") as file:
        file.truncate(random.randrange(path.stat().st_size))


def flip_one(path: Path, random: Random) -> None:
    flip(path, random.randrange(path.stat().st_size))


def overwrite(path: Path, random: Random) -> None:
    with path.open("r+b") as file:
        file.seek(random.randrange(path.stat().st_size // 4096) * 4096)
        file.write(random.randbytes(4096))


@pytest.mark.parametrize("damage", [truncate, flip_one, overwrite])
@pytest.mark.parametrize("name", ["spool", "spool-wal"])
def test_damage_at_any_byte_is_detected_or_harmless(
    name: str, damage: Callable[[Path, Random], None], path: Path, tmp_path: Path
) -> None:
    """After a checkpoint with some deliveries, the log has old pages and the file has new ones."""
    random = Random(f"{name} {damage.__name__}")
    delivered = {}
    with Spool.open(path, SITES) as spool:
        for id_ in range(700):
            fill(spool, [id_], size=8_000)
            if id_ % 3:
                settle_next(spool, "aws")
            if id_ % 2 and id_ < 300:
                settle_next(spool, "gcp")
        for site in SITES:
            left = spool.pending(site).messages
            delivered[site] = set(bodies(range(700 - left)))
        crashed = as_left_by_a_crash(path, tmp_path / "crashed")
    for number in range(25):
        copy = as_left_by_a_crash(crashed, tmp_path / f"{number}-")
        damage(copy.with_name(name), random)
        with Spool.open(copy, SITES) as spool:
            (reached,) = [each.next_id for each in spool.resume_points()] or [0]
            for site in SITES:
                found = drain(spool, site)
                assert found == [body for body in bodies(range(700)) if body in set(found)]
                assert set(bodies(range(reached))) <= {*found, *delivered[site]}
            fill(spool, [reached])
            assert drain(spool, "aws") == bodies([reached])


def settle_next(spool: Spool, site: str) -> None:
    spool.settle(site, [each.id for each in spool.take(site, 1)])


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE message SET body = X'00' WHERE id = 2",
        "UPDATE message SET attributes = CAST(X'FF' AS TEXT) WHERE id = 2",
        "UPDATE message SET trades = 'many' WHERE id = 2",
        "DELETE FROM message WHERE id = 2",
        "DELETE FROM owed WHERE message = 2",
        "UPDATE owed SET site = 3 WHERE message = 2 AND site = 1",
        "UPDATE site SET name = 'azure' WHERE number = 2",
        "UPDATE position SET next_id = 7",
        "DELETE FROM position",
        "DELETE FROM ledger",
        "INSERT INTO ledger VALUES (0)",
        "DROP TABLE owed",
        "PRAGMA application_id = 1",
    ],
)
def test_a_file_that_is_not_as_written_is_set_aside_and_delivery_starts_at_the_watermark(
    statement: str, path: Path
) -> None:
    with Spool.open(path, SITES) as spool:
        fill(spool, range(5))
        settle_next(spool, "aws")
        settle_next(spool, "gcp")
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(statement)
    with Spool.open(path, SITES) as spool:
        assert spool.set_aside == path.with_name("spool.corrupt-1")
        assert spool.damage
        assert spool.resume_points() == [position(1)]
        assert spool.pending("aws") == Pending(0, 0, 0, None)
        fill(spool, range(1, 4))
        assert drain(spool, "gcp") == bodies(range(1, 4))
    with closing(sqlite3.connect(spool.set_aside)) as db:
        assert db.execute("SELECT COUNT(*) FROM message").fetchone()[0] >= 3


def test_a_spool_of_a_newer_version_is_left_alone(path: Path) -> None:
    with Spool.open(path, SITES) as spool:
        fill(spool, range(5))
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 2")
    with pytest.raises(McloudError, match=r"newer mcloud.*upgrade this mcloud"):
        Spool.open(path, SITES)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (2,)
        assert db.execute("SELECT COUNT(*) FROM message").fetchone() == (5,)
    assert not list(path.parent.glob("*.corrupt-*"))


def test_a_file_of_something_else_is_set_aside_with_its_log_and_never_deleted(path: Path) -> None:
    path.parent.mkdir()
    for number in (1, 2):
        path.write_text(f"dear diary {number}" * 99)
        path.with_name("spool-wal").write_text("and more")
        with Spool.open(path, SITES) as spool:
            assert spool.set_aside == path.with_name(f"spool.corrupt-{number}")
            assert spool.damage == "file is not a database"
            assert spool.resume_points() == []
    for number in (1, 2):
        assert (
            path.with_name(f"spool.corrupt-{number}").read_text().startswith(f"dear diary {number}")
        )
        assert path.with_name(f"spool.corrupt-{number}-wal").read_text() == "and more"


def test_a_new_file_begins_at_the_watermark_also_after_a_deletion(path: Path) -> None:
    holes = Hole("BTCUSDT", 3, 4, 0), Hole("BTCUSDT", 7, 8, 0), Hole("BTCUSDT", 11, 11, 0)
    with Spool.open(path, SITES) as spool:
        spool.append([entry(0, 2)], [Position("BTCUSDT", 0, 3)])
        drain(spool, "gcp")
        drain(spool, "aws")
        spool.append([entry(5, 6), entry(9, 12)], [Position("BTCUSDT", 0, 13, holes)])
        spool.append([entry(5, symbol="ETHUSDT")], [Position("ETHUSDT", 5, 6)])
        drain(spool, "aws")
        settle_next(spool, "gcp")
    expected = [Position("BTCUSDT", 0, 9, holes[:2]), Position("ETHUSDT", 5, 5)]
    for _ in range(2):
        path.unlink()
        with Spool.open(path, SITES) as spool:
            assert spool.resume_points() == expected
            assert spool.set_aside is None


def test_the_watermark_is_renewed_each_second_and_at_once_for_a_new_symbol(path: Path) -> None:
    now = 0.0
    with Spool.open(path, ["aws"], clock=lambda: now) as spool:
        mark = path.with_name("spool.delivered")

        def written() -> list[str]:
            spool.append([], [])
            return [word for word in mark.read_text().split('"') if word.endswith("USDT")]

        spool.append([], [position(1)])
        assert written() == ["BTCUSDT"]
        spool.append([], [position(9, "ETHUSDT")])
        assert written() == ["BTCUSDT", "ETHUSDT"]
        before = mark.read_text()
        now = 0.9
        spool.append([], [position(5)])
        assert mark.read_text() == before
        now = 1.0
        spool.append([], [position(6)])
        assert "6" in mark.read_text()
        before = mark.read_text()
        spool.append([], [position(7)])
        assert mark.read_text() == before
    assert mark.read_text() != before


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "not UTF-8"])
def test_a_damaged_watermark_is_no_watermark(damage: str, path: Path) -> None:
    with Spool.open(path, SITES) as spool:
        fill(spool, range(3))
    mark = path.with_name("spool.delivered")
    text = mark.read_bytes()
    damaged = {
        "flip": text.replace(b"BTC", b"BTD"),
        "truncate": text[:-4],
        "empty": b"",
        "not UTF-8": text[:20] + b"\xff" + text[21:],
    }
    mark.write_bytes(damaged[damage])
    with Spool.open(path, SITES) as spool:
        assert spool.resume_points() == [position(3)]
    mark.write_bytes(damaged[damage])
    path.unlink()
    with Spool.open(path, SITES) as spool:
        assert spool.resume_points() == []


def test_a_watermark_that_cannot_be_written_is_reported_and_stops_nothing(path: Path) -> None:
    now = 0.0
    with Spool.open(path, SITES, clock=lambda: now) as spool:
        in_the_way = path.with_name(f".spool.delivered.{os.getpid()}")
        in_the_way.mkdir()
        fill(spool, [1])
        assert "Is a directory" in spool.watermark_error
        in_the_way.rmdir()
        now = 1.0
        fill(spool, [2])
        assert spool.watermark_error == ""
        assert drain(spool, "aws") == bodies([1, 2])


class Failing:
    """A connection whose file size cannot be read, as on a disk that was removed."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __getattr__(self, name: str) -> object:
        return getattr(self._db, name)

    def execute(self, statement: str, *parameters: object) -> sqlite3.Cursor:
        if statement in ("PRAGMA page_count", "PRAGMA freelist_count"):
            raise sqlite3.OperationalError("disk I/O error")
        return self._db.execute(statement, *parameters)


def test_a_write_does_not_fail_if_the_file_size_cannot_be_read(path: Path) -> None:
    with Spool.open(path, SITES) as spool:
        fill(spool, [1])
        sound, spool._db = spool._db, Failing(spool._db)  # type: ignore[assignment]
        fill(spool, [2])
        settle_next(spool, "aws")
        spool._db = sound
        assert drain(spool, "aws") == bodies([2])
        assert drain(spool, "gcp") == bodies([1, 2])


def test_damage_while_it_is_open_is_an_error_and_the_next_start_sets_it_aside(path: Path) -> None:
    with Spool.open(path, SITES) as spool:
        fill(spool, range(2))
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("UPDATE message SET body = X'00' WHERE id = 2")
        with pytest.raises(McloudError, match="damaged while it was open: message 2 is not"):
            spool.take("aws", 5)
        assert len(spool.take("aws", 1)) == 1
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("DROP TABLE message")
        with pytest.raises(McloudError, match=r"no such table: message; start again"):
            fill(spool, [2])
    with Spool.open(path, SITES) as spool:
        assert spool.set_aside is not None
        assert spool.resume_points() == [position(0)]


def test_a_full_disk_changes_nothing_and_the_same_append_works_later(path: Path) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(path)]
    done = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    written, error = done.stdout.split(" ", 1)
    assert error.startswith(f"the spool {path} cannot be used (disk I/O error); check its disk")
    with Spool.open(path, ["aws"]) as spool:
        assert drain(spool, "aws") == bodies(range(int(written)))
        assert spool.set_aside is None


def test_a_full_disk_changes_nothing_and_work_continues_with_room(path: Path) -> None:
    with Spool.open(path, SITES) as spool:
        fill(spool, range(3))
        spool._db.execute("PRAGMA max_page_count = 50")
        held = spool.bytes, spool.pending("aws"), spool.resume_points()
        big = [entry(3, size=9_000), entry(4, size=300_000)]
        with pytest.raises(Unavailable, match=r"no room for the spool .* free some space"):
            spool.append(big, [position(5)])
        assert (spool.bytes, spool.pending("aws"), spool.resume_points()) == held
        settle_next(spool, "aws")
        spool._db.execute("PRAGMA max_page_count = 5000")
        spool.append(big, [position(5)])
        assert drain(spool, "aws") == bodies(range(1, 5))
    with Spool.open(path, SITES) as spool:
        assert drain(spool, "gcp") == bodies(range(5))


def test_a_spool_locked_by_another_process_is_reported_and_usable_afterwards(
    path: Path,
) -> None:
    with Spool.open(path, SITES) as spool:
        fill(spool, range(2))
        spool._db.execute("PRAGMA busy_timeout = 0")
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(Unavailable, match="database is locked"):
                fill(spool, [2])
        fill(spool, [2])
        assert drain(spool, "aws") == bodies(range(3))
