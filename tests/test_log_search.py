"""The logs of processes and functions, merged by time."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from mcloud.clouds.ports import FunctionLine
from mcloud.errors import Unavailable
from mcloud.log_search import PERIOD, LogEntry, LogFollower, LogSources, search
from mcloud.runs import Run, run_of

NOON = datetime(2026, 11, 30, 12, 0).timestamp()  # of this machine's time zone, as in log files


@dataclass
class FakeSite:
    """A site of which only the logs are used."""

    read: Callable[[float, float], list[FunctionLine]]

    @property
    def logs(self) -> "FakeSite":
        return self

    def lines(self, start: float, end: float, limit: int) -> list[FunctionLine]:
        return [each for each in self.read(start, end) if start <= each.at <= end]


def sources(run: Run | None, **sites: Callable[[float, float], list[FunctionLine]]) -> LogSources:
    opened: dict[str, Any] = {name: FakeSite(read) for name, read in sites.items()}
    return LogSources([run] if run else [], opened)


def stored(at: float, text: str = "stored") -> FunctionLine:
    return FunctionLine(at, "mcloud-processor", "INFO", text)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = run_of(tmp_path / "producers", "default")
    made.folder.mkdir(parents=True)
    return made


def test_lines_of_processes_and_functions_are_merged_by_time(run: Run) -> None:
    run.log.write_text(
        "2026-11-30 12:00:01,500 INFO starts: binance\n"
        "2026-11-30 12:00:03,000 ERROR it failed\n"
        "Traceback (most recent call last):\n"
        "2026-11-30 12:00:09,000 INFO later\n"
    )
    lines = [stored(NOON + 2, "stored symbol=BTCUSDT"), stored(NOON + 3.5), stored(NOON - 1)]
    found = search(sources(run, aws=lambda *_: lines), NOON, NOON + 5)
    assert found.missing == {}
    assert found.entries == [
        LogEntry(NOON + 1.5, "default", "INFO", "starts: binance"),
        LogEntry(NOON + 2, "aws processor", "INFO", "stored symbol=BTCUSDT"),
        LogEntry(NOON + 3, "default", "ERROR", "it failed"),
        LogEntry(NOON + 3, "default", "", "Traceback (most recent call last):"),
        LogEntry(NOON + 3.5, "aws processor", "INFO", "stored"),
    ]
    matching = search(sources(run, aws=lambda *_: lines), 0, NOON + 5, "BTC|fail").entries
    assert [each.text for each in matching] == ["stored symbol=BTCUSDT", "it failed"]
    # The help suggests the name of a level as well.
    of_level = search(sources(run, aws=lambda *_: lines), 0, NOON + 5, "nothing|ERROR").entries
    assert [each.text for each in of_level] == ["it failed"]


def test_rotated_files_come_first(run: Run) -> None:
    for name, second in (("producer.log", 3), ("producer.log.1", 2), ("producer.log.2", 1)):
        (run.folder / name).write_text(f"2026-11-30 12:00:0{second},000 INFO {second}\n")
    assert [each.text for each in search(sources(run), 0, NOON + 9).entries] == ["1", "2", "3"]


def test_a_site_that_does_not_answer_is_named_and_the_rest_is_shown(run: Run) -> None:
    def away(*_: float) -> list[FunctionLine]:
        raise Unavailable("CloudWatch Logs: no answer")

    run.log.write_text("2026-11-30 12:00:01,000 INFO starts\n")
    found = search(sources(run, aws=away, gcp=lambda *_: [stored(NOON + 2)]), NOON, NOON + 5)
    assert [each.source for each in found.entries] == ["default", "gcp processor"]
    assert found.missing == {"aws": "CloudWatch Logs: no answer"}


def test_functions_may_be_searched_for_a_shorter_time(run: Run) -> None:
    run.log.write_text("2026-11-30 12:00:01,000 INFO starts\n")
    lines = [stored(NOON + 1, "old"), stored(NOON + 4, "new")]
    found = search(sources(run, aws=lambda *_: lines), 0, NOON + 5, functions_from=NOON + 3).entries
    assert [each.text for each in found] == ["starts", "new"]


def test_new_lines_are_followed_and_none_comes_twice(run: Run) -> None:
    run.log.write_text("2026-11-30 12:00:01,000 INFO before\n")
    lines: list[FunctionLine] = [stored(NOON, "before")]
    follower = LogFollower(sources(run, aws=lambda *_: lines), NOON + 1)
    assert follower.added(NOON + 1).entries == []
    with run.log.open("a") as file:
        file.write("2026-11-30 12:00:02,000 INFO here\n")
    lines.append(stored(NOON + 2.5, "there"))
    assert [each.text for each in follower.added(NOON + 3).entries] == ["here"]
    assert [each.text for each in follower.added(NOON + 1 + PERIOD).entries] == ["there"]
    # A line may be found some time after it was written.
    lines.append(stored(NOON + 2, "late"))
    late = follower.added(NOON + 1 + 2 * PERIOD).entries
    assert [each.text for each in late] == ["late"]
