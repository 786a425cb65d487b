"""What a producer's run is bound to."""

from pathlib import Path

import pytest

from mcloud.errors import UsageError
from mcloud.producer.run import follow_exchange
from mcloud.runs import Run


def test_a_run_follows_one_exchange(tmp_path: Path) -> None:
    run = Run(tmp_path / "producers" / "live")
    run.create()
    follow_exchange(run, "wss://one")
    follow_exchange(run, "wss://one")
    with pytest.raises(UsageError, match=r"has followed wss://one.*--name"):
        follow_exchange(run, "wss://other")
