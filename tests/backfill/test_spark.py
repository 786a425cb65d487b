"""The part of a backfill that runs on an executor. The e2e tests run a cluster."""

import pickle
from datetime import date
from pathlib import Path

import pyarrow as pa

from mcloud.backfill.dumps import Dump
from mcloud.backfill.libraries import FoundDump
from mcloud.backfill.spark import load_batches
from mcloud.errors import Unavailable


def test_an_executor_without_the_folder_of_the_files_reports_it(tmp_path: Path) -> None:
    found = FoundDump(Dump("BTCUSDT", date(2024, 8, 8), date(2024, 8, 8)), "x.zip", 1, "")
    batch = pa.RecordBatch.from_pydict({"content": [pickle.dumps(found)]})
    (answer,) = load_batches(iter([batch]), str(tmp_path / "missing"), {})
    error = pickle.loads(answer.column(0)[0].as_py())
    assert isinstance(error, Unavailable)
    assert "an executor: --files: there is no folder" in str(error)
