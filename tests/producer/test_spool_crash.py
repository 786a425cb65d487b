"""After ``kill -9`` during appends and settles, everything that was reported is on the disk."""

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from mcloud.producer.cursor import Position
from mcloud.producer.spool import Spool

from .spools import SITES, bodies, drain, environment, fill, position

KILLS = 20

# Prints the ids that it has written, and the ids that it is about to settle.
PRODUCER = """
import sys, threading
from pathlib import Path
from mcloud.producer.spool import Spool
from tests.producer.spools import SITES, entry, position

spool = Spool.open(Path(sys.argv[1]), SITES)
speak = threading.Lock()

def say(*words):
    with speak:
        print(*words, flush=True)

def send():
    while True:
        taken = spool.take("aws", 5, 60)
        say("settling", *(each.message.body.split()[1] for each in taken))
        spool.settle("aws", [each.id for each in taken])

(next_id,) = [each.next_id for each in spool.resume_points()] or [0]
say("start", next_id)
threading.Thread(target=send, daemon=True).start()
while True:
    entries = [entry(next_id + n, size=next_id % 7 * 1000) for n in range(3)]
    next_id += len(entries)
    spool.append(entries, [position(next_id)])
    say("written", next_id)
"""


@pytest.mark.slow
def test_no_written_message_is_missing_after_twenty_kills(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    random = Random(1)
    written, settling, resumed = 0, set(), []
    for _ in range(KILLS):
        command = [sys.executable, "-c", PRODUCER, str(path)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=environment()
        ) as producer:
            assert producer.stdout
            wanted = random.randrange(1, 60)
            # The process keeps running while its output is read, so the kill comes at any point.
            for count, line in enumerate(producer.stdout):
                word, *ids = line.split()
                if word == "settling":
                    settling.update(map(int, ids))
                elif line.endswith("\n"):
                    resumed += [int(ids[0])] if word == "start" else []
                    assert int(ids[0]) >= written
                    written = int(ids[0])
                if count == wanted:
                    producer.kill()
    with Spool.open(path, SITES) as spool:
        assert spool.set_aside is None
        (end,) = spool.resume_points()
        assert end == Position("BTCUSDT", 0, end.next_id)
        assert end.next_id >= written
        assert drain(spool, "gcp") == bodies(range(end.next_id))
        left = drain(spool, "aws")
        assert left == [body for body in bodies(range(end.next_id)) if body in set(left)]
        assert {id_ for id_ in range(end.next_id) if bodies([id_])[0] not in left} <= settling
    assert len(resumed) == KILLS
    assert len(set(bodies(settling)) - set(left)) > 0


def test_an_append_waits_for_the_disk_and_a_settlement_does_not(tmp_path: Path) -> None:
    full, normal = 2, 1
    with Spool.open(tmp_path / "spool", SITES) as spool:
        fill(spool, [1])
        assert spool._ask("PRAGMA synchronous") == full
        taken = spool.take("aws", 1)
        spool.settle("aws", [each.id for each in taken])
        assert spool._ask("PRAGMA synchronous") == normal
        spool.append([], [position(3)])
        assert spool._ask("PRAGMA synchronous") == full
        assert spool._ask("PRAGMA journal_mode") == "wal"
