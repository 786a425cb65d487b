"""The detection in a run: when it judges, and that it never harms the trades."""

import logging
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest
from controls import MemoryControl

from mcloud.clock import Limit
from mcloud.clouds.anomalies import recent
from mcloud.clouds.ports import Control, Site
from mcloud.errors import Unavailable
from mcloud.market.anomaly import Anomaly, Thresholds
from mcloud.market.candle import MINUTE, Candle, by_minute, fold
from mcloud.market.trade import CANARY, Trade
from mcloud.producer import anomaly_finder
from mcloud.producer.anomaly_finder import CHECK, HELD, AnomalyFinder
from mcloud.producer.findings import Findings
from mcloud.producer.produce import FeedReader, produce
from mcloud.producer.spool import Spool
from mcloud.producer.stored_history import StoredHistory, SymbolHistory

from .queues import FakeQueue
from .sources import Script

START = 1_723_161_240_000
LOG = logging.getLogger("test-finder")


def trade(minute: int, price: str = "100", symbol: str = "AUSDT") -> Trade:
    return Trade(symbol, minute, Decimal(price), Decimal(1), START + minute * MINUTE, True)


class GivenFindings:
    """Notes what is found."""

    def __init__(self) -> None:
        self.found: list[Anomaly] = []
        self.add = self.found.append

    def wait(self, limit: Limit) -> None: ...

    def close(self) -> None: ...


