"""A move of the traffic ends in the same state, wherever it is interrupted."""

from pathlib import Path
from typing import cast

import pytest

from mcloud.clouds.ports import Site
from mcloud.failover import debts
from mcloud.failover.audit import Audit
from mcloud.failover.execution import Tools, carry_out, is_effective, unfinished
from mcloud.failover.journal import STEPS, Journal, MoveOrder
from mcloud.market.envelope import encode
from mcloud.market.trade import CANARY, Trade
from mcloud.replication.scope import Scope
from mcloud.replication.verify import verify

from .sites import LiveSite, made

POINTS = ("begin", *(f"{at} {step}" for step in STEPS for at in ("before", "after", "audited")))


class Killed(BaseException):
    """The process is killed at this point."""


class Rig:
    def __init__(self, folder: Path) -> None:
        self.aws, self.gcp = LiveSite("aws"), LiveSite("gcp")
        self.sites = {"aws": cast(Site, self.aws), "gcp": cast(Site, self.gcp)}
        self.folder = folder
        self.reached: list[str] = []
        self.kill_at = ""

    def tools(self, **others: object) -> Tools:
        def reach(point: str) -> None:
            self.reached.append(point)
            if point == self.kill_at:
                raise Killed

        audit = Audit(self.folder / "audit.jsonl", self.sites)
        return Tools(
            Journal(self.folder / "move.json"),
            audit,
            wall=lambda: 2e9,
            patience=5.0,
            pause=0.0,
            reach=reach,
            **others,  # type: ignore[arg-type]
        )

    def feed(self, site: LiveSite, trades: list[Trade]) -> None:
        site.queue.send([encode(trades)])


def order(target: str = "gcp", **values: object) -> MoveOrder:
    known = {
        "id": "a move",
        "mode": "manual",
        "reason": "a test",
        "by": "me",
        "at": 1.5e9,
        "epoch": 0,
        "leads": "aws" if target == "gcp" else "gcp",
    }
    return MoveOrder(target=target, **{**known, **values})  # type: ignore[arg-type]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_a_move_of_a_healthy_pair(rig: Rig) -> None:
    rig.feed(rig.aws, made(range(50)))
    came = carry_out(order(wait=True), rig.sites, rig.tools())
    assert (came.is_moved, came.record.epoch, came.before, came.problem) == (True, 1, "aws", "")
    assert came.arrived is not None
    assert came.owed == {}
    assert came.missing == 0
    assert rig.aws.control.stored == rig.gcp.control.stored == came.record
    # Only the data that the old primary alone had was copied.
    assert verify(rig.sites, Scope(), pause=0).ok
    assert [each.trade_count for each in rig.gcp.candles.range("BTCUSDT", 0, 2**60)] == [50]


def test_without_waiting_the_debt_is_on_the_sites(rig: Rig) -> None:
    came = carry_out(order(), rig.sites, rig.tools())
    assert list(came.owed) == ["aws"]
    assert came.missing is None
    assert not debts.read(rig.sites, 1.0)["aws"].paid


def test_an_unavailable_site_does_not_delay_a_move(rig: Rig) -> None:
    rig.aws.die()
    there = {"gcp": rig.sites["gcp"]}
    came = carry_out(order(lost=4.0), there, rig.tools())
    assert came.is_moved
    assert came.before == "aws"
    assert came.rto is not None
    assert came.rto >= 4.0
    assert debts.read(there, 1.0)["aws"].may_return


def test_a_site_that_was_left_is_caught_up_before_it_leads_again(rig: Rig) -> None:
    carry_out(order(), rig.sites, rig.tools())
    rig.feed(rig.gcp, made(range(50)))
    came = carry_out(order("aws", id="back", recover=True, wait=True), rig.sites, rig.tools())
    assert came.record.primary == "aws"
    assert came.owed == {}
    assert [each.trade_count for each in rig.aws.candles.range("BTCUSDT", 0, 2**60)] == [50]
    # The debt was paid before the record said so.
    steps = [each.step for each in rig.tools().audit.read(99) if each.id == "back"]
    assert steps == ["begin", *STEPS]


