"""The state document of a producer."""

import json
import os

from states import producer

from mcloud.documents import encode
from mcloud.feed.feed import SourceSummary
from mcloud.producer.produce import ProducerProgress
from mcloud.producer.reported_state import ProducerState, ReportedState, SourceAbout
from mcloud.producer.sender import SiteDelivery

from .sources import hole, progress

AT = 1_735_689_598.0  # 2024-12-31T23:59:58Z


class Times:
    """A monotonic clock and a wall clock that advance together."""

    def __init__(self) -> None:
        self.passed = 0.0

    def clock(self) -> float:
        return 50.0 + self.passed

    def wall(self) -> float:
        return AT + self.passed


def make(times: Times, last: ProducerState | None = None) -> ReportedState:
    about = SourceAbout(source="binance", live=True, exchange="wss://x", market="")
    return ReportedState("default", "both", about, last, clock=times.clock, wall=times.wall)


def sent(messages: int) -> ProducerProgress:
    return progress(sites={"aws": SiteDelivery(messages=messages), "gcp": SiteDelivery(messages=1)})


def test_the_document_contains_every_field() -> None:
    times = Times()
    account = make(times)
    times.passed = 1.0
    site = SiteDelivery(
        messages=3, trades=30, waiting=1, waiting_trades=10, latency=0.02, error="slow"
    )
    now = progress(
        read=40,
        repeats=2,
        last_time=int(AT * 1000) + 250,
        sites={"aws": site},
        holes=(hole(5, 7),),
        spool_bytes=40_960,
    )
    seen = SourceSummary("1 of 1 connections", False, ages={"BTCUSDT": None}, symbols=("BTCUSDT",))
    state = account.state(now, seen)
    assert json.loads(json.dumps(encode(state))) == {
        "name": "default",
        "mode": "both",
        "source": "binance",
        "symbols": ["BTCUSDT"],
        "live": True,
        "exchange": "wss://x",
        "market": "",
        "pid": os.getpid(),
        "started": AT,
        "at": AT + 1,
        "read": 40,
        "repeats": 2,
        "rate": 40.0,
        "last_trade_time": int(AT * 1000) + 250,
        "lag_s": 0.75,
        "route": {"sites": ["aws"], "reason": "the only site"},
        "sites": {
            "aws": {
                "messages": 3,
                "trades": 30,
                "waiting": 1,
                "waiting_trades": 10,
                "breaker": "closed",
                "latency": 0.02,
                "error": "slow",
                "refused": False,
                "lag_s": 0.0,
            }
        },
        "holes": [
            {
                "symbol": "BTCUSDT",
                "first": 5,
                "last": 7,
                "since": 1_723_161_255_342,
                "attempts": 0,
                "reason": "",
            }
        ],
        "spool_bytes": 40_960,
        "spool_full": False,
        "problem": "",
        "source_state": {
            "summary": "1 of 1 connections",
            "error": False,
            "reconnects": 0,
            "stalls": 0,
            "stalled": [],
            "ages": {"BTCUSDT": None},
            "symbols": ["BTCUSDT"],
            "changed": "",
            "listed": [],
            "not_trading": {},
        },
        "stalled": [],
        "month": "2024-12",
        "sent": {"aws": 3},
    }


def test_unknown_values_are_null() -> None:
    state = make(Times()).state(progress())
    assert (state.last_trade_time, state.lag_s, state.source_state) == (None, None, None)


def test_the_rate_follows_the_newest_second() -> None:
    times = Times()
    account = make(times)
    rates = []
    for second, read in enumerate([100, 200, 200, 200], start=1):
        times.passed = second
        rates.append(account.state(progress(read=read)).rate)
    assert rates == [100.0, 100.0, 70.0, 49.0]


def test_messages_are_counted_by_the_month() -> None:
    times = Times()
    account = make(times, producer(month="2024-12", sent={"aws": 1_000, "west": 7}))
    assert account.state(sent(5)).sent == {"aws": 1_005, "gcp": 1}
    account.state(sent(8))
    assert account.sent_this_month("aws") == 1_008
    times.passed = 5.0  # a new year
    state = account.state(sent(10))
    assert (state.month, state.sent) == ("2025-01", {"aws": 2, "gcp": 0})
    # A run that continues in the same month keeps its count; in another month it starts at zero.
    assert make(times, state).sent_this_month("aws") == 2
    times.passed = 40 * 86_400.0
    assert make(times, state).sent_this_month("aws") == 0


def test_an_unknown_site_has_no_sent_messages() -> None:
    assert make(Times()).sent_this_month("mars") == 0


def test_the_symbols_of_a_recording_are_known_once_they_are_read() -> None:
    read: list[str] = []
    about = SourceAbout(source="replay:trades.jsonl.gz")
    account = ReportedState("default", "both", about, symbols=lambda: tuple(read))
    assert account.state(sent(1)).symbols == ()
    read += ["BTCUSDT", "ETHUSDT"]
    assert account.state(sent(2)).symbols == ("BTCUSDT", "ETHUSDT")


def test_the_symbols_of_earlier_recordings_are_kept() -> None:
    about = SourceAbout(source="replay:trades.jsonl.gz", symbols=("ETHUSDT",))

    earlier = {"ADAUSDT": 1_000_000.0 - 3600, "XRPUSDT": 1_000_000.0 - 90_000}

    def kept(**last: object) -> dict[str, float]:
        usual = {"live": False, "ended": True, "symbols": ["BTCUSDT"], "replayed": earlier}
        usual["at"] = 1_000_000.0
        before = producer(**{**usual, **last})
        return dict(ReportedState("default", "both", about, before).state(sent(1)).replayed)

    ada = {"ADAUSDT": 1_000_000.0 - 3600}  # the end of the other one was more than a day ago
    assert kept() == {**ada, "BTCUSDT": 1_000_000.0}
    # A live source does not end, and one that was not read to its end may continue.
    assert kept(live=True) == kept(ended=False) == ada
