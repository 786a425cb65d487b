"""If clocks jump at any time, an outage moves the traffic once and every debt is paid."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from jumps import HOUR, KINDS, Jumping
from patience import eventually

from mcloud.canary import Canary
from mcloud.clouds.observation import UP
from mcloud.clouds.ports import Lag
from mcloud.errors import Unavailable
from mcloud.failover import debts
from mcloud.failover.health import HealthWatch
from mcloud.market.envelope import encode
from mcloud.replication.scope import Scope
from mcloud.replication.verify import verify

from .sites import LiveSite, made
from .test_guard import RULES, Rig

STEPS = 16  # steps of the outage below


class Jumpy(Rig):
    """A rig whose clocks jump before one of its steps."""

    def __init__(self, folder: Path, kind: str = "", at: int = -1) -> None:
        self.clocks, self._kind, self._at, self._taken = Jumping(), kind, at, 0
        super().__init__(folder)
        self.clock = self.clocks  # type: ignore[assignment]
        for guard, watch in zip(self.guards, self.watches, strict=True):
            guard._clock = watch._clock = self.clocks.timer
            for canary in watch._canaries.values():
                canary._clock = self.clocks.timer

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            if self._taken == self._at:
                self.clocks.jump(self._kind)
            self._taken += 1
            self.clocks.pass_(2)
            for guard in self.guards:
                guard.step()
            eventually(lambda: all(self._has_landed(watch) for watch in self.watches))

    def _wall(self) -> float:
        return self.clocks.wall()


@contextmanager
def rig(folder: Path, kind: str = "", at: int = -1) -> Iterator[Jumpy]:
    it = Jumpy(folder, kind, at)
    try:
        yield it
    finally:
        for watch in it.watches:
            watch.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", range(1, STEPS, 4))
def test_sites_become_equal_after_an_outage_with_jumps_of_the_clock(
    tmp_path: Path, kind: str, at: int
) -> None:
    with rig(tmp_path, kind, at) as it:
        it.aws.queue.send([encode(made(range(20)))])
        it.step(4)
        it.aws.die()
        it.step(3)
        it.settle()
        it.gcp.queue.send([encode(made(range(20, 40)))])
        it.step(1)  # a jump restarts the count of consecutive observations
        it.settle()
        it.step(3)
        it.settle()
        it.aws.live()
        for _ in range(4):
            it.step(3)
            it.settle()
        assert it.gcp.control.stored is not None
        assert it.gcp.control.stored.primary == "gcp"
        assert len(it.guards[0].moves) == 1
        assert debts.read(it.sites, 1.0)["aws"].paid
        assert verify(it.sites, Scope(), pause=0).ok


@pytest.mark.parametrize("kind", KINDS)
def test_a_clock_jump_does_not_turn_a_short_backlog_into_an_outage(
    tmp_path: Path, kind: str
) -> None:
    """Messages in transit when the machine was suspended have had no time to arrive."""
    with rig(tmp_path, kind, at=8) as it:
        it.step(5)
        it.aws.die("function")
        it.step(12)
        assert it.guards[0].verdict("aws") == UP
        assert not it.guards[0].moves


def test_debts_are_read_again_soon_after_a_failed_read(tmp_path: Path) -> None:
    """It is asked again within a minute, since a site that is just back may be slow once."""
    with rig(tmp_path) as it:
        watch = it.watches[0]
        asked: list[str] = []
        usual = it.aws.control.kept

        def kept(kind: str, after: str = "", limit: int | None = None) -> dict[str, object]:
            asked.append(kind)
            if asked.count(kind) == 1:
                raise Unavailable("it is just back")
            return usual(kind, after, limit)

        it.aws.control.kept = kept  # type: ignore[method-assign]
        it.step()
        assert "aws" not in watch.notes(debts.KIND)
        it.step()
        assert "aws" in watch.notes(debts.KIND)
        before = len(asked)
        it.step()
        assert len(asked) - before <= 2  # afterwards at the usual rate


def test_a_call_that_hangs_does_not_keep_a_canary_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mcloud.canary.CALL_TIMEOUT", 0.05)
    site, hangs = LiveSite("aws"), [True]
    usual = site.candles.range

    def range_(*arguments: object) -> object:
        if hangs:
            hangs.clear()
            eventually(lambda: hangs)  # it hangs until the test ends
        return usual(*arguments)  # type: ignore[arg-type]

    canary = Canary(site)  # type: ignore[arg-type]
    canary._next = lambda: 1  # type: ignore[method-assign]
    monkeypatch.setattr(site.candles, "range", range_)
    flight = canary.fly(5.0)
    hangs.append(True)
    assert flight.arrived is not None


@pytest.mark.parametrize(("age", "known"), [(5.0, True), (-30.0, True), (-5 * HOUR, False)])
def test_a_lag_from_the_future_is_ignored(tmp_path: Path, age: float, known: bool) -> None:
    site = LiveSite("aws")
    clocks = Jumping()
    site.control.note_lag(Lag("gcp", "aws", "all", 4.0, 0, None, 0, clocks.wall() - age))
    sites = {"aws": site, "gcp": LiveSite("gcp")}
    watch = HealthWatch(sites, RULES, clock=clocks.timer, wall=clocks.wall, canaries=False)  # type: ignore[arg-type]
    look = watch.observe()
    assert (look.sites["aws"].lag is not None) == known