class GivenHistory:
    """Answers when the test says so."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, int]] = []
        self.answers: list[SymbolHistory] = []

    def request(self, symbol: str, start: int) -> None:
        self.requests.append((symbol, start))

    def take(self, limit: int | None = None) -> list[SymbolHistory]:
        found, self.answers = self.answers[:limit], self.answers[len(self.answers[:limit]) :]
        return found

    def close(self) -> None: ...


class Rig:
    """A finder with a clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.findings, self.history = GivenFindings(), GivenHistory()
        self.finder = AnomalyFinder(
            Thresholds(),
            cast(Findings, self.findings),
            cast(StoredHistory, self.history),
            LOG,
            lambda: self.now,
        )

    def answer(self, symbol: str, *trades: Trade) -> None:
        candles = [
            fold(Candle(symbol, start), part).candle
            for (_, start), part in by_minute(trades).items()
        ]
        self.history.answers.append(SymbolHistory(symbol, candles))

    def check(self, seconds: float = CHECK) -> list[Anomaly]:
        """Let time pass, check, and return what was found."""
        self.now += seconds
        self.finder.check()
        found = list(self.findings.found)
        self.findings.found.clear()
        return found


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A history that never arrives delays the end of a test by a moment only."""
    monkeypatch.setattr(anomaly_finder, "PATIENCE", 0.05)


@pytest.fixture
def rig() -> Rig:
    return Rig()


def steady(count: int, symbol: str = "AUSDT") -> list[Trade]:
    return [trade(minute, symbol=symbol) for minute in range(count)]


def test_the_current_minute_is_judged_every_few_seconds(rig: Rig) -> None:
    rig.finder.take([steady(10)])
    rig.answer("AUSDT")
    assert rig.check() == []
    rig.finder.take([[trade(10, "105")]])
    assert rig.check(CHECK / 2) == []
    (found,) = rig.check(CHECK / 2)
    assert (found.start, found.trades) == (START + 10 * MINUTE, 1)
    assert rig.check() == []
    rig.finder.take([[trade(11)]])
    (whole,) = rig.check()
    assert (whole.key, whole.complete) == (found.key, True)
    assert rig.finder.found == 1


def test_the_first_verdict_waits_for_the_history(rig: Rig) -> None:
    rig.finder.take([[trade(20, "105")], [trade(20, "105", "BUSDT")]])
    assert rig.history.requests == [(each, START + 20 * MINUTE) for each in ("AUSDT", "BUSDT")]
    assert rig.check() == []
    rig.answer("AUSDT", *steady(20))
    assert [each.symbol for each in rig.check()] == ["AUSDT"]
    # Without an answer, detection starts after a while.
    rig.finder.take([[trade(minute, symbol="BUSDT") for minute in range(21, 30)]])
    rig.finder.take([[trade(30, "95", "BUSDT")]])
    assert rig.check() == []
    assert [each.start for each in rig.check(HELD)] == [START + 30 * MINUTE]


def test_a_replay_at_full_speed_judges_every_minute(rig: Rig) -> None:
    """No time passes, and no history arrives."""
    prices = {50: "105", 700: "95"}
    rig.finder.take([[trade(n, prices.get(n, "100"))] for n in range(1000)])
    rig.finder.finish(Limit(0))
    assert {each.start for each in rig.findings.found} == {START + n * MINUTE for n in prices}
    assert rig.finder.found == 2


def test_a_check_is_limited_in_time(rig: Rig) -> None:
    """The symbols that are left are judged after the next trades."""
    symbols = [f"S{n}USDT" for n in range(5)]
    rig.finder.take([[*steady(10, symbol), trade(10, "105", symbol)] for symbol in symbols])
    for symbol in symbols:
        rig.answer(symbol)

    def slow() -> float:
        rig.now += anomaly_finder.BUDGET
        return rig.now

    rig.finder._clock = slow
    assert 0 < len(rig.check()) < 5
    found = [each for _ in range(5) for each in rig.check(0)]
    assert len(found) > 0
    assert rig.finder.found == 5


def test_canaries_are_no_market(rig: Rig) -> None:
    rig.finder.take([[trade(0, symbol=CANARY)]])
    assert rig.history.requests == []


def test_late_trades_are_named_once(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.finder.take([[trade(500)]])
    rig.finder.take([[trade(0)], [trade(1)]])
    assert caplog.text.count("came too late to be checked") == 1
    assert "2024-08-08T23:54:00Z" in caplog.text


def test_an_error_stops_the_detection_of_one_symbol(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    large = trade(0, symbol="BUSDT")._replace(quantity=Decimal(10) ** 37)
    small = trade(0, symbol="BUSDT")._replace(id=1, quantity=Decimal("0.01"))
    rig.finder.take([[large, small], steady(10)])
    rig.finder.take([[large, small], [trade(10, "105")]])
    rig.answer("AUSDT")
    rig.answer("BUSDT")
    assert [each.symbol for each in rig.check()] == ["AUSDT"]
    assert caplog.text.count("has failed, and stops for BUSDT") == 1


def run(tmp_path: Path, trades: list[Trade], finder: AnomalyFinder, **options: Any) -> FakeQueue:
    queue = FakeQueue()
    with Spool.open(tmp_path / "spool", ["aws"]) as spool:
        done = produce(FeedReader(trades), {"aws": queue}, spool, finder=finder, **options)
    assert done.complete
    return queue


@pytest.mark.parametrize("where", ["take", "judge", "history", "add"])
def test_no_error_of_the_detection_harms_the_trades(
    tmp_path: Path,
    rig: Rig,
    where: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    if where == "history":
        monkeypatch.setattr(rig.history, "take", fail)
    elif where == "add":
        monkeypatch.setattr(rig.findings, "add", fail)
    else:
        monkeypatch.setattr(anomaly_finder.SymbolDetector, where, fail)
    given = [*steady(300), trade(300, "105"), *(trade(n) for n in range(301, 310))]
    assert run(tmp_path, given, rig.finder, batch=20).trades == given
    assert caplog.text.count("detection of anomalies has failed") == 1


class OneSite:
    def __init__(self) -> None:
        self.control = MemoryControl()
        self.candles = self

    def range(self, *_: object) -> Iterator[Candle]:
        raise Unavailable("away")


def test_a_run_stores_what_it_finds(tmp_path: Path) -> None:
    given = [*steady(20), trade(20, "105"), trade(21)]
    site = OneSite()
    sites = cast(dict[str, Site], {"aws": site})
    reach = Thresholds().reach

    def finder() -> AnomalyFinder:
        findings, history = Findings(tmp_path, sites, LOG), StoredHistory(sites, reach, LOG)
        return AnomalyFinder(Thresholds(), findings, history, LOG)

    run(tmp_path, given, finder())
    (found,) = recent(cast(Control, site.control), 0)
    assert (found.start, found.complete) == (START + 20 * MINUTE, True)
    # A second run finds the same.
    run(tmp_path, given, finder())
    assert recent(cast(Control, site.control), 0) == [found]


def test_repaired_holes_and_repeats_of_a_live_stream_are_judged(tmp_path: Path, rig: Rig) -> None:
    """The detection sees what the cursor admits, in the order of arrival."""
    given = [*steady(20), trade(20, "105"), trade(21)]
    late = [*given[:19], *given[20:]]
    source = Script([*late, *late[-2:]], [given[19]])
    queue = FakeQueue()
    with Spool.open(tmp_path / "spool", ["aws"]) as spool:
        done = produce(source, {"aws": queue}, spool, finder=rig.finder, live=True, batch=1)
    assert (done.anomalies, done.repeats, done.holes) == (1, 2, ())
    assert rig.findings.found[-1].complete
