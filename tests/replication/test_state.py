"""The persistent state of a pair."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mcloud import best_effort
from mcloud.errors import Unavailable
from mcloud.market.ids import Ids
from mcloud.replication.pair_state import Checkpoint, PairState, SymbolIds

HOUR = 1_723_161_600_000


def test_the_state_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "pair.sqlite"
    state = PairState(path, "all")
    assert (state.saved(), state.checkpoint, state.compared_until("A")) == (None, None, 0)
    state.begin("p0")
    state.note_compared("A", 60_000, {("A", HOUR): 0.0})
    state.advance("p1", 7.5, {("A", HOUR): 5.0, ("B", HOUR): 6.0})
    # The oldest mark of an hour is kept.
    marks = {("A", HOUR): 0.0, ("B", HOUR): 6.0}
    assert state.checkpoint == Checkpoint("p1", 7.5, False, marks)
    # The process is killed, so the state is not closed.
    again = PairState(path, "all")
    assert again.checkpoint is None
    saved = again.saved()
    assert saved == Checkpoint("p1", 7.5, False, marks)
    assert again.compared_until("A") == 60_000
    again.resume(saved)
    again.clear("A", HOUR)
    again.finish_comparison()
    assert again.checkpoint == again.saved() == Checkpoint("p1", 7.5, True, {("B", HOUR): 6.0})
    assert again.compared_until("A") == 0
    # The comparison starts again, and the marks are kept.
    again.begin("p2")
    assert again.checkpoint == again.saved() == Checkpoint("p2", 0.0, False, {("B", HOUR): 6.0})


def test_a_poll_without_changes_writes_nothing(tmp_path: Path) -> None:
    state = PairState(tmp_path / "pair.sqlite", "all")
    state.begin("p0")
    state.advance("p0", 7.5, {})
    assert state.checkpoint == Checkpoint("p0", 7.5, False)
    assert state.saved() == Checkpoint("p0", 0.0, False)


def test_a_change_that_cannot_be_stored_does_not_count(tmp_path: Path) -> None:
    state = PairState(tmp_path / "pair.sqlite", "all")
    state.begin("p0")
    state.keep_ids("A", SymbolIds(Ids([(1, 5)]), Ids()))
    state.close()
    for change in (
        lambda: state.advance("p1", 7.5, {("A", HOUR): 5.0}),
        lambda: state.note_compared("A", 60_000, {("A", HOUR): 5.0}),
        state.finish_comparison,
        lambda: state.keep_ids("A", SymbolIds(Ids([(1, 9)]), Ids())),
    ):
        with pytest.raises(Unavailable):
            change()
    assert state.checkpoint == Checkpoint("p0", 0.0, False)
    assert state.ids("A") == SymbolIds(Ids([(1, 5)]), Ids())


def test_scopes_have_separate_states(tmp_path: Path) -> None:
    path = tmp_path / "pair.sqlite"
    one, other = PairState(path, "BTCUSDT"), PairState(path, "all")
    one.begin("p")
    one.advance("p", 1.0, {("BTCUSDT", HOUR): 1.0})
    one.note_compared("BTCUSDT", 5, {})
    assert (other.saved(), other.compared_until("BTCUSDT")) == (None, 0)


@pytest.mark.parametrize("damage", [b"not a database" * 100, b"SQLite format 3\0" + b"x" * 5000])
def test_a_damaged_state_starts_again(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "pair.sqlite"
    path.write_bytes(damage)
    state = PairState(path, "all")
    assert state.was_damaged
    assert state.saved() is None
    state.begin("p")
    state.close()
    assert not PairState(path, "all").was_damaged


def test_a_file_that_is_closed_is_no_disk_that_refuses(tmp_path: Path) -> None:
    state = PairState(tmp_path / "pair.sqlite", "all")
    state.close()
    with pytest.raises(Unavailable, match=r"pair\.sqlite cannot be used: "):
        state.begin("p")


def test_a_disk_that_refuses_the_file_does_not_stop_the_pair(tmp_path: Path) -> None:
    """The pair continues in memory, and writes everything to the file when the disk accepts it."""
    folder = tmp_path / "none"
    state = PairState(folder / "pair.sqlite", "all")
    state.begin("p0")
    state.advance("p1", 7.5, {("A", HOUR): 5.0})
    marks = {("A", HOUR): 5.0}
    assert state.saved() == Checkpoint("p1", 7.5, False, marks)
    assert str(folder / "pair.sqlite") in best_effort.refused()
    folder.mkdir()
    state.advance("p2", 8.0, {("B", HOUR): 6.0})
    assert str(folder / "pair.sqlite") not in best_effort.refused()
    again = PairState(folder / "pair.sqlite", "all")
    assert again.saved() == Checkpoint("p2", 8.0, False, {**marks, ("B", HOUR): 6.0})


def test_a_state_of_a_newer_version_is_left_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE checkpoint (everything TEXT)")
        db.execute("PRAGMA user_version = 7")
    before = path.read_bytes()
    state = PairState(path, "all")
    state.begin("p")
    assert state.saved() == Checkpoint("p", 0, False)
    assert "was written by a newer mcloud" in best_effort.refused()[str(path)]
    state.close()
    assert path.read_bytes() == before
