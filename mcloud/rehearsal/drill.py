"""A drill on embedded clouds: trades flow, a site is taken out, and a guard with its usual settings
reacts.

Everything except the clouds is real: a producer that follows the control record, its spool, the
functions and the guard. At the end, all generated trades are compared with the data of every site.
``live_drill.rehearse`` is the drill on real clouds. It causes no outage, and only moves the
producers' route to another site for a while.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Literal

from mcloud.clouds.observation import DOWN, UP
from mcloud.clouds.ports import ControlRecord, Site
from mcloud.cost.prices import PRICES
from mcloud.errors import McloudError
from mcloud.failover import debts, record
from mcloud.failover.audit import Audit
from mcloud.failover.catch_up import catch_up, drain
from mcloud.failover.decide import Debt
from mcloud.failover.execution import DEADLINE, Tools
from mcloud.failover.guard import Guard
from mcloud.failover.health import HealthWatch
from mcloud.failover.journal import Journal
from mcloud.failover.settings import GuardSettings
from mcloud.feed.simulate import Simulate
from mcloud.local import meter, outage
from mcloud.market.trade import Trade
from mcloud.rehearsal.demo import await_archived, stored_rows
from mcloud.rehearsal.drill_report import DrillEvent, DrillReport, SiteResult
from mcloud.rehearsal.drill_stream import DrillStream
from mcloud.rehearsal.oracle import expected_rows
from mcloud.rehearsal.scenarios import Scenario
from mcloud.replication.scope import Scope

DrillStage = Literal["out", "moved", "over", "back"]
"""The outage has begun, the traffic has moved, the outage is over, and the site has caught up."""

RATE = 1000  # trades per second of both symbols together
SYMBOLS = ("BTCUSDT", "ETHUSDT")
STEADY = 4.0  # minimum seconds of normal operation
UNMOVED = 15.0  # seconds of an outage that should not cause a move
AFTER = 3.0  # seconds that the outage continues after the move
FLAP = 2.5  # seconds
PATIENCE = 120.0  # maximum seconds of any wait; only a drill that fails reaches it
POLL = 0.05
PAUSE = 0.5  # seconds between two comparisons; short, because nobody else uses these clouds
USUAL = GuardSettings()


def run(
    scenario: Scenario,
    on: str,
    home: Path,
    sites: Mapping[str, Site],
    scratch: Path,
    *,
    trades: Iterable[Trade],
    symbols: tuple[str, ...],
    speed: float = 1.0,
    settings: GuardSettings = USUAL,
    after: float = AFTER,
    tell: Callable[[str], None] = lambda words: None,
    reach: Callable[[DrillStage, float], None] = lambda stage, seconds: None,
    see: Callable[[DrillStream], None] = lambda stream: None,
) -> DrillReport:
    """Run a scenario on embedded clouds, whose folder is ``home``. The outage is over at the end.

    Args:
        trades: trades to send, as from ``made``; they must last for at least 15 seconds.
        symbols: symbols of the trades, with no other use on these clouds.
        speed: factor on the speed of the trades; 1 is by their own times.
        after: seconds that the outage continues after the move.
        tell: gets what the drill waits for.
        reach: gets each stage as soon as it is reached, and the seconds since the outage began.
        see: gets the stream every moment while trades flow.
    """
    report = DrillReport(scenario.name, scenario.about, on, scenario.moves)
    begun = time.monotonic()
    before = _bill(home)
    stream = DrillStream(sites, symbols, scratch, trades, speed)
    day = _Day(
        *(scenario, on, home, sites, scratch, stream, settings, after, tell, report),
        reach=reach,
        see=see,
    )
    day.go()
    report.usd = round(max(Decimal(0), _bill(home) - before), 6)
    report.seconds = round(time.monotonic() - begun, 1)
    return report


def made(symbols: tuple[str, ...], start_time: int, seed: int = 1) -> Iterable[Trade]:
    """Yield RATE trades per second without end, from ``start_time`` (ms) on."""
    return Simulate(symbols, seed=seed, start_time=start_time, rate=RATE / len(symbols))


class _Day:
    def __init__(
        self,
        scenario: Scenario,
        on: str,
        home: Path,
        sites: Mapping[str, Site],
        scratch: Path,
        stream: DrillStream,
        settings: GuardSettings,
        after: float,
        tell: Callable[[str], None],
        report: DrillReport,
        *,
        reach: Callable[[DrillStage, float], None],
        see: Callable[[DrillStream], None],
    ) -> None:
        self._scenario = scenario
        self._on = on
        self._home = home
        self._sites = sites
        self._tell = tell
        self._reach = reach
        self._see = see
        self._report = report
        self._settings = settings
        self._after = after
        self._scope = Scope(symbols=frozenset(stream.symbols))
        self._begun = time.monotonic()
        self._calm = threading.Event()
        """Set when the site should stop going down and coming back."""
        self._stream = stream
        use = Tools(
            Journal(scratch / "drill.json"),
            Audit(scratch / "audit.jsonl", sites),
            scope=self._scope,
            pause=PAUSE,
        )
        watch = HealthWatch(sites, settings)
        self._guard = Guard(sites, settings, use, by="the guard of a drill", watch=watch)

    def go(self) -> None:
        with ExitStack() as ends:
            ends.callback(outage.end, self._home, self._on)
            self._lead()
            ends.enter_context(self._guarding())
            self._tell("waiting until the guard knows the sites")
            self._await(self._all_are_up, "all sites to be healthy")
            ends.enter_context(self._stream.running())
            self._steady()
            self._out()
            self._back()
            self._stream.finish(PATIENCE)
        self._tell("comparing every trade with every site")
        self._judge()

    # The steps of the drill

    def _lead(self) -> None:
        """Make the site that will be taken out the primary."""

        def make(before: ControlRecord | None) -> ControlRecord | None:
            # After an automatic move, a guard would do nothing during its cooldown.
            if before and before.primary == self._on and before.mode != "automatic":
                return None
            return ControlRecord(0, self._on, "drill", "a drill", "drill", round(time.time(), 3))

        view = record.read(self._sites)
        if view.record or self._on != next(iter(self._sites)):
            record.advance(self._sites, make)

    def _steady(self) -> None:
        self._tell("steady state")
        age = self._guard.age_of_record()
        self._sleep(max(STEADY, self._settings.dwell + 1 - age))
        self._await(lambda: self._stream.newest(self._on) > 0, f"trades to be stored at {self._on}")
        self._note_rate()

    def _note_rate(self) -> None:
        rate = self._stream.read / max(0.1, time.monotonic() - self._stream.begun)
        self._event(f"steady: {rate:,.0f} trades a second to {self._on}", at=-0.01)

    def _out(self) -> None:
        """Take the site out, and follow the reaction."""
        scenario, others = self._scenario, [name for name in self._sites if name != self._on]
        had = {name: self._stream.newest(name) for name in others}
        self._tell(f"{scenario.name} of {self._on}")
        self._begun = time.monotonic()
        self._begin_outage()
        self._event(f"{self._on}: {scenario.about}")
        self._reach("out", time.monotonic() - self._begun)
        flapping = threading.Thread(target=self._flap, name="flap", daemon=True)
        flapping.start()
        try:
            self._follow_the_move(had)
        finally:
            self._calm.set()
            flapping.join(PATIENCE)

    def _begin_outage(self) -> None:
        outage.begin(self._home, self._on, self._scenario.service, self._scenario.how, None)

    def _flap(self) -> None:
        """Bring the site back and take it out again, as often as the scenario says."""
        for _ in range(1, self._scenario.rounds):
            for words, do in (
                ("comes back", lambda: outage.end(self._home, self._on)),
                ("goes again", self._begin_outage),
            ):
                if self._calm.wait(FLAP):
                    return
                do()
                self._event(f"{self._on} {words}")

    def _follow_the_move(self, had: Mapping[str, int]) -> None:
        """Record the move of the traffic, if there is one."""
        limit = PATIENCE if self._scenario.moves else UNMOVED
        limit += 2 * FLAP * (self._scenario.rounds - 1)
        stages: list[tuple[Callable[[], bool], str]] = [
            (lambda: self._verdict() == DOWN, "the guard finds it down"),
            (lambda: self._stream.leads() != self._on, "the producer follows the new record"),
        ]
        deadline = time.monotonic() + limit
        for is_there, words in stages:
            while not is_there() and time.monotonic() < deadline:
                self._wait()
            if not is_there():
                self._event("nothing is moved")
                return
            self._event(words)
        target = self._stream.leads()
        while time.monotonic() < deadline + PATIENCE:
            if self._stream.newest(target) > had[target]:
                self._report.rto_s = round(time.monotonic() - self._begun, 2)
                self._event(f"the first trade is stored at {target}")
                self._reach("moved", time.monotonic() - self._begun)
                break
            self._wait()
        self._sleep(self._after)

    def _back(self) -> None:
        outage.end(self._home, self._on)
        self._event(f"{self._on} is back")
        self._reach("over", time.monotonic() - self._begun)
        self._tell(f"{self._on} is back; waiting until it has caught up")
        if not self._guard.moves and self._stream.leads() == self._on:
            self._await(lambda: self._verdict() != DOWN, f"{self._on} to be up again")
            self._event(f"{self._on} is healthy")
            self._reach("back", time.monotonic() - self._begun)
            return
        self._await(lambda: self._verdict() == UP, f"{self._on} to be up again")
        self._event(f"the guard finds {self._on} up, and catches it up")
        self._await(lambda: not self._owed(), f"{self._on} to be caught up")
        self._event(f"{self._on} has caught up, and is verified")
        self._reach("back", time.monotonic() - self._begun)

    def _judge(self) -> None:
        """Catch the sites up, and compare them with the trades that were made."""
        report, trades = self._report, self._stream.trades
        for name in self._sites:
            if name != self._on:
                problem = drain(self._sites[name], PATIENCE, threading.Event())
                report.problem = report.problem or problem
        came = catch_up(
            self._sites, Debt(self._on, 0, 0.0), self._scope, pause=PAUSE, tell=self._tell
        )
        report.problem = report.problem or came.reason
        expected = expected_rows(trades)
        ids = {(trade.symbol, trade.id) for trade in trades}
        found: set[tuple[str, int]] = set()
        for name, site in self._sites.items():
            archived = await_archived(site, self._stream.symbols, ids)
            found |= archived
            rows = stored_rows(site, self._stream.symbols)
            report.sites[name] = SiteResult(len(rows), rows == expected, len(archived))
        report.trades, report.rpo_ids_missing = len(ids), len(ids - found)
        report.moves = len([each for each in self._guard.moves if each.is_moved])
        report.decisions = list(self._guard.history)
        report.timeline.sort(key=lambda event: event.s)

    # The present state

    def _verdict(self) -> str:
        return self._guard.verdict(self._on)

    def _all_are_up(self) -> bool:
        return all(self._guard.verdict(name) == UP for name in self._sites)

    def _owed(self) -> bool:
        return any(not debt.paid for debt in debts.read(self._sites, DEADLINE).values())

    def _event(self, what: str, at: float | None = None) -> None:
        seconds = time.monotonic() - self._begun if at is None else at
        self._report.timeline.append(DrillEvent(round(seconds, 2), what))

    def _await(self, is_there: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not is_there():
            if time.monotonic() > deadline:
                why = self._guard.problem or "no reason is known"
                raise McloudError(f"the drill timed out waiting for {what}: {why}")
            self._wait()

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._wait()

    def _wait(self) -> None:
        self._stream.check()
        self._see(self._stream)
        time.sleep(POLL)

    @contextmanager
    def _guarding(self) -> Iterator[None]:
        stop = threading.Event()
        thread = threading.Thread(target=self._guard.run, args=(stop,), name="guard", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(PATIENCE)


def _bill(home: Path) -> Decimal:
    """Return the cost in dollars at list price of all calls to these clouds so far."""
    return sum(
        (
            Decimal(count) * PRICES[site, name].each
            for site, meters in meter.read(home).items()
            for name, count in meters.items()
            if (site, name) in PRICES
        ),
        Decimal(0),
    )
