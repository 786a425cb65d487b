"""Data that the exchange derives from trades equals a simple derivation."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcloud.local.exchange import tape
from mcloud.local.exchange.aggregates import Aggregate, Aggregates
from mcloud.local.exchange.bars import INTERVALS, MINUTE
from mcloud.local.exchange.book import NO_LEVEL, Book
from mcloud.local.exchange.ledger import TradeLedger
from mcloud.market.trade import Trade

START = 1_723_161_255_000


@st.composite
def markets(draw: st.DrawFn) -> list[Trade]:
    """Draw trades of one symbol ordered by id, with holes and many equal times."""
    steps = draw(
        st.lists(
            st.tuples(
                st.sampled_from([1, 1, 1, 2]),
                st.integers(100, 104),
                st.sampled_from([0, 0, 0, 400, 61_000, 200_000]),
                st.booleans(),
            ),
            min_size=1,
            max_size=60,
        )
    )
    trades, id_, time = [], 0, START
    for id_step, price, time_step, maker in steps:
        id_, time = id_ + id_step, time + time_step
        trades.append(Trade("BTCUSDT", id_, Decimal(price), Decimal(id_) / 8, time, maker))
    return trades


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tape, "BLOCK", 4)


def aggregate(trades: list[Trade]) -> list[Aggregate]:
    """Aggregate consecutive trades with the same price, maker side and millisecond."""
    found: list[list[Trade]] = []
    for trade in trades:
        last = found[-1][-1] if found else None
        if last and trade[2:3] + trade[4:] == last[2:3] + last[4:] and trade.id == last.id + 1:
            found[-1].append(trade)
        else:
            found.append([trade])
    return [
        Aggregate(
            each[0].symbol,
            number,
            each[0].price,
            sum((trade.quantity for trade in each), Decimal(0)),
            each[0].id,
            each[-1].id,
            each[0].time,
            each[0].buyer_is_maker,
        )
        for number, each in enumerate(found, start=1)
    ]


@given(markets(), st.integers(1, 9), st.integers(0, 70))
def test_aggregates_equal_those_of_a_simple_model(trades: list[Trade], limit: int, at: int) -> None:
    aggregates = Aggregates()
    closed = [done for trade in trades if (done := aggregates.add(trade))]
    closed += aggregates.settle()
    expected = aggregate(trades)
    assert closed == expected
    assert aggregates.since("BTCUSDT", 0) == expected
    assert aggregates.newest("BTCUSDT", limit) == expected[-limit:]
    first_id = expected[at % len(expected)].id
    assert aggregates.since("BTCUSDT", first_id, limit) == expected[first_id - 1 :][:limit]
    start = expected[at % len(expected)].time
    end = start + 250_000
    within = [each for each in expected if start <= each.time <= end]
    assert aggregates.between("BTCUSDT", start, end, limit) == within[:limit]
    before = [each for each in expected if each.time <= end]
    assert aggregates.between("BTCUSDT", None, end, limit) == before[-limit:]


@given(markets(), st.randoms())
def test_a_repeated_trade_changes_nothing_that_is_derived(trades: list[Trade], random) -> None:
    once, twice = TradeLedger(), TradeLedger()
    for trade in trades:
        once.add(trade)
        twice.add(trade)
        twice.add(random.choice(trades[: trade.id]) if random.random() < 0.5 else trade)
    # A trade may have been added in between; afterwards both sides know all trades.
    for ledger in (once, twice):
        for trade in trades:
            ledger.add(trade)
    minute = INTERVALS["1m"]
    assert once.klines("BTCUSDT", minute, START - MINUTE, None, 1000) == twice.klines(
        "BTCUSDT", minute, START - MINUTE, None, 1000
    )


@given(markets(), st.sampled_from(["1s", "1m", "3m", "1h", "1d", "3d", "1w", "1M"]))
def test_klines_equal_those_of_a_simple_model(trades: list[Trade], name: str) -> None:
    ledger, interval = TradeLedger(), INTERVALS[name]
    for trade in trades:
        ledger.add(trade)
    first = interval.start(trades[0].time)
    klines = ledger.klines("BTCUSDT", interval, first, None, 1000)
    close = None
    for (start, bar), following in zip(klines, [*klines[1:], None], strict=True):
        inside = [t for t in trades if start <= t.time < interval.next(start)]
        assert following is None or following[0] == interval.next(start)
        assert bar.trades == len(inside)
        if not inside:
            assert (bar.open, bar.high, bar.low, bar.close) == (close,) * 4
            assert (bar.volume, bar.first_id) == (0, -1)
            continue
        prices = [trade.price for trade in inside]
        assert (bar.open, bar.close) == (prices[0], prices[-1])
        assert (bar.high, bar.low) == (max(prices), min(prices))
        assert (bar.first_id, bar.last_id) == (inside[0].id, inside[-1].id)
        assert bar.volume == sum(trade.quantity for trade in inside)
        assert bar.turnover == sum(trade.quantity * trade.price for trade in inside)
        assert bar.bought == sum(t.quantity for t in inside if not t.buyer_is_maker)
        close = bar.close
    if len(klines) < 1000:
        assert klines[-1][0] == interval.start(trades[-1].time)
    newest = ledger.klines("BTCUSDT", interval, None, None, 1000)
    assert newest[-3:] == ledger.klines("BTCUSDT", interval, None, None, 3)[-len(newest) :]


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("1w", "2024-08-05"),  # a Monday
        ("1M", "2024-08-01"),
        ("1d", "2024-08-08"),
    ],
)
def test_starts_of_long_klines(name: str, start: str) -> None:
    begin = int(datetime.fromisoformat(start).replace(tzinfo=UTC).timestamp()) * 1000
    interval = INTERVALS[name]
    assert interval.start(START) == begin
    assert interval.start(interval.next(begin) - 1) == begin
    assert interval.start(interval.next(begin)) == interval.next(begin)


def test_a_month_may_end_a_year() -> None:
    december = int(datetime(2024, 12, 1, tzinfo=UTC).timestamp()) * 1000
    january = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp()) * 1000
    assert INTERVALS["1M"].next(december) == january


@given(markets())
def test_a_book_shows_the_makers_prices_and_never_crosses(trades: list[Trade]) -> None:
    book = Book()
    assert (book.bid, book.ask) == (NO_LEVEL, NO_LEVEL)
    for trade in trades:
        book.add(trade)
        met = book.bid if trade.buyer_is_maker else book.ask
        assert met == (trade.price, trade.quantity)
        bids, asks = book.bids(100), book.asks(100)
        assert [each.price for each in bids] == sorted({p for p, _ in bids}, reverse=True)
        assert [each.price for each in asks] == sorted({p for p, _ in asks})
        assert not bids or not asks or bids[0].price < asks[0].price
        assert book.newest_id == trade.id


@given(markets())
def test_a_day_is_24_hours_to_the_minute(trades: list[Trade]) -> None:
    ledger = TradeLedger()
    assert ledger.day("BTCUSDT").bar.trades == 0
    early = Trade("BTCUSDT", 0, Decimal(7), Decimal(9), START - 2 * 86_400_000, True)
    for trade in (early, *trades):
        ledger.add(trade)
    day = ledger.day("BTCUSDT")
    assert day.bar.trades == len(trades)
    assert (day.bar.open, day.bar.close) == (trades[0].price, trades[-1].price)
    assert (day.close_before, day.last_quantity) == (7, trades[-1].quantity)
    assert day.end == trades[-1].time
