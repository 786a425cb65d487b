"""The candles of a batch are those of ``market.fold``, to the last byte."""

from collections.abc import Callable, Iterable
from decimal import Decimal, Inexact
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from market.trade_sets import START

from bulk.arrivals import arrivals
from mcloud.bulk import fold as kernel
from mcloud.bulk import numbers
from mcloud.bulk.columns import from_trades, to_trades
from mcloud.market import candle as market
from mcloud.market.candle import MINUTE, Candle, Folded, by_minute, merge
from mcloud.market.trade import MAX_ID, Trade

Outcome = list[tuple[Folded, object]] | str


def outcome(fold: Callable[[], Iterable[Folded]]) -> Outcome:
    """Return the results with their stored forms, or the error."""
    try:
        return [(folded, record(folded.candle)) for folded in fold()]
    except Inexact:
        return "a sum does not fit into 38 digits"


def record(candle: Candle) -> object:
    try:
        return list(candle.to_record().items())
    except Inexact:
        return "its sum does not fit into 38 digits"


def one_by_one(trades: list[Trade]) -> list[Folded]:
    groups = sorted(by_minute(trades).items())
    return [market.fold(Candle(*key), group) for key, group in groups]


def compare(trades: list[Trade]) -> None:
    expected = outcome(lambda: one_by_one(trades))
    assert outcome(lambda: kernel.fold("BTCUSDT", from_trades(trades))) == expected


@given(arrivals())
@settings(max_examples=500)
def test_a_batch_gives_the_candles_of_market_fold(trades: list[Trade]) -> None:
    compare(trades)


@given(arrivals(disagreeing=False), st.data())
def test_batches_give_the_candles_of_all_trades(trades: list[Trade], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(trades)), max_size=4)))
    parts = [trades[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(trades)], strict=True)]

    def joined() -> list[Folded]:
        folds = (kernel.fold("BTCUSDT", from_trades(part)) for part in parts)
        minutes: dict[int, Folded] = {}
        for folded in kernel.join(folds):
            start = folded.candle.start
            if start in minutes:
                folded = merge(minutes[start].candle, folded.candle)
            minutes[start] = folded
        return [minutes[start] for start in sorted(minutes)]

    try:
        expected = [folded.candle for folded in one_by_one(trades)]
    except Inexact:
        return  # the parts may fit one by one
    found = joined()
    assert [folded.candle for folded in found] == expected
    assert [record(folded.candle) for folded in found] == list(map(record, expected))


def test_a_candle_comes_when_its_minute_is_over() -> None:
    trades = [trade(n, START + n * 10_000) for n in range(60)]
    batches = [from_trades(trades[n : n + 7]) for n in range(0, 60, 7)]
    found = list(kernel.join(kernel.fold("BTCUSDT", each) for each in batches))
    assert found == one_by_one(trades)
    pending = kernel.join(kernel.fold("BTCUSDT", each) for each in iter(batches))
    assert next(pending).candle.start == START


def test_disagreements_of_several_batches_are_reported() -> None:
    one = from_trades([trade(5, START)])
    other = from_trades([trade(5, START)._replace(price=Decimal(7))])
    (found,) = kernel.join(kernel.fold("BTCUSDT", each) for each in (one, other))
    assert [each.first_id for each in found.disagreements] == [5]


def test_no_trades_give_no_candles() -> None:
    assert kernel.fold("BTCUSDT", from_trades([])) == []
    assert list(kernel.join([])) == []


def test_a_long_run_of_wide_numbers() -> None:
    trades = [
        trade(n, START + n)._replace(
            price=Decimal(9 * 10**15 + n).scaleb(-8), quantity=Decimal(10**16 - 1 - n).scaleb(-8)
        )
        for n in range(MAX_ID - 5_000, MAX_ID + 1)
    ]
    trades = [each._replace(time=START + n % MINUTE) for n, each in enumerate(trades)]
    compare(trades)


@pytest.mark.parametrize("digits", [37, 38, 39])
def test_a_sum_of_38_digits_fits_and_one_of_39_is_an_error(digits: int) -> None:
    whole = digits - 24  # behind the point, a product has 24 digits
    price = Decimal("0." + "0" * 11 + "1") + 10 ** (whole // 2)
    quantity = Decimal("0." + "0" * 11 + "1") + 10 ** (whole - whole // 2 - 1)
    trades = [trade(0, START)._replace(price=price, quantity=quantity)]
    found = outcome(lambda: kernel.fold("BTCUSDT", from_trades(trades)))
    assert isinstance(found, str) is (digits > 38)
    compare(trades)


@given(arrivals())
def test_trades_come_back_from_columns(trades: list[Trade]) -> None:
    back = to_trades("BTCUSDT", from_trades(trades))
    assert back == trades
    assert list(map(str, back)) == list(map(str, trades))


def trade(id_: int, time: int) -> Trade:
    return Trade("BTCUSDT", id_, Decimal("61837.63"), Decimal("0.02"), time, True)


# Faults in the kernel, to see that the property finds them

Fault = Callable[[pytest.MonkeyPatch], None]


def close_from_the_wrong_end(patch: pytest.MonkeyPatch) -> None:
    at = numbers.Numbers.at
    patch.setattr(numbers.Numbers, "at", lambda self, rows: at(self, np.maximum(rows - 1, 0)))


def last_repeat_stays(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        kernel, "_first_trades", lambda voids, starts: np.append(starts[1:], len(voids)) - 1
    )


def carry_of_a_limb_dropped(patch: pytest.MonkeyPatch) -> None:
    totals = kernel.totals

    def without(limbs: Any, starts: Any) -> list[int]:
        return totals([limb & np.uint64(2**32 - 1) for limb in limbs], starts)

    patch.setattr(kernel, "totals", without)


def blocks_one_level_too_small(patch: pytest.MonkeyPatch) -> None:
    level = kernel._level
    patch.setattr(kernel, "_level", lambda id_, left: np.maximum(level(id_, left) - 1, 0))


def blocks_that_are_not_aligned(patch: pytest.MonkeyPatch) -> None:
    level = kernel._level
    patch.setattr(kernel, "_level", lambda id_, left: level(id_ * 0, left))


def void_as_the_lowest_price(patch: pytest.MonkeyPatch) -> None:
    extremes = kernel._extremes
    patch.setattr(kernel, "_extremes", lambda price, _, starts: extremes(price, None, starts))


def sums_that_wrap(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(kernel, "LIMIT", 2**70)


def runs_across_minutes(patch: pytest.MonkeyPatch) -> None:
    blocks = kernel._blocks
    patch.setattr(kernel, "_blocks", lambda rows: blocks(rows._replace(minutes=rows.minutes * 0)))


FAULTS: list[Fault] = [
    close_from_the_wrong_end,
    last_repeat_stays,
    carry_of_a_limb_dropped,
    blocks_one_level_too_small,
    blocks_that_are_not_aligned,
    void_as_the_lowest_price,
    sums_that_wrap,
    runs_across_minutes,
]


@pytest.mark.parametrize("fault", FAULTS)
def test_the_property_finds_a_fault(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    fault(monkeypatch)
    check = settings(max_examples=1_000, database=None, derandomize=True, phases=[Phase.generate])(
        given(arrivals())(compare)
    )
    with pytest.raises((AssertionError, ValueError, OverflowError)):
        check()
