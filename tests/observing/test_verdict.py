"""The verdict in the first line of the status, and the deviations that are not wrong."""

from dataclasses import replace
from typing import Any

from drawing.test_figures import SITE, UP
from drawing.test_produce import STATE
from states import GUARD, WATCHER, producer, watcher
from states import guard as guard_state

from mcloud.clouds.observation import Observation
from mcloud.clouds.ports import SERVICES, ControlRecord, Depth, Figure
from mcloud.drawing.band import watching
from mcloud.failover.pause import Pause
from mcloud.observing.exposition import exposition
from mcloud.observing.machine import Machine
from mcloud.observing.notes import notes
from mcloud.observing.snapshot import SiteSnapshot, Snapshot
from mcloud.observing.verdict import down_for, verdict
from mcloud.runs import Running
from observing.sites import AT, FIGURES

GCP = replace(SITE, name="gcp", cloud="gcp")
GONE = dict.fromkeys(SERVICES, Observation[float](problem="gone"))
MOVED = Observation(ControlRecord(4, "gcp", "automatic", "aws is down", "guard, a@b", AT - 8), AT)


def snapshot(*sites: SiteSnapshot, **runs: Any) -> Snapshot:
    there = {site.name: site for site in sites}
    return Snapshot(AT, there, Observation(Machine(**runs), AT))


def said(seen: Snapshot) -> str:
    found = verdict(seen)
    return f"{found.word}: {' · '.join(found.facts)}"


def guard(bad_s: float | None, *, runs: bool = True, **change: Any) -> Running[Any]:
    site = {**GUARD["sites"]["aws"], "verdict": "up", "bad_s": bad_s, **change}
    return Running("guard", runs, guard_state(at=AT - 2, ended=True, sites={"aws": site}))


def test_all_is_well() -> None:
    running = Running("default", True, producer(**STATE | {"at": AT}))
    assert said(snapshot(SITE, GCP, producers=(running,))) == (
        "OK: aws and gcp up · 31 trades/s · aws leads since 23:54:00 UTC (somebody)"
    )
    third = replace(SITE, name="west")
    assert said(snapshot(SITE, GCP, third)).startswith("OK: 3 sites up · ")
    later = replace(snapshot(SITE), at=AT + 2 * 86_400)
    assert said(later).endswith("aws leads since 2024-08-08 23:54 UTC (somebody)")
    unled = replace(SITE, record=Observation(None, AT))
    assert said(snapshot(unled)) == "OK: aws up"


def test_a_site_that_is_down_comes_first_with_its_duration() -> None:
    away = replace(SITE, health=GONE, record=MOVED)
    there = replace(GCP, record=MOVED)
    led = "gcp leads since 23:54:52 UTC (guard)"
    assert said(snapshot(away, there)) == f"FAULT: aws down · {led}"
    assert said(snapshot(away, there, guards=(guard(10.0),))) == (f"FAULT: aws down 12.0 s · {led}")
    letters = replace(there, dead_letters=Observation(Depth(3, 0, AT), AT))
    assert said(snapshot(away, letters)) == f"FAULT: aws down · 1 more problem · {led}"
    assert said(snapshot(replace(away, health={**UP, "queue": GONE["queue"]}), there)) == (
        f"FAULT: aws queue down · {led}"
    )
    assert said(snapshot(letters)) == f"FAULT: 1 problem · {led}"
    both = snapshot(away, replace(there, health=GONE))
    assert said(both).startswith("FAULT: no site is up · aws down · gcp down · ")


def test_only_a_running_guard_knows_how_long_a_site_is_down() -> None:
    assert down_for("aws", snapshot(SITE, guards=(guard(None),))) is None
    assert down_for("gcp", snapshot(SITE, guards=(guard(3.0),))) is None
    assert down_for("aws", snapshot(SITE, guards=(guard(3.0, runs=False),))) is None
    assert down_for("aws", snapshot(SITE, guards=(guard(3.0), guard(5.0)))) == 7.0
    # A throttled site has good checks in between.
    throttled = guard(0.5, verdict="down", down_s=60.0)
    assert down_for("aws", snapshot(SITE, guards=(throttled,))) == 62.0


def test_deviations_that_are_not_wrong() -> None:
    assert notes(snapshot(SITE, GCP)) == []
    paused = Pause(paused=True, by="ann", why="works", at=AT)
    measured = {**FIGURES.measured, "errors": Figure(3.0, AT), "throttles": Figure(1.0, AT)}
    seen = snapshot(
        replace(
            SITE,
            guards=Observation({"pause": paused}, AT),
            figures=Observation(replace(FIGURES, measured=measured), AT),
        ),
        replace(GCP, record=Observation(None, AT)),
    )
    assert [str(each) for each in notes(seen)] == [
        "gcp has no record, and the valid record has epoch 3",
        "the guards are paused by ann since 2024-08-08 23:55 UTC: works;"
        " `mcloud guard resume` lets them act again",
        "aws: 3 errors in 15 min",
        "aws: 1 throttles in 15 min",
    ]
    assert verdict(seen).word == "OK"


def fired(rule: str, figure: str, looked: float) -> Running[Any]:
    alert = {
        **WATCHER["firing"][0],
        "key": f"{rule} x",
        "rule": rule,
        "figure": figure,
        "since": AT - 60,
        "silenced": None,
    }
    return Running("alerts", True, watcher(firing=[alert], at=AT, looked=looked))


def test_an_alert_that_newer_answers_contradict_is_over() -> None:
    down = snapshot(SITE, GCP, alerts=(fired("service-down", "sites.aws.up", AT - 30),))
    assert said(down).startswith("OK: ")
    assert [str(each) for each in notes(down)] == [
        "the alert service-down x has fired since 2024-08-08 23:54 UTC, and is over now"
    ]
    # No view counts it any more.
    assert watching(down).plain.endswith("alerts none fires")
    assert "mcloud_alerts_firing 0" in exposition(down)
    # The watcher has looked since, or the site is still down, or it is another alert.
    later = snapshot(SITE, GCP, alerts=(fired("service-down", "sites.aws.up", AT + 1),))
    assert said(later).startswith("FAULT: 1 problem")
    away = replace(SITE, health=GONE)
    still = snapshot(away, GCP, alerts=(fired("service-down", "sites.aws.up", AT - 30),))
    assert said(still).startswith("FAULT: aws down")
    other = snapshot(SITE, alerts=(fired("dead-letters", "sites.aws.dead_letters.ready", 0.0),))
    assert said(other).startswith("FAULT: 1 problem")


def test_an_alert_of_silence_is_over_with_the_replay() -> None:
    alert = fired("silence", "symbols.BTCUSDT.silent_s", AT + 2000)
    replayed = producer(live=False, ended=True, symbols=["BTCUSDT"], holes=[], at=AT - 5)
    silent = snapshot(SITE, alerts=(alert,))
    assert said(silent).startswith("FAULT: 1 problem")
    ended = snapshot(SITE, alerts=(alert,), producers=(Running("default", False, replayed),))
    assert said(ended).startswith("OK: ")
