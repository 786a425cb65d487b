"""The moves of the primary, as read from the audit log."""

from dataclasses import asdict

from mcloud.clouds.ports import ControlRecord
from mcloud.documents import encode
from mcloud.failover.audit import AuditEntry, AuditStep
from mcloud.failover.journal import MoveArrival, MoveOrder, Recorded
from mcloud.failover.moves import LoggedMove, logged_moves

ORDER = MoveOrder(
    *("m1", "gcp", "automatic", "aws is down", "guard guard, ann@host", 100.0, 3, "aws"), lost=3.5
)
RECORD = ControlRecord(4, "gcp", "automatic", "aws is down", "guard guard, ann@host", 100.0)
RECORDED = Recorded(RECORD, 0.1, 4, "aws", is_moved=True, is_ours=True, away={})
BEGIN, WRITTEN = ("begin", ORDER), ("record", RECORDED)


def entries(*steps: tuple[AuditStep, object], id_: str = "m1") -> list[AuditEntry]:
    return [
        AuditEntry(id_, step, ORDER.by, ORDER.reason, 100.0 + n, {}, encode(after))
        for n, (step, after) in enumerate(steps)
    ]


def move(*steps: tuple[AuditStep, object]) -> LoggedMove:
    (found,) = logged_moves(entries(*steps))
    return found


def test_a_move_says_from_where_to_where_by_whom_and_for_how_long() -> None:
    found = move(BEGIN, WRITTEN, ("arrival", MoveArrival(1.25)))
    assert (found.source, found.target, found.author) == ("aws", "gcp", "guard")
    assert (found.gap_s, found.problem, found.is_move) == (4.75, "", True)


def test_a_guard_with_another_name_and_a_user_are_named() -> None:
    (second,) = logged_moves([AuditEntry("m", "begin", "guard b, ann@host", "", 1.0)])
    (user,) = logged_moves([AuditEntry("m", "begin", "ann@host", "", 1.0)])
    assert (second.author, user.author) == ("guard b", "ann@host")


def test_a_move_without_a_stored_trade_says_so() -> None:
    assert move(BEGIN).problem == move(BEGIN, WRITTEN).problem == "not finished"
    late = move(BEGIN, WRITTEN, ("arrival", MoveArrival(problem="no canary")))
    assert (late.gap_s, late.problem) == (None, "no trade stored")
    other = Recorded(**{**_fields(RECORDED), "is_moved": False, "is_ours": False})
    assert move(BEGIN, ("record", other)).problem == "another was first"


def test_a_log_that_begins_within_a_move_still_names_the_sites() -> None:
    found = move(WRITTEN, ("arrival", MoveArrival(1.0)))
    assert (found.source, found.target, found.gap_s) == ("aws", "gcp", 1.0)


def test_damaged_entries_are_unknown_and_not_an_error() -> None:
    found = move(("begin", {"at": "x"}), ("record", {}), ("arrival", []))
    assert (found.source, found.target, found.gap_s) == ("", "", None)


def test_interleaved_moves_and_other_changes_stay_apart() -> None:
    first, second = entries(BEGIN, WRITTEN), entries(BEGIN, WRITTEN, id_="m2")
    pause = AuditEntry("p", "guard pause", "ann@host", "maintenance", 5.0)
    found = logged_moves([first[0], second[0], pause, first[1], second[1]])
    assert [len(each.entries) for each in found] == [2, 2, 1]
    assert [each.is_move for each in found] == [True, True, False]


def _fields(recorded: Recorded) -> dict[str, object]:
    return {**asdict(recorded), "record": recorded.record}
