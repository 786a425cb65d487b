"""A figure that is declared once is in the document, in Prometheus's format, on both screens, and
in the alerts.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .sites import AT

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def made() -> Any:
    """Return all that mcloud makes of two added figures, in a process of their own."""
    done = subprocess.run(
        [sys.executable, "-m", "observing.added_figure"],
        cwd=TESTS,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(TESTS), str(TESTS.parent)))},
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout)


def test_an_added_figure_is_in_the_document(made: Any) -> None:
    assert made["function"]["cold_starts"] == 3
    assert (made["store"]["read_time_s"], made["store"]["read_time_as_of"]) == (0.25, AT)
    # The other site does not measure it.
    assert made["unknown"] == {"cold_starts": "Cloud Monitoring has no value yet"}


def test_an_added_figure_is_exported_to_prometheus(made: Any) -> None:
    assert 'mcloud_function_cold_starts{site="aws"} 3' in made["exposition"]
    assert 'mcloud_store_read_time_seconds{site="aws"} 0.25' in made["exposition"]
    assert "# HELP mcloud_store_read_time_seconds Time of a read." in made["exposition"]


@pytest.mark.parametrize("screen", ["status", "monitor"])
def test_both_screens_have_a_row_for_it(made: Any, screen: str) -> None:
    (starts,) = (line for line in made[screen] if line.startswith("cold starts"))
    (time,) = (line for line in made[screen] if line.startswith("read time"))
    assert starts.split()[2] == "3"
    assert time.split()[2:4] == ["250", "ms"]
    assert "unknown" in starts


def test_alerts_find_it_with_its_unit(made: Any) -> None:
    assert made["alerts"] == [[3.0, AT], [0.25, AT]]
    assert made["said"] == ["3 calls", "0.25 s"]