@pytest.mark.parametrize("point", POINTS)
def test_a_move_killed_at_any_point_is_resumed_with_the_same_result(rig: Rig, point: str) -> None:
    rig.feed(rig.aws, made(range(50)))
    carry_out(order("aws", id="first", leads="gcp"), rig.sites, rig.tools())
    mine = order(wait=True, recover=True)
    rig.kill_at = point
    with pytest.raises(Killed):
        carry_out(mine, rig.sites, rig.tools())
    rig.kill_at = ""
    # The next process only knows the files on the disk, and before the first entry of a move there
    # is nothing to resume.
    again = unfinished(rig.tools()) or mine
    assert again == mine
    came = carry_out(again, rig.sites, rig.tools())
    assert came.is_moved
    assert came.record.epoch == 2
    assert rig.aws.control.stored == rig.gcp.control.stored == came.record
    assert len(rig.gcp.control.epochs) == 2
    assert came.owed == {}
    assert verify(rig.sites, Scope(), pause=0).ok
    assert unfinished(rig.tools()) is None
    # Every step is in the audit, on this machine and on the sites.
    steps = {each.step for each in rig.tools().audit.read(99) if each.id == mine.id}
    assert steps >= {"begin", *STEPS}
    for site in (rig.aws, rig.gcp):
        kept = {key for kind, key in site.control.documents if kind == "audit"}
        assert kept >= {f"a move {step}" for step in STEPS}


@pytest.mark.parametrize("point", POINTS[:9])
def test_a_move_is_resumed_only_after_its_record_was_written(rig: Rig, point: str) -> None:
    rig.kill_at = point
    with pytest.raises(Killed):
        carry_out(order(), rig.sites, rig.tools())
    is_written = rig.gcp.control.stored is not None
    assert is_written == (POINTS.index(point) >= POINTS.index("after record"))
    assert is_effective(rig.tools(), rig.gcp.control.stored) == is_written


@pytest.mark.parametrize("point", ["after record", "before debt"])
def test_the_debt_of_an_interrupted_move_is_noted_before_another_move(rig: Rig, point: str) -> None:
    """Otherwise nobody would know that the site that was left lacks later trades."""
    rig.kill_at = point
    with pytest.raises(Killed):
        carry_out(order(), rig.sites, rig.tools())
    rig.kill_at = ""
    rig.feed(rig.gcp, made(range(50)))
    came = carry_out(order("aws", id="back", at=1.6e9, recover=True), rig.sites, rig.tools())
    assert came.record.primary == "aws"
    assert [each.trade_count for each in rig.aws.candles.range("BTCUSDT", 0, 2**60)] == [50]
    steps = [(each.id, each.step) for each in rig.tools().audit.read(99)]
    assert ("a move", "debt") in steps[: steps.index(("back", "begin"))]


def test_a_move_that_changed_nothing_leaves_no_debt(rig: Rig) -> None:
    rig.kill_at = "before record"
    with pytest.raises(Killed):
        carry_out(order(), rig.sites, rig.tools())
    rig.kill_at = ""
    came = carry_out(order("aws", id="back", epoch=0), rig.sites, rig.tools())
    assert list(came.owed) == ["gcp"]


@pytest.mark.parametrize(("mode", "moved", "epoch"), [("manual", True, 8), ("automatic", False, 7)])
def test_a_decision_based_on_an_older_record(rig: Rig, mode: str, moved: bool, epoch: int) -> None:
    """A person's decision still counts; a guard decides again."""
    record = order("aws").record(None)
    for site in (rig.aws, rig.gcp):
        site.control.stored = record.__class__(7, "aws", "manual", "a test", "another", 1.0)
    came = carry_out(order(mode=mode, epoch=6), rig.sites, rig.tools())
    assert (came.is_moved, came.record.epoch) == (moved, epoch)


def test_producers_are_waited_for_and_named(rig: Rig) -> None:
    sent: dict[str, tuple[str, ...]] = {"one": ("aws",), "other": ("gcp",)}
    looks: list[int] = []

    def routes() -> dict[str, tuple[str, ...]]:
        looks.append(1)
        if len(looks) > 3:
            sent["one"] = ("gcp",)
        return dict(sent)

    came = carry_out(order(), rig.sites, rig.tools(routes=routes))
    assert set(came.follow) == {"one", "other"}
    assert None not in came.follow.values()


def test_the_audit_log_is_private_and_a_cut_line_does_not_spoil_others(rig: Rig) -> None:
    carry_out(order(), rig.sites, rig.tools())
    path = rig.folder / "audit.jsonl"
    assert path.stat().st_mode & 0o777 == 0o600
    with path.open("a") as file:
        file.write('{"id": "cut sho')
    assert [each.step for each in rig.tools().audit.read(99)] == ["begin", *STEPS]


def test_canaries_appear_in_no_data(rig: Rig) -> None:
    for number in range(3):
        carry_out(order("gcp" if number % 2 else "aws", id=str(number)), rig.sites, rig.tools())
    gcp = list(rig.gcp.candles.range(CANARY, 0, 2**60))
    assert [each.trade_count for each in gcp] == [1]
    report = verify(rig.sites, Scope(), pause=0)
    assert report.ok
    assert report.symbols == ()
