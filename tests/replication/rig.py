"""Pairs of sites in memory, with a clock of their own, that a test can kill at any point."""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from itertools import count, permutations
from pathlib import Path
from typing import cast

from mcloud.archive.compact import Compacted, compact
from mcloud.clouds.ports import Site
from mcloud.market.trade import Trade
from mcloud.processor.ingest import ingest
from mcloud.rehearsal.demo import archived_ids, stored_rows
from mcloud.rehearsal.oracle import Row, expected_rows
from mcloud.replication.change_follower import Pauses
from mcloud.replication.copier import Copier
from mcloud.replication.known_states import KnownStates
from mcloud.replication.pair import Pair
from mcloud.replication.pair_state import PairState
from mcloud.replication.replicate import AT_ONCE, file_name
from mcloud.replication.scope import Scope
from mcloud.workers import Workers

from .memory import MemorySite

EVERYTHING = Scope()
LONGEST = 1_000  # steps; a run that takes more never ends


class Killed(BaseException):
    """The process is killed at this point."""


class Clock:
    """A clock that advances only when something waits."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class CrashingState(PairState):
    """A state that a test can kill before or after it writes to the disk."""

    def __init__(self, path: Path, scope: str, reach: Callable[[str], None]) -> None:
        super().__init__(path, scope)
        self._reach = reach

    def _change(self, change: Callable[[sqlite3.Connection], None]) -> None:
        self._reach("before a checkpoint")
        super()._change(change)
        self._reach("after a checkpoint")


class Rig:
    """A process that replicates between all sites. ``restart`` replaces it by another process."""

    def __init__(
        self,
        folder: Path,
        sites: Sequence[MemorySite],
        *,
        scope: Scope = EVERYTHING,
        pauses: Pauses = AT_ONCE,
        wall: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.sites = {site.name: site for site in sites}
        self.clock = Clock()
        self.reached: Callable[[str], None] = lambda call: None
        """Called before and after every access of a pair to a site or to its state."""
        self._is_working = False
        self._folder = folder
        self._scope = scope
        self._pauses = pauses
        self._wall = wall
        self._workers: list[Workers] = []
        self.pairs: dict[tuple[str, str], Pair] = {}
        for site in sites:
            # The clocks of the sources are years ahead of this machine's clock, since only they
            # count.
            site.candles.clock = lambda: self.clock.now + 1e8
            site.faults.before = site.faults.after = self._reach
        self.restart()

    def restart(self) -> None:
        """Forget everything except the files on the disk."""
        self.close()
        known = {name: KnownStates() for name in self.sites}
        for source, target in permutations(self.sites, 2):
            # One thread per pair makes the tests deterministic.
            workers = Workers(1)
            self._workers.append(workers)
            here, there = (cast(Site, self.sites[name]) for name in (source, target))
            self.pairs[source, target] = Pair(
                here,
                there,
                CrashingState(
                    self._folder / file_name(source, target, self._scope),
                    str(self._scope),
                    self._reach,
                ),
                self._scope,
                known=known,
                workers=workers,
                copier=Copier(here, there, workers),
                pauses=self._pauses,
                clock=self.clock,
                wall=self._wall,
                jitter=lambda low, high: high,
            )

    def close(self) -> None:
        for workers in self._workers:
            workers.close()
        for pair in self.pairs.values():
            pair.close()
        self._workers = []

    def step(self, pair: Pair) -> float:
        self._is_working = True
        try:
            return pair.step()
        finally:
            self._is_working = False

    def settle(self) -> int:
        """Run until nothing is left to copy. Return the number of copied candles and objects."""
        moved = 0
        while True:
            before = self.moved()
            for pair in self.pairs.values():
                pair.look_again()
                steps = count(1)
                while not pair.is_idle:
                    assert next(steps) < LONGEST, pair.progress()
                    seconds = self.step(pair)  # first, since the clock may jump
                    self.clock.now += seconds
            if self.moved() == before:
                return moved
            moved += self.moved() - before

    def _reach(self, call: str) -> None:
        if self._is_working:
            self.reached(call)

    def moved(self) -> int:
        return sum(pair.progress().moved for pair in self.pairs.values())


def feed(site: MemorySite, trades: Sequence[Trade]) -> None:
    """Process a message as the site's function does."""
    ingest(trades, site.archive, site.candles)


def compacted(site: MemorySite) -> Compacted:
    """Compact the archive of a site."""
    return compact(site.archive)


def check_equal(sites: Iterable[MemorySite], trades: Sequence[Trade]) -> None:
    """Check that every site has exactly the candles of these trades, and archives all of them."""
    symbols = sorted({trade.symbol for trade in trades})
    ids = {(trade.symbol, trade.id) for trade in trades}
    for site in sites:
        assert rows(site, symbols) == expected_rows(trades), site.name
        assert archived_ids(cast(Site, site), symbols) == ids, site.name


def rows(site: MemorySite, symbols: Iterable[str]) -> list[Row]:
    return stored_rows(cast(Site, site), symbols)
