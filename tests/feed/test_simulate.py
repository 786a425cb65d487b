"""The simulated stream is reproducible, and similar to a real one in the aspects that matter."""

import hashlib
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from itertools import groupby, islice, pairwise

import pytest

from mcloud.errors import UsageError
from mcloud.feed.feed import Feed, FeedReport
from mcloud.feed.simulate import Simulate
from mcloud.market.trade import Trade, canonical

START = 1_723_161_210_000  # 2024-08-08T23:53:30Z, half a minute before the next
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SHELLUSDT")

FIRST = [
    Trade("BTCUSDT", 2085380345, Decimal("61839.6"), Decimal("0.00079"), 1723161210008, False),
    Trade("BTCUSDT", 2085380346, Decimal("61838.86"), Decimal("0.00445"), 1723161210012, False),
]

DIGEST = """
import hashlib
from mcloud.feed.simulate import Simulate
trades = Simulate(["BTCUSDT", "SHELLUSDT"], seed=7, start_time=1723161210000, count=5000)
print(hashlib.sha256(repr(list(trades)).encode()).hexdigest())
"""


@pytest.fixture(scope="module")
def trades() -> list[Trade]:
    return list(Simulate(SYMBOLS, seed=3, start_time=START, duration=600))


def of(symbol: str, trades: list[Trade]) -> list[Trade]:
    return [trade for trade in trades if trade.symbol == symbol]


def test_the_same_seed_gives_the_same_trades_in_any_process() -> None:
    run = subprocess.run(
        [sys.executable, "-c", DIGEST], capture_output=True, text=True, check=True, timeout=60
    )
    feed = Simulate(["BTCUSDT", "SHELLUSDT"], seed=7, start_time=START, count=5000)
    assert hashlib.sha256(repr(list(feed)).encode()).hexdigest() == run.stdout.strip()
    assert list(feed) == list(feed)


def test_the_first_trades_do_not_change_between_versions() -> None:
    feed = Simulate(["BTCUSDT"], seed=1, start_time=START, count=2)
    assert list(feed) == FIRST


def test_another_seed_gives_other_trades() -> None:
    one, other = (Simulate(["BTCUSDT"], seed=s, start_time=START, count=50) for s in (1, 2))
    assert {trade.id for trade in one}.isdisjoint(trade.id for trade in other)


def test_a_symbol_does_not_depend_on_the_others(trades: list[Trade]) -> None:
    alone = Simulate(["ETHUSDT"], seed=3, start_time=START, duration=600)
    assert list(alone) == of("ETHUSDT", trades)


def test_ids_are_dense_and_times_never_go_back(trades: list[Trade]) -> None:
    assert all(a.time <= b.time for a, b in pairwise(trades))
    for symbol in SYMBOLS:
        ids = [trade.id for trade in of(symbol, trades)]
        assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert len({of(symbol, trades)[0].id for symbol in SYMBOLS}) == 3


def test_the_symbols_are_interleaved(trades: list[Trade]) -> None:
    stretches = [len(list(group)) for _, group in groupby(trades, key=lambda t: t.symbol)]
    assert max(stretches) < len(trades) / 20


def test_numbers_lie_on_their_grids_and_are_canonical(trades: list[Trade]) -> None:
    for trade in trades:
        assert trade.price > 0
        assert trade.quantity > 0
        assert trade.price % Decimal("0.01") == 0
        assert trade.quantity % Decimal("0.00001") == 0
        for number in (trade.price, trade.quantity):
            assert str(number) == canonical(str(number))


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_the_simulation_resembles_the_real_stream(symbol: str, trades: list[Trade]) -> None:
    own = of(symbol, trades)
    shared = sum(a.time == b.time for a, b in pairwise(own)) / len(own)
    assert 0.6 < shared < 0.73
    assert 20 < len(own) / 600 < 50
    seconds = Counter(trade.time // 1000 for trade in own)
    assert 700 < max(seconds.values()) < 1200
    assert len({trade.time // 60_000 for trade in own}) == 11
    quantities = sorted(trade.quantity for trade in own)
    assert quantities[-1] > 100 * quantities[len(own) // 2]
    assert 0.3 < sum(trade.buyer_is_maker for trade in own) / len(own) < 0.7
    prices = [trade.price for trade in own]
    assert len(set(prices)) > 20
    assert Decimal("0.9") < min(prices) / max(prices) < 1


def test_known_symbols_begin_at_a_plausible_price() -> None:
    (first,) = Simulate(["BTCUSDT"], seed=0, start_time=START, count=1)
    assert abs(first.price - Decimal("61837.63")) < 50
    (first,) = Simulate(["DOGEUSDT"], seed=0, start_time=START, count=1)
    assert abs(first.price - Decimal("0.10345")) < Decimal("0.0001")


@pytest.mark.parametrize("rate", [0.5, 30, 1000])
def test_the_rate_is_kept_on_average(rate: float) -> None:
    seconds = 3000 if rate < 100 else 60
    counted = [
        sum(1 for _ in Simulate(["BTCUSDT"], seed=s, start_time=START, duration=seconds, rate=rate))
        for s in range(3)
    ]
    assert 0.8 < sum(counted) / 3 / seconds / rate < 1.2


def test_count_duration_and_report() -> None:
    feed = Simulate(["ethusdt", "btcusdt"], seed=1, start_time=START, count=100)
    typed: Feed = feed
    assert typed.symbols == ("ETHUSDT", "BTCUSDT")
    assert len(list(feed)) == 100
    assert feed.report == FeedReport(trades=100)
    assert len(list(islice(Simulate(["BTCUSDT"], seed=1, start_time=START), 2000))) == 2000
    ending = Simulate(["BTCUSDT"], seed=1, start_time=START, count=10**9, duration=1.5)
    assert all(START <= trade.time < START + 1500 for trade in ending)
    assert list(Simulate(["BTCUSDT"], seed=1, start_time=START, duration=0)) == []


@pytest.mark.parametrize(
    "change",
    [
        {"rate": 0},
        {"rate": 1001},
        {"rate": float("nan")},
        {"count": -1},
        {"duration": -1},
        {"duration": float("inf")},
        {"start_time": -1},
        {"symbols": []},
        {"symbols": ["BTC-USDT"]},
    ],
)
def test_arguments_out_of_range(change: dict[str, object]) -> None:
    arguments: dict[str, object] = {"symbols": ["BTCUSDT"], "seed": 1, "start_time": START}
    with pytest.raises(UsageError):
        Simulate(**(arguments | change))  # type: ignore[arg-type]
