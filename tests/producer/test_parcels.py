"""Messages of the spool are combined without losing a trade."""

from collections import Counter
from decimal import Decimal
from itertools import pairwise
from math import inf
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcloud.market.candle import MINUTE
from mcloud.market.envelope import SQS_CHUNK, Message, decode, encode, window_end
from mcloud.market.trade import Trade
from mcloud.producer.parcels import TRADE, combine
from mcloud.producer.spool_message import Spooled

START = 1_735_775_880_000  # a whole minute


def trades(first: int, last: int, symbol: str = "BTCUSDT", *, step: int = 10) -> list[Trade]:
    return [
        Trade(symbol, id_, Decimal(f"{id_ % 7 + 1}.5"), Decimal("0.25"), START + id_ * step, True)
        for id_ in range(first, last + 1)
    ]


def spooled(id_: int, of: list[Trade], *, received: int = START) -> Spooled:
    return Spooled(id_, encode(of), len(of), received)


def held(message: Message) -> list[Trade]:
    return list(decode(message.body, message.attributes).trades)


MESSAGES = st.lists(
    st.tuples(
        st.sampled_from(["BTCUSDT", "ETHUSDT", "BTCUSDT.um", "币安人生USDT"]),
        st.integers(0, 400),
        st.integers(0, 120),
        st.booleans(),
    ),
    max_size=40,
)


@given(MESSAGES, st.booleans(), st.sampled_from([1500, 4000, 64 * 1024]), st.integers(0, 6000))
def test_every_message_is_in_one_parcel_or_waits_unchanged(
    made: list[tuple[str, int, int, bool]], several: bool, limit: int, until: int
) -> None:
    taken = [
        spooled(
            n,
            trades(first, first + count, symbol),
            received=START if is_recent else START - 1,
        )
        for n, (symbol, first, count, is_recent) in enumerate(made)
    ]
    parcels, later = combine(
        taken, until=START + until, oldest=START, several_symbols=several, limit=limit
    )
    parts = [part.id for parcel in parcels for part in parcel.parts]
    assert sorted([*parts, *(each.id for each in later)]) == list(range(len(made)))
    for parcel in parcels:
        carried = [trade for part in parcel.parts for trade in held(part.message)]
        assert Counter(held(parcel.message)) == Counter(carried)
        assert parcel.trades == len(carried)
        assert len(parcel.parts) == 1 or parcel.message.size <= limit
        assert several or len({trade.symbol for trade in carried}) == 1
    for each in later:
        assert held(each.message)[-1].time >= START + until
        assert each.received_at == START


def test_many_messages_are_combined_into_one() -> None:
    taken = [
        spooled(n, trades(n * 5, n * 5 + 4, symbol))
        for n, symbol in enumerate(["BTCUSDT", "ETHUSDT", "BTCUSDT", "ETHUSDT", "BNBUSDT"])
    ]
    ((parcel,), later) = combine(taken, until=inf, oldest=inf)
    assert not later
    assert parcel.parts == tuple(taken)
    assert parcel.message.size < sum(each.message.size for each in taken) / 2
    per_symbol, _ = combine(taken, until=inf, oldest=inf, several_symbols=False)
    assert [len(each.parts) for each in per_symbol] == [2, 2, 1]
    # A function of an older release reads them.
    assert all("version" not in each.message.attributes for each in per_symbol)


def test_a_minute_of_many_symbols_is_sent_in_few_messages_and_writes_each_candle_once() -> None:
    """The trades of 400 symbols as they come: some in each second, of which most are few."""
    random = Random(7)
    taken: list[Spooled] = []
    ids = dict.fromkeys(range(1, 401), 100)
    for second in range(60):
        for number in ids:
            count = min(random.randrange(1 + 900 // number), 450)
            if count:
                first = ids[number]
                of = [
                    Trade(
                        f"S{number}USDT",
                        first + n,
                        Decimal(random.randrange(10_000, 10_900)) / 100,
                        Decimal(random.randrange(1, 9_000)) / 1000,
                        START + 1000 * second + n,
                        random.random() < 0.5,
                    )
                    for n in range(count)
                ]
                ids[number] += count
                taken.append(spooled(len(taken), of))
    parcels, later = combine(taken, until=inf, oldest=inf)
    assert not later
    size = sum(parcel.message.size for parcel in parcels)
    assert max(parcel.message.size for parcel in parcels) <= SQS_CHUNK
    assert len(parcels) <= 1.6 * size / SQS_CHUNK + 1
    writes = Counter(
        symbol for parcel in parcels for symbol in {each.symbol for each in held(parcel.message)}
    )
    trades_of = Counter(trade.symbol for each in taken for trade in held(each.message))
    assert {symbol for symbol, count in writes.items() if count > 1} <= {
        symbol for symbol, count in trades_of.items() if count * TRADE > SQS_CHUNK / 2
    }


def test_a_repeated_trade_becomes_its_own_parcel() -> None:
    taken = [spooled(1, trades(1, 9)), spooled(2, trades(5, 6)), spooled(3, trades(10, 12))]
    parcels, _ = combine(taken, until=inf, oldest=inf)
    assert [[part.id for part in parcel.parts] for parcel in parcels] == [[1, 3], [2]]


def test_an_unreadable_message_is_sent_unchanged() -> None:
    strange = Spooled(1, Message("?", {"symbol": "BTCUSDT"}), 1, START)
    parcels, _ = combine([strange, spooled(2, trades(1, 2))], until=inf, oldest=inf)
    assert [parcel.parts[0].id for parcel in parcels] == [1, 2]
    assert parcels[0].message == strange.message


def test_the_next_minute_waits_for_its_own_window() -> None:
    taken = [
        spooled(1, trades(5990, 5999), received=START + MINUTE - 100),
        spooled(2, trades(6000, 6009), received=START + MINUTE - 100),
    ]
    end = START + MINUTE
    ((parcel,), later) = combine(taken, until=end, oldest=end - 5000)
    assert (parcel.parts, later) == ((taken[0],), [taken[1]])


@pytest.mark.parametrize(
    ("freshness", "ends"),
    [
        (5, [0, 5, 10, 55, 60]),
        (20, [0, 20, 40, 60]),
        (45, [0, 45, 60, 105, 120]),
        (60, [0, 60, 120]),
        (150, [0, 120, 240]),
        (0.5, [0, 0.5, 1, 59.5, 60]),
    ],
)
def test_windows_end_with_the_minute(freshness: float, ends: list[float]) -> None:
    hour = START // 3_600_000 * 3_600_000
    for before, end in pairwise(ends):
        if end - before <= freshness:
            last = hour + int(1000 * end) - 1
            assert window_end(last, freshness) == hour + 1000 * before
        assert window_end(hour + int(1000 * end), freshness) == hour + 1000 * end


@given(st.integers(0, 2**41), st.floats(0.1, 600))
def test_a_window_is_no_longer_than_the_freshness(now: int, freshness: float) -> None:
    end = window_end(now, freshness)
    assert end <= now < end + max(1000 * freshness, 1)
    if freshness < 60:
        assert end >= now - now % MINUTE
    else:
        assert end % MINUTE == 0
