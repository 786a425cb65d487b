"""A run fills every hole that the exchange can fill, even if clocks jump at any time."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jumps import HOUR, KINDS, Jumping
from patience import eventually

from mcloud.clock import Clocks
from mcloud.errors import Unavailable
from mcloud.producer import newest_ids, repair
from mcloud.producer.breaker import LONGEST_PAUSE, OPEN, Breaker
from mcloud.producer.produce import ProducerProgress, produce
from mcloud.producer.sender import Sender
from mcloud.producer.spool import Spool

from .queues import FakeQueue
from .sources import FakeHistory, Script, trades
from .spools import entry


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool.open(tmp_path / "spool", ["aws"]) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair, "LOOK", 0.002)
    monkeypatch.setattr(newest_ids, "SETTLE", 0.0)


CHUNKS = ([1, 2, 6], [7, 20], [21, 22], [2_500], [2_501])


def run(
    spool: Spool, history: FakeHistory, clocks: Jumping, *jumps: tuple[int, str]
) -> ProducerProgress:
    """Run over the chunks, some of which follow a jump, and end right after the last one."""

    def jump(kind: str) -> Callable[[], bool]:
        def step() -> bool:
            clocks.jump(kind)
            return True

        return step

    steps: list[Callable[[], bool] | list[object]] = []
    for number, ids in enumerate(CHUNKS):
        steps += [jump(kind) for at, kind in jumps if at == number]
        steps.append(trades(ids))  # type: ignore[arg-type]
    steps += [jump(kind) for at, kind in jumps if at == len(CHUNKS)]
    return produce(
        Script(*steps),  # type: ignore[arg-type]
        {"aws": FakeQueue()},
        spool,
        history=history,
        live=True,
        linger=0,
        clocks=Clocks(clocks.wall, clocks.timer),
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", range(len(CHUNKS) + 1))
def test_no_hole_is_open_at_the_end_that_can_be_filled(spool: Spool, kind: str, at: int) -> None:
    history = FakeHistory(trades(range(1, 2_502)))
    done = run(spool, history, Jumping(), (at, kind))
    assert done.holes == ()
    assert done.read == 2_501
    assert done.complete


@pytest.mark.parametrize("kind", KINDS)
def test_a_hole_that_could_not_be_filled_just_now_is_tried_once_more_at_the_end(
    spool: Spool, kind: str
) -> None:
    """This does not depend on how long it would have waited for its turn."""
    history = FakeHistory(trades(range(1, 2_502)), *[Unavailable("not now")] * 3)
    done = run(spool, history, Jumping(), (3, kind))
    assert len(history.asked) > 3
    # Each of the three failures concerned at most one hole, which the next run tries again.
    assert len(done.holes) <= 2
    assert all(hole.attempts for hole in done.holes)


def test_trades_missing_at_the_exchange_are_requested_and_reported(spool: Spool) -> None:
    done = run(spool, FakeHistory(trades([*range(1, 10), *range(20, 2_502)])), Jumping())
    assert [(hole.first, hole.last) for hole in done.holes] == [(10, 19)]
    assert "does not have these ids" in done.holes[0].reason


def test_a_history_that_hangs_does_not_delay_the_end(spool: Spool) -> None:
    clocks = Jumping()

    class Hangs(FakeHistory):
        def trades_from(self, symbol: str, first_id: int, limit: int) -> list[object]:  # type: ignore[override]
            clocks.pass_(2)
            raise Unavailable("it does not answer")

    done = run(spool, Hangs([]), clocks)
    assert done.complete
    assert len(done.holes) == 3


@given(st.lists(st.sampled_from(["fail", "succeed", "leap", "wait"]), max_size=40))
def test_a_breaker_never_waits_longer_than_its_longest_pause(events: list[str]) -> None:
    clocks = Jumping()
    breaker = Breaker(clocks.timer, lambda low, high: high)
    for event in events:
        if event == "leap":
            clocks.leap(5 * HOUR)
            assert breaker.wait() == 0.0
            assert breaker.state != OPEN
        elif event == "wait":
            clocks.pass_(1.0)
        else:
            getattr(breaker, event)()
        assert 0.0 <= breaker.wait() <= LONGEST_PAUSE


@pytest.mark.parametrize("kind", KINDS)
def test_a_sender_continues_after_a_clock_jump_in_an_outage(spool: Spool, kind: str) -> None:
    clocks, queue = Jumping(), FakeQueue(Unavailable("it does not answer"))
    spool.append([entry(id_, sites=["aws"]) for id_ in range(5)])
    sender = Sender("aws", queue, spool, clock=clocks.timer, wall=clocks.wall)
    eventually(lambda: sender.delivery.error)
    clocks.jump(kind)
    clocks.pass_(LONGEST_PAUSE)
    eventually(lambda: not sender.delivery.waiting)
    sender.close()
