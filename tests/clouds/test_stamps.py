"""Following Firestore by its stamps: a write that becomes visible late is not skipped."""

import bisect
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcloud.clouds.gcp.changes import (
    OVERLAP,
    SECOND,
    SWEEP,
    ChangeRow,
    QueryPosition,
    advance,
    begin,
)
from mcloud.clouds.positions import parse_position
from mcloud.errors import Refused

PAGE = 3
NAMES = "abcde"


@dataclass
class Collection:
    """Documents whose writes are stamped when they begin and visible when they are done."""

    now: int = 1_000_000 * SECOND
    rows: dict[str, ChangeRow] = field(default_factory=dict)
    doing: list[ChangeRow] = field(default_factory=list)
    """Writes that have begun. ``written`` is the time when each will be done."""

    def write(self, name: str, takes: int) -> None:
        # Stamps have milliseconds.
        self.doing.append(ChangeRow(self.now // 1000 * 1000, name, self.now + takes))

    def wait(self, time: int) -> None:
        self.now += time
        for row in sorted(self.doing, key=lambda row: row.written):
            if row.written <= self.now:
                self.rows[row.name] = row
        self.doing = [row for row in self.doing if row.written > self.now]

    def page(self, position: QueryPosition) -> list[ChangeRow]:
        ordered = sorted(self.rows.values())
        keys = [(row.stamp, row.name) for row in ordered]
        first = (
            bisect.bisect_right(keys, (position.stamp, position.name))
            if position.name
            else bisect.bisect_left(keys, (position.stamp, ""))
        )
        return ordered[first : first + PAGE]


def poll(
    rows: Collection, position: QueryPosition, seen: dict[str, int]
) -> tuple[QueryPosition, bool, int]:
    """Read one page, and return the number of documents as well."""
    page = rows.page(position)
    new = [row for row in page if row.written >= position.seen]
    for row in new:
        assert row.written >= seen.get(row.name, 0)
        seen[row.name] = row.written
    after, is_last = advance(position, page, rows.now, is_end=len(page) < PAGE)
    return after, is_last, len(new)


def drain(rows: Collection, position: QueryPosition, seen: dict[str, int]) -> QueryPosition:
    while True:
        position, is_last, _ = poll(rows, position, seen)
        if is_last:
            return position


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from(NAMES), st.integers(0, OVERLAP - SECOND)),
        st.tuples(st.just("write"), st.sampled_from(NAMES), st.integers(0, 2000)),
        st.tuples(st.just("wait"), st.just(""), st.integers(1, 5000)),
        st.tuples(st.just("wait"), st.just(""), st.integers(SECOND, 50 * SECOND)),
        st.tuples(st.just("poll"), st.just(""), st.just(0)),
    ),
    max_size=80,
)


@settings(max_examples=500, deadline=None)
@given(ACTIONS)
def test_no_write_is_skipped_however_late(actions: list[tuple[str, str, int]]) -> None:
    rows = Collection()
    rows.write("a", 0)
    rows.wait(1)
    seen: dict[str, int] = {}
    tip = rows.now
    position = begin(tip)
    for action, name, number in actions:
        if action == "write":
            rows.write(name, number)
        elif action == "wait":
            rows.wait(number)
        else:
            position, _, _ = poll(rows, position, seen)
        assert position.settled <= rows.now - OVERLAP
    rows.wait(OVERLAP)
    position = drain(rows, position, seen)
    rows.wait(OVERLAP + SWEEP)
    position = drain(rows, position, seen)
    for name, row in rows.rows.items():
        assert seen.get(name) == row.written or row.written <= tip


def test_a_write_that_is_not_late_is_returned_once() -> None:
    rows = Collection()
    position = begin(rows.now)
    seen: dict[str, int] = {}
    given = 0
    for n in range(400):
        rows.wait(SECOND)
        rows.write(NAMES[n % 5], 0)
        rows.wait(1000)
        for _ in range(2):
            position, _, count = poll(rows, position, seen)
            given += count
    # Each repeated read returns a few documents again.
    assert 400 <= given <= 400 + 5 * 400 / 30 + 5


def test_a_long_backlog_is_read_once() -> None:
    rows = Collection()
    position = begin(rows.now)
    seen: dict[str, int] = {}
    for n in range(600):
        rows.write(f"n{n:03}", 0)
        rows.wait(SECOND)
    rows.wait(10 * OVERLAP)
    given, is_last = 0, False
    while not is_last:
        position, is_last, count = poll(rows, position, seen)
        given += count
    assert len(seen) == given == 600


def test_an_hour_without_changes_needs_no_repeated_read() -> None:
    rows = Collection()
    rows.write("a", 0)
    rows.wait(SECOND)
    seen: dict[str, int] = {}
    position = drain(rows, begin(rows.now - 1), seen)
    rows.wait(60 * OVERLAP)
    position, is_last, count = poll(rows, position, seen)
    looks = 0
    while not is_last:
        position, is_last, count = poll(rows, position, seen)
        looks += 1
    assert looks <= 1
    for _ in range(100):
        rows.wait(30 * SECOND)
        position, is_last, count = poll(rows, position, seen)
        assert (is_last, count, rows.page(position)) == (True, 0, [])


def test_a_position_survives_its_text_form() -> None:
    position = QueryPosition(1, "BTCUSDT_2024-08-08T23:54:00Z", 2, 3, 4, 5)
    text = position.to_text()
    assert parse_position(QueryPosition, text, "a collection") == position
    with pytest.raises(Refused, match="not a position"):
        parse_position(QueryPosition, '{"stream": "arn:aws:…"}', "a collection")
