"""Writing and reading the counts of a meter."""

import threading
from decimal import Decimal
from pathlib import Path

from mcloud.local import meter
from mcloud.local.meter import Meter

NOVEMBER = 1_795_996_800.0  # 2026-11-30T00:00:00Z
DECEMBER = 1_796_083_200.0  # 2026-12-01T00:00:00Z


def test_counts_by_resource_and_month(tmp_path: Path) -> None:
    now = [NOVEMBER]
    counting = Meter(tmp_path, "aws", lambda: now[0])
    counting.add("sqs_requests", "trades", 3)
    now[0] = DECEMBER - 0.001
    counting.add("sqs_requests", "dlq")
    now[0] = DECEMBER
    counting.add("sqs_requests", "trades")
    counting.save()
    assert meter.read(tmp_path)["aws"] == {"sqs_requests": 5}
    assert meter.read(tmp_path, "2026-11")["aws"] == {"sqs_requests": 4}
    assert meter.read(tmp_path, "2026-12")["aws"] == {"sqs_requests": 1}
    assert meter.read_split(tmp_path)["aws"] == {"sqs_requests": {"trades": 4, "dlq": 1}}
    assert meter.since(tmp_path, "aws") == NOVEMBER


def test_counts_continue_after_a_restart(tmp_path: Path) -> None:
    for _ in range(2):
        counting = Meter(tmp_path, "gcp", lambda: NOVEMBER)
        counting.add("pubsub_bytes", "trades", 1000)
        counting.save()
    assert meter.read(tmp_path) == {"aws": {}, "gcp": {"pubsub_bytes": 2000}}


def test_units_are_exact(tmp_path: Path) -> None:
    counting = Meter(tmp_path, "aws")
    for _ in range(3):
        counting.add("lambda_mib_ms", "processor", 256 * 1)
    counting.add("dynamodb_half_reads", "candles", 3)
    counting.save()
    assert meter.read(tmp_path)["aws"] == {
        "lambda_gb_s": Decimal("0.00075"),
        "dynamodb_reads": Decimal("1.5"),
    }


def test_concurrent_counts_are_all_kept(tmp_path: Path) -> None:
    counting = Meter(tmp_path, "aws")

    def count() -> None:
        for n in range(5000):
            counting.add("sqs_requests", "trades")
            if n % 1000 == 0:
                counting.save()

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counting.save()
    assert meter.read(tmp_path)["aws"] == {"sqs_requests": 20_000}


def test_before_anything_is_counted_there_are_no_meters(tmp_path: Path) -> None:
    assert meter.read(tmp_path / "none") == {"aws": {}, "gcp": {}}
    assert meter.since(tmp_path, "aws") is None


def test_counts_that_could_not_be_written_are_written_later(tmp_path: Path) -> None:
    counting = Meter(tmp_path, "aws")
    (tmp_path / "data").write_text("in the way of a folder")
    counting.add("sqs_requests", "trades")
    counting.save()
    (tmp_path / "data").unlink()
    counting.save()
    assert meter.read(tmp_path)["aws"] == {"sqs_requests": 1}
