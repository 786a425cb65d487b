"""A spool that grows on a small disk leaves space for the other files of mcloud."""

import json
import shutil
from pathlib import Path

from small_disk import EMPTY, call

from mcloud import best_effort
from mcloud.market.envelope import Message
from mcloud.producer.spool import Spool
from mcloud.producer.spool_message import SpoolEntry

MIB = 1024**2


def test_a_spool_is_full_before_its_disk_is(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    told = json.loads(call(disk, "producer.test_spool_disk", "_grow", EMPTY, mebibytes=24))
    assert told["full"]
    assert told["left"] > best_effort.RESERVE
    assert told["spool"] > 4 * MIB
    assert told["full_with_room_elsewhere"]  # the margin is not free yet
    assert not told["full_after_sending"]


def test_a_small_spool_continues_on_a_disk_full_of_other_data(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    told = json.loads(call(disk, "producer.test_spool_disk", "_beside", EMPTY, mebibytes=3))
    assert told == {"full": False, "room": True}


def _entry(id_: int) -> SpoolEntry:
    attributes = {
        "symbol": "BTCUSDT",
        "first_id": str(id_),
        "last_id": str(id_),
        "count": "1",
    }
    body = f"{id_:06}" * 8_000
    return SpoolEntry.of(Message(body, attributes), received_at=1, sites=["aws"])


def _grow(folder: str) -> None:
    path = Path(folder)
    with Spool.open(path / "spool", ["aws"]) as spool:
        id_ = 0
        while spool.wait_for_room(0.0):
            spool.append([_entry(id_)])
            id_ += 1
        told: dict[str, object] = {
            "full": spool.is_full,
            "left": shutil.disk_usage(path).free,
            "spool": spool.bytes,
            "full_with_room_elsewhere": not spool.wait_for_room(0.0),
        }
        while taken := spool.take("aws", 10):
            spool.settle("aws", [each.id for each in taken])
        told["full_after_sending"] = not spool.wait_for_room(0.0)
    print(json.dumps(told))


def _beside(folder: str) -> None:
    path = Path(folder)
    with Spool.open(path / "spool", ["aws"]) as spool:
        (path / "others").write_bytes(bytes(2 * MIB))
        spool.append([_entry(0)])
        print(json.dumps({"full": spool.is_full, "room": spool.wait_for_room(0.0)}))
