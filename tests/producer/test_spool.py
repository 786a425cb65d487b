"""The spool in normal operation: deliveries by site, pending messages, and a full spool."""

import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from mcloud.errors import McloudError, Unavailable
from mcloud.feed.simulate import Simulate
from mcloud.market.envelope import Message, decode, encode
from mcloud.producer.cursor import Cursor, Hole, Position
from mcloud.producer.spool import SMALLEST_LIMIT, Pending, Spool
from mcloud.producer.spool_message import SpoolEntry

from .spools import SITES, bodies, drain, entry, environment, fill, position

PATIENCE = 60.0  # seconds after which a test has failed
MIB = 1024 * 1024

HOLDER = """
import os, sys
from pathlib import Path
from mcloud.producer.spool import Spool

with Spool.open(Path(sys.argv[1]), ["aws"]):
    print(os.getpid(), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def test_a_message_is_deleted_after_every_site_got_it_in_order(path: Path) -> None:
    with Spool.open(path, SITES) as spool:
        fill(spool, range(20))
        assert drain(spool, "aws") == bodies(range(20))
        assert spool.pending("aws") == Pending(0, 0, 0, None)
        assert spool.pending("gcp").messages == 20
        assert drain(spool, "gcp") == bodies(range(20))
    with Spool.open(path, SITES) as spool:
        assert drain(spool, "aws") == drain(spool, "gcp") == []


def test_a_message_is_read_back_unchanged(path: Path) -> None:
    trades = list(Simulate(["BTCUSDT"], seed=1, start_time=1_735_775_880_000, count=100))
    made = encode(trades)
    message = replace(made, attributes={**made.attributes, "traceparent": "00-ü"})
    given = SpoolEntry.of(message, received_at=1_735_775_881_000, sites=["gcp"])
    assert (given.first_id, given.last_id, given.count) == (trades[0].id, trades[-1].id, 100)
    with Spool.open(path, SITES) as spool:
        spool.append([given])
    with Spool.open(path, SITES) as spool:
        assert spool.take("aws", 10) == []
        (taken,) = spool.take("gcp", 10)
    assert taken.message == message
    assert list(decode(taken.message.body).trades) == trades
    assert (taken.count, taken.received_at) == (100, 1_735_775_881_000)


def test_pending_counts_messages_that_are_not_settled(path: Path) -> None:
    entries = [entry(10, 19), entry(20, 24, sites=["gcp"]), entry(30)]
    sizes = [len(each.message.body) for each in entries]
    with Spool.open(path, SITES) as spool:
        spool.append(entries)
        assert spool.pending("aws") == Pending(2, 11, sizes[0] + sizes[2], 10)
        assert spool.pending("gcp") == Pending(3, 16, sum(sizes), 10)
        first, second = spool.take("gcp", 2)
        assert spool.pending("gcp").messages == 3
        spool.settle("gcp", [first.id])
        spool.release("gcp", [second.id])
    with Spool.open(path, SITES) as spool:
        assert spool.pending("gcp") == Pending(2, 6, sizes[1] + sizes[2], 20)
        assert spool.pending("aws") == Pending(2, 11, sizes[0] + sizes[2], 10)


def test_taken_messages_stay_taken_until_released_or_the_process_ends(path: Path) -> None:
    with Spool.open(path, SITES) as spool:
        fill(spool, range(6))
        first, second = spool.take("aws", 2)
        third, fourth = spool.take("aws", 2)
        spool.settle("aws", [first.id, fourth.id])
        spool.release("aws", [second.id])
        assert [each.id for each in spool.take("aws", 2)] == [second.id, fourth.id + 1]
    with Spool.open(path, SITES) as spool:
        assert drain(spool, "aws") == bodies([1, 2, 4, 5])
    assert third.message.body.startswith("BTCUSDT 2 2")


def test_settling_messages_that_are_not_taken_does_nothing(path: Path) -> None:
    with Spool.open(path, SITES) as spool:
        fill(spool, range(2))
        (taken,) = spool.take("aws", 1)
        spool.settle("gcp", [taken.id])
        spool.settle("aws", [taken.id, taken.id, taken.id + 1, 99])
        spool.settle("aws", [taken.id])
        assert (spool.pending("aws").messages, spool.pending("gcp").messages) == (1, 2)
        spool.release("aws", [taken.id, taken.id + 1])
        assert drain(spool, "aws") == bodies([1])


def test_the_cursor_continues_after_the_last_append(path: Path) -> None:
    holes = (Hole("BTCUSDT", 5, 7, 99, 2, "timed out"), Hole("BTCUSDT", 9, 9, 100))
    end = [Position("BTCUSDT", 1, 12, holes), Position("ETHUSDT", 2**62, 2**62 + 1)]
    with Spool.open(path, SITES) as spool:
        assert spool.resume_points() == []
        spool.append([entry(1, 4)], [Position("BTCUSDT", 1, 5), end[1]])
        spool.append([entry(8, 11)], [end[0], end[0]])
    with Spool.open(path, SITES) as spool:
        assert sorted(spool.resume_points()) == end
        spool.append([], Cursor(spool.resume_points()).dump())
        assert Cursor(spool.resume_points()).holes() == list(holes)
    with Spool.open(path, SITES) as spool:
        assert spool.set_aside is None


def test_invalid_messages_are_refused(path: Path) -> None:
    with Spool.open(path, SITES) as spool:
        for sites in ([], ["aws", "azure"]):
            with pytest.raises(ValueError, match="not sites of this spool"):
                spool.append([entry(1), entry(2, sites=sites)], [position(3)])
        with pytest.raises(ValueError, match="no site 'azure'"):
            spool.take("azure", 1)
        with pytest.raises(UnicodeEncodeError):
            spool.append([entry(1), replace(entry(2), message=Message("ü"))], [position(3)])
        assert spool.pending("aws").messages == 0
        assert spool.resume_points() == []


def test_messages_for_a_removed_site_are_kept(path: Path) -> None:
    with Spool.open(path, SITES) as spool:
        fill(spool, range(3))
        spool.append([entry(3, sites=["gcp"])])
        spool.take("gcp", 1)
        drain(spool, "aws")
    with Spool.open(path, ["aws", "aws-west"]) as spool:
        assert spool.unconfigured() == ["gcp"]
        assert spool.pending("gcp").messages == 4
        spool.append([entry(4, sites=["aws-west"])])
        (already,) = spool.take("aws-west", 1)
        spool.reassign("gcp", "aws-west")
        assert spool.unconfigured() == []
        assert spool.pending("gcp") == Pending(0, 0, 0, None)
        assert spool.pending("aws-west").trades == 5
        assert drain(spool, "aws-west") == bodies(range(4))
        spool.settle("aws-west", [already.id])
        assert spool.pending("aws-west").messages == 0
        for other in ("gcp", "aws-west"):
            with pytest.raises(ValueError, match="cannot take over"):
                spool.reassign("aws-west", other)


def test_a_message_moved_to_another_site_is_pending_once(path: Path) -> None:
    with Spool.open(path, SITES) as spool:
        fill(spool, range(3))
        spool.reassign("gcp", "aws")
        assert spool.pending("aws").messages == 3
    with Spool.open(path, SITES) as spool:
        assert spool.set_aside is None
        assert drain(spool, "aws") == bodies(range(3))
        assert drain(spool, "gcp") == []


def test_a_full_spool_has_room_again_below_nine_tenths(path: Path) -> None:
    with Spool.open(path, ["aws"], limit_bytes=SMALLEST_LIMIT) as spool:
        size = 20_000
        assert not spool.is_full
        fed = 0
        while not spool.is_full:
            assert spool.wait_for_room(0)
            spool.append([entry(fed, sites=["aws"], size=size)])
            fed += 1
        assert spool.bytes >= SMALLEST_LIMIT
        assert not spool.wait_for_room(0)
        spool.append([entry(fed, sites=["aws"], size=size)])
        while spool.is_full:
            assert spool.bytes >= SMALLEST_LIMIT * 0.9
            spool.settle("aws", [each.id for each in spool.take("aws", 1)])
        assert spool.bytes < SMALLEST_LIMIT * 0.9
        assert spool.wait_for_room(0)
        assert fed - spool.pending("aws").messages > 4


def test_a_waiting_writer_is_woken_when_there_is_room(path: Path) -> None:
    with (
        Spool.open(path, ["aws"], limit_bytes=SMALLEST_LIMIT) as spool,
        ThreadPoolExecutor() as threads,
    ):
        spool.append([entry(1, sites=["aws"], size=2 * MIB)])
        waiting = threads.submit(spool.wait_for_room, PATIENCE)
        drain(spool, "aws")
        assert waiting.result()


def test_a_smaller_limit_than_a_message_is_refused(path: Path) -> None:
    with pytest.raises(ValueError, match="at least 1048576"):
        Spool.open(path, SITES, limit_bytes=SMALLEST_LIMIT - 1)


def test_the_file_is_given_back_to_the_disk_after_a_backlog(path: Path) -> None:
    with Spool.open(path, ["aws"]) as spool:
        for id_ in range(40):
            spool.append([entry(id_, sites=["aws"], size=MIB // 2)])
        drain(spool, "aws")
    assert path.stat().st_size < 6 * MIB


def test_running_at_a_steady_depth_the_file_does_not_grow(path: Path) -> None:
    with Spool.open(path, ["aws"]) as spool:
        sizes = []
        for id_ in range(400):
            spool.append([entry(id_, sites=["aws"], size=30_000)])
            if id_ >= 10:
                spool.settle("aws", [each.id for each in spool.take("aws", 1)])
            sizes.append(spool.bytes)
        log = path.with_name("spool-wal").stat().st_size
    assert max(sizes) < 600_000
    assert path.stat().st_size < 6 * MIB
    assert log < 6 * MIB


def test_threads_share_a_spool_and_send_each_message_once_to_each_site(path: Path) -> None:
    got: dict[str, Counter[str]] = {site: Counter() for site in SITES}
    done = threading.Event()

    def send(site: str) -> Counter[str]:
        seen: Counter[str] = Counter()
        while not (done.is_set() and spool.pending(site).messages == 0):
            taken = spool.take(site, 3, 0.05)
            spool.release(site, [each.id for each in taken[2:]])
            seen.update(each.message.body.rstrip() for each in taken[:2])
            spool.settle(site, [each.id for each in taken[:2]])
        return seen

    with Spool.open(path, SITES) as spool, ThreadPoolExecutor() as threads:
        senders = [(site, threads.submit(send, site)) for site in SITES for _ in range(2)]
        try:
            fill(spool, range(300))
        finally:
            done.set()
        for site, sender in senders:
            got[site] += sender.result()
    assert got == {site: Counter(bodies(range(300))) for site in SITES}


def test_a_waiting_sender_is_woken_by_a_message_and_by_the_end(path: Path) -> None:
    with Spool.open(path, SITES) as spool, ThreadPoolExecutor() as threads:
        waiting = threads.submit(spool.take, "aws", 1, PATIENCE)
        fill(spool, [1])
        assert [each.count for each in waiting.result()] == [1]
        waiting = threads.submit(spool.take, "aws", 1, PATIENCE)
        spool.close()
        assert waiting.result() == []
        assert spool.take("aws", 1) == []
        with pytest.raises(ValueError, match="the spool is closed"):
            spool.append([entry(2)])


def test_a_second_process_is_refused_by_name(path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
    ) as holder:
        assert holder.stdout
        pid = holder.stdout.readline().strip()
        with pytest.raises(McloudError, match=rf"in use by another producer \(pid {pid}\);"):
            Spool.open(path, SITES)
        assert holder.stdin
        holder.stdin.close()
        assert holder.wait(PATIENCE) == 0
    with Spool.open(path, SITES) as spool, pytest.raises(McloudError, match="in use by another"):
        Spool.open(path, SITES)
    assert spool.set_aside is None


def test_a_folder_that_cannot_hold_the_file_is_reported(path: Path) -> None:
    path.mkdir()
    with pytest.raises(Unavailable, match=rf"the spool {path} cannot be used \(unable to open"):
        Spool.open(path, SITES)
    (path / "file").touch()
    with pytest.raises(Unavailable, match="cannot be opened"):
        Spool.open(path / "file" / "spool", SITES)
    assert path.is_dir()


def test_voids_are_kept_until_they_are_forgotten(path: Path) -> None:
    pairs = [("BTCUSDT.um", 7), ("BTCUSDT.um", 9), ("ETHUSDT.um", 7)]
    with Spool.open(path, SITES) as spool:
        spool.append([], [], dict.fromkeys(pairs, True))
        assert spool.voids() == pairs
        spool.append([], [], {pairs[0]: False, pairs[1]: True, ("BTCUSDT.um", 8): False})
    with Spool.open(path, SITES) as spool:
        assert spool.voids() == pairs[1:]


def test_voids_never_fill_a_spool_since_no_site_makes_room_for_them(path: Path) -> None:
    voids = {(f"SYMBOL{n % 7}USDT_250926.um", 10**18 + 3 * n): True for n in range(30_000)}
    with Spool.open(path, SITES, limit_bytes=SMALLEST_LIMIT) as spool:
        spool.append([], [], voids)
        assert spool.bytes > SMALLEST_LIMIT
        assert not spool.is_full
        fill(spool, range(500), size=5_000)
        assert spool.is_full
        drain(spool, "aws"), drain(spool, "gcp")
        assert not spool.is_full
    with Spool.open(path, SITES, limit_bytes=SMALLEST_LIMIT) as spool:
        assert not spool.is_full


def test_a_spool_of_an_earlier_version_has_no_voids_and_keeps_new_ones(path: Path) -> None:
    with Spool.open(path, SITES) as spool:
        fill(spool, range(3))
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE void")
        db.commit()
    with Spool.open(path, SITES) as spool:
        assert (spool.set_aside, spool.voids()) == (None, [])
        spool.append([], [], {("BTCUSDT", 1): True})
        assert drain(spool, "aws") == bodies(range(3))
    with Spool.open(path, SITES) as spool:
        assert spool.voids() == [("BTCUSDT", 1)]
