"""The status screen, character by character."""

import io
from dataclasses import replace
from typing import Any

from observing.sites import AT
from rich.console import Console, RenderableType
from states import producer

from drawing.test_figures import SITE, UP
from drawing.test_produce import STATE
from mcloud.clouds.observation import Observation
from mcloud.clouds.ports import SERVICES, Depth
from mcloud.drawing.status import everything, status, status_table
from mcloud.observing.machine import Machine
from mcloud.observing.recent import Recent
from mcloud.observing.snapshot import SiteSnapshot, Snapshot
from mcloud.runs import Running

WEST = replace(SITE, name="west")


def test_two_healthy_sites_are_drawn() -> None:
    assert draw(status_table(snapshot(SITE, WEST)), 120) == [
        "              aws                    west (aws)",
        "services      up  12 ms              up  12 ms",
        "queue depth   12 ready, 3 in flight  12 ready, 3 in flight",
        "oldest        7.0 s                  7.0 s",
        "dead letters  0 ready, 0 in flight   0 ready, 0 in flight",
        "calls         240 in 15 min          240 in 15 min",
        "errors        0                      0",
        "throttles     0                      0",
        "p95           120 ms                 120 ms",
        "writes        1,234 in 15 min        1,234 in 15 min",
        "processed     15,863 trades          15,863 trades",
        "last candle   BTCUSDT 23:54 61837.5  BTCUSDT 23:54 61837.5",
        "holes         none                   none",
        "behind        no replicator          no replicator",
        "compacted     unknown: not read yet  unknown: not read yet",
        "cost          unknown: not read yet  unknown: not read yet",
    ]


def test_a_healthy_status_is_one_line() -> None:
    assert draw(status(snapshot(SITE, WEST)), 120) == [
        "OK     aws and west up · aws leads since 23:54:00 UTC (somebody)"
    ]


def test_problems_are_listed_with_their_remedies() -> None:
    letters = replace(SITE, dead_letters=Observation(Depth(3, 0, AT), AT))
    lines = draw(status(snapshot(letters), lambda text: f"{text}!"), 120)
    assert lines == [
        "FAULT  1 problem · aws leads since 23:54:00 UTC (somebody)",
        "       aws: 3 dead letters!",
        "         → see `mcloud dlq list aws`!",
    ]


def test_problems_with_one_remedy_share_its_line() -> None:
    holes = Observation([Recent(name, None, [(5, 6)]) for name in ("BTCUSDT", "ETHUSDT")], AT)
    lines = draw(status(snapshot(replace(SITE, recent=holes))), 120)
    assert lines[1:] == [
        "       aws: BTCUSDT lacks 2 trades between 5 and 6",
        "       aws: ETHUSDT lacks 2 trades between 5 and 6",
        "         → see `mcloud verify`",
    ]


def test_everything_shows_primary_guards_and_processes() -> None:
    dead = replace(SITE, dead_letters=Observation(Depth(3, 0, AT), AT))
    machine = Machine(
        (
            Running("default", True, producer(**STATE | {"at": AT})),
            Running("old", False, producer(**STATE | {"at": AT - 3600})),
        )
    )
    lines = draw(everything(replace(snapshot(dead), machine=Observation(machine, AT))), 120)
    assert lines[:4] == [
        "FAULT  1 problem · aws leads since 23:54:00 UTC (somebody)",
        "       aws: 3 dead letters",
        "         → see `mcloud dlq list aws`",
        "",
    ]
    assert lines[20:] == [
        "primary aws since 23:54:00 UTC, epoch 3, manual; reason then: drill",
        "guard none runs here; alerts no watcher runs here",
        "",
        "producer  state    pid   source   trades  rate  waiting  holes",
        "default   running  4711  binance  12,345  31/s  nothing  none",
    ]


def test_in_a_narrow_terminal_nothing_is_lost() -> None:
    reason = "SQS did not answer; see the console"
    down = replace(SITE, health={**UP, "queue": Observation(problem=reason)})
    lines = draw(status_table(snapshot(down)), 44)
    assert f"down queue: {reason}" in " ".join(" ".join(lines).split())
    assert all(len(line) <= 44 for line in lines)


def test_trouble_stands_out() -> None:
    down = replace(SITE, health=dict.fromkeys(SERVICES, Observation(problem="gone")))
    coloured = "\n".join(draw(status_table(snapshot(down)), 100, color_system="standard"))
    assert "\x1b[1;31mdown\x1b[0m" in coloured
    sound = "\n".join(draw(status_table(snapshot(SITE)), 100, color_system="standard"))
    assert "\x1b[33m" not in sound


def snapshot(*sites: SiteSnapshot) -> Snapshot:
    return Snapshot(AT, {site.name: site for site in sites})


def draw(shown: RenderableType, width: int, **console: Any) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=bool(console), **console).print(shown)
    return [line.rstrip() for line in out.getvalue().rstrip("\n").split("\n")]
