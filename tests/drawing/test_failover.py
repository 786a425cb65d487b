"""Drawing the history of the moves."""

from failover.test_moves import BEGIN, WRITTEN, entries
from rich.console import Console, RenderableType

from mcloud.drawing.failover import moves, steps
from mcloud.failover.audit import AuditEntry
from mcloud.failover.journal import MoveArrival
from mcloud.failover.moves import logged_moves

LOG = [
    *entries(BEGIN, WRITTEN, ("arrival", MoveArrival(1.25))),
    AuditEntry("p", "guard pause", "ann@host", "[upgrade]", 200.0),
    *entries(BEGIN, id_="m2"),
]


def shown(drawn: RenderableType, width: int) -> list[str]:
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(drawn)
    return [line.rstrip() for line in captured.get().splitlines()]


def test_a_move_is_one_line() -> None:
    assert shown(moves(logged_moves(LOG)), 100) == [
        "when                  move           leaderless  who       why",
        "1970-01-01 00:01:40Z  aws → gcp           4.7 s  guard     aws is down",
        "1970-01-01 00:03:20Z  guard pause                ann@host  [upgrade]",
        "1970-01-01 00:01:40Z  aws → gcp    not finished  guard     aws is down",
    ]


def test_only_the_reason_is_cut_on_a_narrow_terminal() -> None:
    lines = shown(moves(logged_moves(LOG)), 64)
    assert lines[1] == "1970-01-01 00:01:40Z  aws → gcp           4.7 s  guard     aws …"
    assert len(lines) == 4


def test_the_steps_have_their_times_and_the_whole_reason() -> None:
    assert shown(steps(logged_moves(LOG[:4])), 80) == [
        "1970-01-01 00:01:40Z  aws → gcp · 4.7 s leaderless",
        "  guard guard, ann@host: aws is down",
        "  +0.00 s  begin",
        "  +1.00 s  record   epoch 4, primary gcp",
        "  +2.00 s  arrival",
        "",
        "1970-01-01 00:03:20Z  guard pause",
        "  ann@host: [upgrade]",
    ]
