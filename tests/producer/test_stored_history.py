"""The candles before a run, from the first site that answers."""

import logging
import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import cast

import pytest
from patience import eventually

from mcloud.clouds.ports import Site
from mcloud.errors import Unavailable
from mcloud.market.candle import MINUTE, Candle, fold
from mcloud.market.trade import Trade
from mcloud.producer.stored_history import StoredHistory, SymbolHistory

START = 1_723_161_240_000
LOG = logging.getLogger("test-history")


def candle(minute: int) -> Candle:
    start = START + minute * MINUTE
    trade = Trade("AUSDT", 100 + minute, Decimal(1), Decimal(1), start, True)
    return fold(Candle("AUSDT", start), [trade]).candle


class CandleSite:
    """A site with a candle for each minute."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.candles = self
        self.failure = failure
        self.asked: list[str] = []
        self.first, self.last = -300, 299
        self.may_answer = threading.Event()
        self.may_answer.set()

    def range(self, symbol: str, start: int, end: int) -> Iterator[Candle]:
        self.asked.append(symbol)
        assert self.may_answer.wait(60)
        if self.failure is not None:
            raise self.failure
        for minute in range(self.first, self.last + 1):
            if start <= (each := candle(minute)).start < end:
                yield each


def history_of(**sites: CandleSite) -> StoredHistory:
    return StoredHistory(cast(dict[str, Site], sites), 30 * MINUTE, LOG)


def answers(history: StoredHistory, count: int) -> list[SymbolHistory]:
    found: list[SymbolHistory] = []

    def has_all() -> bool:
        found.extend(history.take())
        return len(found) == count

    eventually(has_all)
    return found


def test_each_symbol_is_read_once_up_to_its_first_minute() -> None:
    site, other = CandleSite(), CandleSite()
    history = history_of(aws=site, gcp=other)
    for symbol in ("AUSDT", "BUSDT"):
        history.request(symbol, START)
    found = sorted(answers(history, 2))
    assert [each.symbol for each in found] == ["AUSDT", "BUSDT"]
    assert [each.start for each in found[0].candles] == [
        START + minute * MINUTE for minute in range(-30, 1)
    ]
    assert (sorted(site.asked), other.asked) == (["AUSDT", "BUSDT"], [])
    history.close()


@pytest.mark.parametrize("failure", [Unavailable("away"), ValueError("a bug")])
def test_another_site_answers(failure: Exception) -> None:
    away, there = CandleSite(failure), CandleSite()
    history = history_of(aws=away, gcp=there)
    for number in range(3):
        history.request("AUSDT", START)
        ((_, candles),) = answers(history, 1)
        assert len(candles) == 31
        # It is asked first from now on.
        assert (len(away.asked), len(there.asked)) == (1, number + 1)
    history.close()


def test_a_site_without_candles_is_not_the_last_to_be_asked() -> None:
    empty, full = CandleSite(), CandleSite()
    empty.first = 10_000
    history = history_of(aws=empty, gcp=full)
    history.request("AUSDT", START)
    ((_, candles),) = answers(history, 1)
    assert len(candles) == 31
    history.close()


def test_a_site_that_was_away_is_not_taken_for_the_history() -> None:
    was_away, there = CandleSite(), CandleSite()
    was_away.last = -60
    history = history_of(aws=was_away, gcp=there)
    history.request("AUSDT", START)
    (found,) = answers(history, 1)
    assert found.candles[-1].start == START
    there.last = -90
    history.request("BUSDT", START)
    (found,) = answers(history, 1)
    assert found.candles == []  # both are beyond the reach of 30 minutes
    was_away.last, there.last = -20, -10
    history.request("CUSDT", START)
    (found,) = answers(history, 1)
    assert found.candles[-1].start == START - 10 * MINUTE
    history.close()


def test_no_site_answers(caplog: pytest.LogCaptureFixture) -> None:
    history = history_of(aws=CandleSite(Unavailable("away")), gcp=CandleSite(Unavailable("gone")))
    for symbol in ("AUSDT", "BUSDT"):
        history.request(symbol, START)
    assert [each.candles for each in answers(history, 2)] == [[], []]
    assert caplog.text.count("starts without history") == 1
    history.close()


def test_a_site_that_hangs_delays_nobody() -> None:
    site = CandleSite()
    site.may_answer.clear()
    history = history_of(aws=site)
    for _ in range(100):
        history.request("AUSDT", START)
    assert history.take() == []
    history.close()
    site.may_answer.set()
