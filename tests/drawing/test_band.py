"""The summary of all sites."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from observing.sites import AT, RECORD
from states import GUARD, watcher
from states import guard as guard_state

from drawing.test_figures import SITE
from mcloud.clouds.observation import Observation
from mcloud.clouds.ports import ControlRecord
from mcloud.cost.current import CostFigure
from mcloud.drawing.band import canaries, leading, money, watching
from mcloud.failover.pause import Pause
from mcloud.observing.machine import Machine
from mcloud.observing.snapshot import SiteSnapshot, Snapshot
from mcloud.runs import Running

WEST = replace(SITE, name="west")
COST = CostFigure(
    month_to_date=Decimal("1.234"),
    per_hour_now=Decimal("0.0021"),
    expected=Decimal("4.5"),
    budget=Decimal(20),
    as_of=AT,
    source="an estimate from metered usage at list prices",
)


FIRING = {"key": "x", "title": "dead letters on aws", "severity": "warning", "since": AT}
SITE_STATEMENT = GUARD["sites"]["aws"]


def snapshot(*sites: SiteSnapshot, **change: Any) -> Snapshot:
    return replace(Snapshot(AT, {site.name: site for site in sites}), **change)


def test_the_primary_is_shown() -> None:
    behind = replace(WEST, record=Observation(None, AT))
    assert leading(snapshot(SITE)).plain == (
        "primary aws since 23:54:00 UTC, epoch 3, manual; reason then: drill"
    )
    assert leading(snapshot(SITE, behind)).plain == (
        "primary aws since 23:54:00 UTC, epoch 3, manual; reason then: drill; west has no record"
    )
    newer = replace(
        WEST, record=Observation(ControlRecord(4, "west", "automatic", "", "guard", AT), AT)
    )
    assert leading(snapshot(SITE, newer)).plain == (
        f"primary west since 23:55:00 UTC, epoch 4, automatic; aws has epoch {RECORD.epoch}"
    )
    assert leading(snapshot(behind)).plain == "no primary yet"
    assert leading(snapshot(behind, replace(SITE, record=Observation()))).plain == "primary unknown"


def test_guards_and_watchers_are_shown() -> None:
    guard = Running("guard", True, guard_state(paused="", doing=[]))
    quiet = Running("alerts", True, watcher(firing=[], unknown=0))
    loud = Running("alerts", True, watcher(firing=[FIRING]))

    def said(*sites: SiteSnapshot, **runs: Any) -> str:
        return watching(snapshot(*sites, machine=Observation(Machine(**runs), AT))).plain

    assert said() == "guard none runs here; alerts no watcher runs here"
    assert said(guards=(guard,), alerts=(quiet,)) == "guard watches; alerts none fires"
    assert said(alerts=(loud,)).endswith("; alerts dead letters on aws")
    unsure = replace(quiet, state=watcher(firing=[], unknown=2))
    assert said(alerts=(unsure,)).endswith("; alerts none fires, 2 unknown")
    moving = replace(guard, name="night", state=guard_state(doing=["moving to gcp"]))
    assert said(guards=(moving,)).startswith("guard night moving to gcp;")
    paused = replace(guard, state=guard_state(paused="by ann: a test"))
    assert said(guards=(paused,)).startswith("guard paused by ann: a test;")
    ended: dict[str, Any] = {
        "guards": (replace(guard, runs=False),),
        "alerts": (replace(loud, runs=False),),
    }
    assert said(**ended) == said()


def test_the_last_canaries_are_shown() -> None:
    took = {"aws": 0.31, "gcp": None, "west": 1.0}
    sites = {name: {**SITE_STATEMENT, "canary_s": seconds} for name, seconds in took.items()}
    guard = Running("guard", True, guard_state(sites=sites))
    shown = canaries(snapshot(SITE, machine=Observation(Machine(guards=(guard,)), AT)))
    assert shown is not None
    assert shown.plain == f"canary stored at {SITE.name} after 0.3 s"
    ended = replace(guard, runs=False)
    assert canaries(snapshot(SITE, machine=Observation(Machine(guards=(ended,)), AT))) is None


def test_a_pause_on_the_sites_is_shown_without_a_local_guard() -> None:
    def paused(at: float, by: str, *, is_so: bool) -> SiteSnapshot:
        note = Pause(paused=is_so, by=by, why="", at=at)
        return replace(SITE, name=by, guards=Observation({"pause": note}, AT))

    said = watching(snapshot(paused(1, "ann", is_so=True), paused(2, "bob", is_so=True))).plain
    assert said.startswith("guard none runs here, paused by bob;")
    said = watching(snapshot(paused(1, "ann", is_so=True), paused(2, "bob", is_so=False))).plain
    assert said.startswith("guard none runs here;")


def test_the_cost_is_shown() -> None:
    def said(**change: Any) -> str:
        return money(snapshot(cost=Observation(replace(COST, **change), AT))).plain

    assert said() == "$1.23 this month, $0.0021/h, $4.50 expected, budget $20.00"
    assert money(snapshot(cost=Observation(COST, AT)), 30).plain == "$1.23 this month, $0.0021/h"
    assert said(per_hour_now=None, expected=None, budget=None) == "$1.23 this month"
    assert said(as_of=AT - 7200).startswith("$1.23 this month (2 h ago), ")
    assert said(month_to_date=None, source="unknown: aws: no access") == (
        "cost unknown: aws: no access"
    )
    assert money(snapshot()).plain == "cost unknown: not read yet"
    assert money(snapshot(cost=Observation(problem="no access"))).plain == "cost unknown: no access"


def test_a_budget_that_will_be_exceeded_has_colour() -> None:
    over = money(snapshot(cost=Observation(replace(COST, budget=Decimal(4)), AT)))
    assert "yellow" in {span.style for span in over.spans}
    assert "yellow" not in {
        span.style for span in money(snapshot(cost=Observation(COST, AT))).spans
    }
