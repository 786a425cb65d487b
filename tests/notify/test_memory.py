"""No notification is sent twice."""

from dataclasses import replace
from pathlib import Path

import pytest

from mcloud.notify.memory import KEPT, SentMemory

from .events import FIRING, HAPPENED, RESOLVED

HOUR = 3600.0
NOW = FIRING.at


@pytest.fixture(params=["memory", "file"])
def memory(request: pytest.FixtureRequest, tmp_path: Path) -> SentMemory:
    return SentMemory(tmp_path / "sub" / "told.json" if request.param == "file" else None)


def test_a_firing_alert_is_sent_once_until_it_is_resolved(memory: SentMemory) -> None:
    assert memory.is_news("a", FIRING, HOUR, NOW)
    memory.note("a", FIRING, NOW)
    assert not memory.is_news("a", FIRING, HOUR, NOW + 1)
    assert memory.is_news("b", FIRING, HOUR, NOW + 1)
    assert memory.is_news("a", RESOLVED, HOUR, NOW + 2)
    memory.note("a", RESOLVED, NOW + 2)
    assert not memory.is_news("a", RESOLVED, HOUR, NOW + 3)
    assert memory.is_news("a", FIRING, HOUR, NOW + 4)


def test_a_firing_alert_is_sent_again_after_the_repeat_interval(memory: SentMemory) -> None:
    memory.note("a", FIRING, NOW)
    assert not memory.is_news("a", FIRING, HOUR, NOW + HOUR - 1)
    assert memory.is_news("a", FIRING, HOUR, NOW + HOUR)
    assert memory.is_news("a", FIRING, HOUR, NOW - 10), "a clock set back silences nothing"


def test_a_higher_severity_is_news_and_a_lower_one_is_not(memory: SentMemory) -> None:
    memory.note("a", replace(FIRING, severity="warning"), NOW)
    assert memory.is_news("a", FIRING, HOUR, NOW + 1)
    assert not memory.is_news("a", replace(FIRING, severity="info"), HOUR, NOW + 1)


def test_a_repeated_event_is_news(memory: SentMemory) -> None:
    memory.note("a", HAPPENED, NOW)
    assert not memory.is_news("a", HAPPENED, HOUR, NOW + 1)
    assert memory.is_news("a", replace(HAPPENED, at=HAPPENED.at + 1), HOUR, NOW + 1)


def test_the_file_outlives_the_process(tmp_path: Path) -> None:
    path = tmp_path / "told.json"
    SentMemory(path).note("a", FIRING, NOW)
    assert not SentMemory(path).is_news("a", FIRING, HOUR, NOW + 1)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}', '{"a": {"k": {}}}', "\x00"])
def test_a_damaged_file_is_an_empty_one(tmp_path: Path, text: str) -> None:
    path = tmp_path / "told.json"
    path.write_text(text)
    memory = SentMemory(path)
    assert memory.is_news("a", FIRING, HOUR, NOW)
    memory.note("a", FIRING, NOW)
    assert not SentMemory(path).is_news("a", FIRING, HOUR, NOW)


def test_the_memory_is_bounded() -> None:
    memory = SentMemory()
    for number in range(KEPT + 1):
        memory.note("a", replace(FIRING, key=str(number)), NOW)
    assert memory.is_news("a", replace(FIRING, key="0"), HOUR, NOW)
    assert not memory.is_news("a", replace(FIRING, key="1"), HOUR, NOW)
