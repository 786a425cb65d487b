"""The memory of the monitor."""

from dataclasses import replace

from drawing.test_figures import SITE
from drawing.test_monitor import snapshot

from mcloud.clouds.observation import Observation
from mcloud.clouds.ports import SERVICES, ControlRecord
from mcloud.observing.machine import Machine
from mcloud.observing.recent import Recent
from mcloud.observing.snapshot import SiteSnapshot, Snapshot
from mcloud.observing.trends import EventLog, SiteMemory
from observing.sites import AT, BEATS, CANDLE

BEAT = replace(BEATS[0], trades=1_000, at=AT, last_trade_time=int((AT - 2) * 1000))


def site(at: float, trades: int, **change: object) -> SiteSnapshot:
    beat = replace(BEAT, at=at, trades=trades, last_trade_time=int((at - 2) * 1000))
    seen = replace(
        SITE,
        health={name: Observation(0.0, at, 0.02) for name in SERVICES},
        heartbeats=Observation([beat], at),
        recent=Observation([Recent(beat.symbol, CANDLE, [])], at),
    )
    return replace(seen, **change)  # type: ignore[arg-type]


def whole(*sites: SiteSnapshot, at: float = AT) -> Snapshot:
    return replace(snapshot(*sites), at=at, machine=Observation(Machine(), AT), events=())


def test_figures_are_remembered_once_with_their_times() -> None:
    memory = SiteMemory()
    memory.add(site(AT, 1_000))
    memory.add(site(AT, 1_000))
    trends = memory.add(site(AT + 5, 1_150))
    assert trends.rate == ((AT + 5, 30.0),)
    assert [value for _, value in trends.lag] == [2.0, 2.0]
    assert trends.latency == ((AT, 0.02), (AT + 5, 0.02))
    assert trends.price == ((AT, 61_837.5), (AT + 5, 61_837.5))


def test_the_trades_of_a_new_symbol_make_no_rate() -> None:
    """Its heartbeat may have been damaged until now."""
    memory = SiteMemory()
    memory.add(site(AT, 1_000))
    beats = [
        replace(BEAT, at=AT + 5, trades=1_150),
        replace(BEAT, symbol="ETHUSDT", at=AT + 5, trades=1_000_000),
    ]
    memory.add(site(AT, 0, heartbeats=Observation(beats, AT + 5)))
    later = [replace(each, at=AT + 10, trades=each.trades + 50) for each in beats]
    trends = memory.add(site(AT, 0, heartbeats=Observation(later, AT + 10)))
    assert trends.rate == ((AT + 5, 30.0), (AT + 10, 20.0))


def test_a_site_that_is_down_has_a_gap_and_not_the_time_of_its_refusals() -> None:
    memory = SiteMemory()
    down = {name: Observation(at=AT, took=0.001, problem="503") for name in SERVICES}
    assert memory.add(site(AT, 1_000, health=down)).latency == ((AT, None),)


def test_the_lag_of_a_replay_of_old_trades_is_no_lag() -> None:
    old = Observation([replace(BEAT, last_trade_time=int((AT - 200_000) * 1000))], AT)
    assert SiteMemory().add(site(AT, 1_000, heartbeats=old)).lag == ()


def test_problems_that_begin_and_end_are_events() -> None:
    log = EventLog()
    sound = site(AT, 1_000)
    assert log.add(whole(sound)) == ()
    for second in (1, 2):
        # The number in its words changes, and the problem is the same.
        problem = Observation(at=AT, problem=f"no answer for {second} s")
        down = site(AT, 1_000, health=dict.fromkeys(SERVICES, problem))
        events = log.add(whole(down, at=AT + second))
    assert [(each.at, each.kind) for each in events] == [(AT + 1, "began")]
    events = log.add(whole(sound, at=AT + 9))
    assert [(each.at, each.kind) for each in events[1:]] == [(AT + 9, "ended")]


def test_a_move_is_an_event_with_its_reason() -> None:
    log = EventLog()
    first = ControlRecord(3, "aws", "manual", "", "ann@host", AT)
    second = ControlRecord(4, "gcp", "automatic", "aws is down", "guard", AT + 5)
    log.add(whole(site(AT, 1, record=Observation(first, AT))))
    (event,) = log.add(whole(site(AT, 1, record=Observation(second, AT)), at=AT + 6))
    assert (event.kind, event.text) == ("moved", "gcp leads, by guard: aws is down")
    # An older record, as of a site that is back, moves nothing, and the newer one is no news then.
    for number, known in enumerate((first, second)):
        now = whole(site(AT, 1, record=Observation(known, AT)), at=AT + 7 + number)
        assert len(log.add(now)) == 1
