"""Which symbols the exchange is asked about when no trade comes, and when an answer counts."""

from hypothesis import given
from hypothesis import strategies as st

from mcloud.producer.newest_ids import LONGEST_QUIET, QUIET, SETTLE, NewestIds


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_no_symbol_is_requested_while_its_trades_arrive() -> None:
    clock = Clock()
    tails = NewestIds(clock)
    assert tails.next() is None
    for _ in range(100):
        tails.seen(["BTCUSDT"])
        clock.now += QUIET - 1
        assert tails.next() is None
    clock.now += 1
    assert tails.next() == "BTCUSDT"


def test_a_new_stream_is_checked_soon_unless_trades_arrive() -> None:
    clock = Clock()
    tails = NewestIds(clock)
    tails.opened(["BTCUSDT", "ETHUSDT"])
    assert tails.next() is None
    tails.seen(["BTCUSDT"])
    clock.now += SETTLE
    assert tails.next() == "ETHUSDT"
    # The same symbol is returned until there is an answer.
    assert tails.next() == "ETHUSDT"
    tails.note("ETHUSDT", 7)
    assert tails.next() is None


def test_an_answer_counts_after_the_stream_had_time_to_deliver() -> None:
    clock = Clock()
    tails = NewestIds(clock)
    tails.note("BTCUSDT", 7)
    clock.now += SETTLE / 2
    tails.note("ETHUSDT", 9)
    tails.note("NEWUSDT", None)  # it has never traded
    assert tails.take() == []
    clock.now += SETTLE / 2
    assert tails.take() == [("BTCUSDT", 7)]
    clock.now += SETTLE / 2
    assert tails.take() == [("ETHUSDT", 9)]
    clock.now += 1000
    assert tails.take() == []


def test_requests_for_a_quiet_market_become_less_frequent() -> None:
    clock = Clock()
    tails = NewestIds(clock)
    tails.seen(["BTCUSDT"])
    waits = []
    for _ in range(7):
        begun = clock.now
        while tails.next() is None:
            clock.now += 1
        waits.append(clock.now - begun)
        tails.note("BTCUSDT", 7)
    assert waits == [QUIET, QUIET, 2 * QUIET, 4 * QUIET, 8 * QUIET, 16 * QUIET, LONGEST_QUIET]
    tails.seen(["BTCUSDT"])
    clock.now += QUIET
    assert tails.next() == "BTCUSDT"


def test_a_failed_request_is_repeated_later() -> None:
    clock = Clock()
    tails = NewestIds(clock)
    tails.opened(["BTCUSDT", "ETHUSDT"])
    clock.now += SETTLE
    tails.put_off("BTCUSDT", 5.0)
    assert tails.next() == "ETHUSDT"
    tails.put_off("ETHUSDT", 6.0)
    assert tails.next() is None
    clock.now += 6
    assert tails.next() == "BTCUSDT"  # it was quiet first


def test_a_symbol_that_has_ended_is_requested_until_one_answer() -> None:
    clock = Clock()
    tails = NewestIds(clock)
    tails.seen(["BTCUSDT"])
    tails.ended(["BTCUSDT"])
    clock.now += SETTLE
    assert tails.next() == "BTCUSDT"
    tails.put_off("BTCUSDT", 5.0)
    clock.now += 5
    assert tails.next() == "BTCUSDT"
    tails.note("BTCUSDT", 7)
    clock.now += SETTLE
    assert tails.take() == [("BTCUSDT", 7)]
    # The symbol is requested a last time, and then no longer.
    tails.seen(["BTCUSDT"])
    clock.now += QUIET
    assert tails.next() == "BTCUSDT"
    tails.note("BTCUSDT", 7)
    clock.now += 100 * LONGEST_QUIET
    assert tails.next() is None
    tails.opened(["BTCUSDT"])
    clock.now += SETTLE
    assert tails.next() == "BTCUSDT"
    tails.note("BTCUSDT", 8)
    clock.now += LONGEST_QUIET
    assert tails.next() == "BTCUSDT"


def test_a_symbol_that_has_ended_and_is_not_served_is_given_up() -> None:
    clock = Clock()
    tails = NewestIds(clock)
    tails.ended(["BTCUSDT"])
    asked = 0
    for _ in range(100):
        clock.now += LONGEST_QUIET
        if tails.next():
            asked += 1
            tails.refused("BTCUSDT")
    assert asked == 6
    tails.opened(["ETHUSDT"])
    for _ in range(100):
        clock.now += LONGEST_QUIET
        assert tails.next() == "ETHUSDT"
        tails.refused("ETHUSDT")


@given(
    st.lists(
        st.tuples(st.sampled_from(["seen", "opened"]), st.sampled_from("ABC"), st.floats(0, 40)),
        max_size=40,
    )
)
def test_no_symbol_is_forgotten(events: list[tuple[str, str, float]]) -> None:
    """Every known symbol is asked about in turn."""
    clock = Clock()
    tails = NewestIds(clock)
    for what, each, pause in events:
        (tails.seen if what == "seen" else tails.opened)([each])
        clock.now += pause
    known = {symbol for _, symbol, _ in events}
    clock.now += QUIET
    asked = []
    while symbol := tails.next():
        asked.append(symbol)
        tails.note(symbol, 1)
    assert sorted(asked) == sorted(known)
