"""The live screen: complete pictures at three sizes, and properties of all sizes."""

import os
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from observing.sites import AT, BEATS, CANDLE, FIGURES
from rich.cells import cell_len
from rich.text import Text
from states import producer

from drawing.test_band import COST
from drawing.test_figures import SITE
from drawing.test_produce import SITE as ACKED
from drawing.test_produce import STATE
from mcloud.clouds.observation import Observation
from mcloud.clouds.ports import SERVICES, Depth, Lag
from mcloud.drawing.choice import INTERVALS, pressed
from mcloud.drawing.monitor import MonitorView, pages, screen
from mcloud.failover.pause import Pause
from mcloud.observing.machine import Machine
from mcloud.observing.recent import Recent
from mcloud.observing.snapshot import MonitorEvent, SiteCost, SiteSnapshot, SiteTrends, Snapshot
from mcloud.replication.progress import PairProgress, ReplicatorState
from mcloud.runs import Running

PICTURES = Path(__file__).parent / "pictures"
SIZES = ((80, 24), (120, 40), (200, 60))

DEPTHS = tuple((AT - 5 * n, (n * 37) % 90) for n in range(40, 0, -1))
LATE = "no answer for 42 s"
TRENDS = SiteTrends(
    rate=tuple((AT - n, float((n * 37) % 90)) for n in range(60, 0, -1)),
    lag=((AT - 10, 1.5), (AT - 5, 62.0)),
    latency=((AT - 10, 0.02), (AT - 7, None), (AT - 5, 0.04)),
    price=((AT - 10, 61_837.5), (AT - 5, 61_840.25), (AT - 2, 61_839.0)),
)
EVENTS = (
    MonitorEvent(AT - 60, "began", "gcp: no news of replication: no answer for 42 s"),
    MonitorEvent(AT - 20, "moved", "aws leads, by guard: gcp is down"),
    MonitorEvent(AT - 5, "ended", "aws: everything is down: 503"),
)
AWS = replace(
    SITE,
    trends=TRENDS,
    lags=Observation([Lag("gcp", "aws", "all", 1.2, 0, 30.0, 1, AT)], AT),
    cost=Observation(SiteCost(Decimal("1.234"), Decimal("0.0021")), AT),
    history=DEPTHS,
)
GCP = replace(
    SITE,
    name="gcp",
    cloud="gcp",
    queue=Observation(Depth(1_234, None, AT - 150), AT - 42, 0.0, LATE, 42),
    dead_letters=Observation(Depth(2, None, AT - 150), AT - 42, 0.0, LATE, 42),
    figures=Observation(FIGURES, AT - 42, 0.0, LATE, 42),
    lags=Observation(problem=LATE, waits=42),
    recent=Observation([Recent("BTCUSDT", CANDLE, [(5, 6)]), Recent("ETHUSDT", None, [])], AT),
    history=((AT - 150, 7), (AT - 100, None), (AT - 60, 1_234)),
)
WEST = replace(SITE, name="aws-west", health=dict.fromkeys(SERVICES, Observation(problem="gone")))
AWAY = {**ACKED, "breaker": "open", "waiting_trades": 1_999, "error": "Pub/Sub does not answer"}
MACHINE = Machine(
    producers=(
        Running(
            "default", True, producer(**STATE | {"at": AT, "sites": {"aws": ACKED, "gcp": AWAY}})
        ),
    ),
    replicators=(
        Running(
            "replicator",
            True,
            ReplicatorState(
                pid=7,
                at=AT,
                pairs=(
                    PairProgress("aws", "gcp", "following", error=LATE),
                    PairProgress("gcp", "aws", "following", candles_s=1.2),
                ),
            ),
        ),
    ),
)


def snapshot(*sites: SiteSnapshot) -> Snapshot:
    return Snapshot(
        AT,
        {site.name: site for site in sites},
        Observation(MACHINE, AT),
        Observation(COST, AT),
        upkeep=Decimal("1.78"),
        events=EVENTS,
    )


def view(width: int, height: int, **change: Any) -> MonitorView:
    return MonitorView(width, height, 5.0, "local", **change)


def plain(lines: list[Text]) -> list[str]:
    return [line.plain.rstrip() for line in lines]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_dashboard_is_drawn_as_in_its_picture(width: int, height: int) -> None:
    """MCLOUD_UPDATE=1 updates the pictures."""
    drawn = plain(screen(snapshot(AWS, GCP, WEST), view(width, height)))
    picture = PICTURES / f"{width}x{height}.txt"
    if os.environ.get("MCLOUD_UPDATE"):
        picture.parent.mkdir(exist_ok=True)
        picture.write_text("\n".join(drawn) + "\n")
    assert drawn == picture.read_text().splitlines()


def views() -> st.SearchStrategy[MonitorView]:
    return st.builds(
        MonitorView,
        width=st.integers(1, 240),
        height=st.integers(1, 80),
        interval=st.sampled_from(INTERVALS),
        profile=st.just("local"),
        paused=st.booleans(),
        focus=st.none() | st.integers(0, 5),
        page=st.integers(0, 9),
        help=st.booleans(),
        filter=st.sampled_from(("", "aws", "BTC")),
        typing=st.sampled_from((None, "", "gcp")),
    )


@given(views(), st.integers(0, 12))
def test_the_screen_fills_the_terminal_exactly(view: MonitorView, count: int) -> None:
    sites = [replace((AWS, GCP, WEST)[n % 3], name=f"site-{n}") for n in range(count)]
    lines = screen(snapshot(*sites), view)
    assert len(lines) == view.height
    assert all(line.cell_len <= view.width for line in lines)


@given(views())
def test_a_figure_that_changes_does_not_move_others(view: MonitorView) -> None:
    """The labels keep their places, whatever the figures are."""
    sound = screen(snapshot(AWS, replace(AWS, name="gcp")), replace(view, focus=None))
    trouble = screen(snapshot(GCP, replace(GCP, name="gcp")), replace(view, focus=None))
    # The last two lines show problems and keys.
    labels = [[line.plain[:14] for line in lines[:-5]] for lines in (sound, trouble)]
    if view.height >= 40 and view.width >= 80 and not view.help:
        assert labels[0] == labels[1]


SYMBOLS = ("BTCUSDT", "BTCUSDT_250926.um", "BTCUSDT_251226.um", "币安人生USDT", "币安人生USDT.um")


@pytest.mark.parametrize("focus", [None, 0])
@pytest.mark.parametrize("width", [80, 120, 200])
def test_symbols_of_any_market_and_script_are_complete_and_aligned(
    focus: int | None, width: int
) -> None:
    site = replace(
        AWS,
        recent=Observation([Recent(symbol, CANDLE, [(5, 6)]) for symbol in SYMBOLS], AT),
        heartbeats=Observation([replace(BEATS[0], symbol=symbol) for symbol in SYMBOLS], AT),
    )
    drawn = screen(snapshot(site, replace(site, name="gcp")), view(width, 60, focus=focus))
    starts = set()
    for symbol in SYMBOLS:
        (line,) = [each for each in drawn if each.plain.startswith(f"{symbol} ")]
        price = line.plain.index("61837.5")
        starts.add(cell_len(line.plain[:price]))
    assert len(starts) == 1


def test_a_standby_has_no_candles_of_its_own() -> None:
    other = replace(AWS, name="gcp", recent=Observation([Recent("BTCUSDT", CANDLE, [])], AT))
    drawn = plain(screen(snapshot(AWS, other), view(120, 60)))
    (line,) = [each for each in drawn if each.startswith("ETHUSDT")]
    assert line.split(maxsplit=2)[1:] == ["none", "none of its own"]


def test_a_large_screen_has_trends_and_events() -> None:
    drawn = plain(screen(snapshot(AWS, GCP), view(120, 60)))
    rows = {line[:14].strip(): line for line in drawn}
    assert rows["trades/s"].split()[-3:] == ["37", "no", "data"]
    assert rows["lag"].split()[1:4] == ["▁█", "1", "min"]
    assert rows["latency"].split()[1:5] == ["▄", "█", "40", "ms"]
    assert rows["price"].split()[1:3] == ["▁█▄", "61,839"]
    begin = drawn.index("events")
    assert [line.split("  ")[1] for line in drawn[begin + 1 : begin + 4]] == [
        "over: aws: everything is down: 503",
        "aws leads, by guard: gcp is down",
        "gcp: no news of replication: no answer for 42 s",
    ]
    quiet = replace(snapshot(AWS, GCP), events=())
    assert "none since the start of the monitor" in plain(screen(quiet, view(120, 60)))
    assert "events" not in plain(screen(snapshot(AWS, GCP), view(120, 30)))


def test_events_come_before_the_greatest_height_of_a_chart() -> None:
    drawn = plain(screen(snapshot(AWS, GCP), view(120, 50)))
    begin = drawn.index("events")
    assert drawn[begin + 1].endswith("over: aws: everything is down: 503")


def test_a_filter_keeps_processes_events_problems_and_symbols() -> None:
    drawn = plain(screen(snapshot(AWS, GCP), view(120, 60, filter="replic")))
    begin = drawn.index("events")
    assert drawn[begin + 1].endswith("gcp: no news of replication: no answer for 42 s")
    assert drawn[begin + 2] == ""
    assert drawn[-1].startswith("/replic  q quit")
    text = "\n".join(drawn)
    assert "\ndefault  " not in text
    assert "replicator" in text
    nothing = plain(screen(snapshot(AWS, GCP), view(120, 60, filter="xyz")))
    assert "no process matches the filter" in nothing
    assert "none matches the filter" in nothing
    assert "no problems" not in nothing
    assert any(line.endswith("none of which matches the filter") for line in nothing)
    alone = plain(screen(snapshot(AWS, GCP), view(120, 60, focus=0, typing="eth")))
    assert not any(line.startswith("BTCUSDT") for line in alone)
    assert alone[-1].startswith("/eth▏")


def test_low_terminals_leave_out_the_least_important() -> None:
    def shown(height: int) -> set[str]:
        return {line[:14].strip() for line in plain(screen(snapshot(AWS, GCP), view(80, height)))}

    assert {"services", "queue depth", "cost", "writes", "p95"} <= shown(24)
    low = shown(16)
    assert {"services", "queue depth", "dead letters", "errors"} <= low
    assert "writes" not in low
    assert {"services", "queue depth"} <= shown(8)


def test_more_sites_than_fit_come_in_pages() -> None:
    sites = [replace(AWS, name=f"site-{n}") for n in range(5)]
    first, second, third, again = (
        "\n".join(plain(screen(snapshot(*sites), view(80, 24, page=page)))) for page in range(4)
    )
    assert "1 site-0" in first
    assert "2 site-1" in first
    assert "site-2" not in first
    assert "3-4 of 5" in second
    assert "5 site-4" in third
    assert again == first
    assert (pages(5, 80), pages(5, 200), pages(0, 80)) == (3, 1, 1)


def test_a_focused_site_shows_all_figures_with_reasons() -> None:
    drawn = plain(screen(snapshot(AWS, GCP), view(100, 50, focus=1)))
    text = "\n".join(drawn)
    assert f"queue depth   1,234 waiting  2 min ago  {LATE}" in drawn
    assert "BTCUSDT            9,757 trades,    0 s ago  2024-08-08T23:54      61837.5" in text
    assert "2 missing" in text
    assert "1 aws" not in text
    assert "guards" not in text


@pytest.mark.parametrize(
    ("note", "said"),
    [
        (
            Pause(paused=True, by="root@vm", why="works", at=AT - 300, written=3),
            ["guards        paused by root@vm, 5 min ago: works"],
        ),
        (Pause(paused=False, by="root@vm", why="", at=AT - 300, written=4), []),
    ],
)
def test_a_focused_site_shows_a_pause_of_the_guards(note: Pause, said: list[str]) -> None:
    site = replace(AWS, guards=Observation({"pause": note}, AT))
    drawn = plain(screen(snapshot(site, GCP), view(100, 50, focus=0)))
    assert [line for line in drawn[4:-2] if line.startswith("guard")] == said


def test_the_screen_shows_pause_problems_and_cost() -> None:
    drawn = plain(screen(snapshot(AWS, GCP), view(80, 24, paused=True)))
    assert drawn[0].startswith("mcloud  local")
    assert "PAUSED" in drawn[0]
    assert drawn[-1].endswith("looking $1.78/month")
    assert drawn[-2].startswith("4 more  gcp: no news of queue depth, dead letters, metrics")
    sound = replace(snapshot(AWS), machine=Observation(Machine(), AT))
    assert plain(screen(sound, view(80, 24)))[-2] == "no problems"
    asking = replace(AWS, health=dict.fromkeys(SERVICES, Observation()))
    assert plain(screen(replace(sound, sites={"aws": asking}), view(80, 24)))[-2] == (
        "reading the sites"
    )


def test_consequences_of_an_outage_do_not_hide_its_cause() -> None:
    gone = Observation[float](problem="gone")
    down = replace(AWS, health=dict.fromkeys(SERVICES, gone))
    drawn = plain(screen(snapshot(down, replace(AWS, name="gcp")), view(120, 40)))
    assert [line for line in drawn[-5:-1] if line] == [
        "aws: everything is down: gone; move the traffic with `mcloud failover gcp`",
        "producer default: gcp does not accept messages: Pub/Sub does not answer; "
        "see `mcloud logs default`",
    ]


def test_only_problems_have_colour() -> None:
    def colours(*sites: SiteSnapshot) -> set[str]:
        machine = Observation(Machine(), AT)
        return {
            str(style)
            for line in screen(replace(snapshot(*sites), machine=machine, events=()), view(120, 40))
            for style in (line.style, *(span.style for span in line.spans))
        }

    assert colours(AWS) <= {"", "dim", "bold", "green"}
    assert colours(WEST) >= {"bold red", "yellow"}


def test_the_page_of_help_is_whole_at_80_columns() -> None:
    narrow, wide = (
        [
            line.plain.rstrip()
            for line in screen(Snapshot(AT, {}), MonitorView(width, 40, 5.0, help=True))[2:20]
        ]
        for width in (80, 200)
    )
    assert any("this page" in line for line in narrow)
    assert [line for line in narrow if line.startswith("  ")] == [
        line for line in wide if line.startswith("  ")
    ]


def test_a_filter_is_typed() -> None:
    seen = MonitorView(80, 24, 5.0)
    for key in ("/", "q", "x", "\x7f", "1", "left", "\n"):
        seen = pressed(key, seen, 3)
    assert (seen.filter, seen.typing, seen.focus) == ("q1", None, None)
    dropped = pressed("escape", pressed("z", pressed("/", seen, 3), 3), 3)
    assert (dropped.filter, dropped.typing) == ("q1", None)
    assert pressed("escape", dropped, 3).filter == ""


class TestKeys:
    VIEW = MonitorView(80, 24, 5.0)

    def after(self, keys: str, sites: int = 3, **change: Any) -> MonitorView:
        seen = replace(self.VIEW, **change)
        for key in keys.split():
            seen = pressed(key, seen, sites)
        return seen

    def test_pause_and_help_turn_on_and_off(self) -> None:
        assert self.after("p").paused
        assert not self.after("p p").paused
        assert self.after("?").help
        assert not self.after("? ?").help
        assert not self.after("? escape").help

    def test_plus_and_minus_change_the_interval_within_bounds(self) -> None:
        assert self.after("+").interval == 2
        assert self.after("=").interval == 2
        assert self.after("-").interval == 10
        assert self.after("+ " * 20).interval == INTERVALS[0]
        assert self.after("- " * 20).interval == INTERVALS[-1]
        assert self.after("- +", interval=7.5).interval == 5

    def test_a_number_focuses_a_site_and_again_all(self) -> None:
        assert self.after("2").focus == 1
        assert self.after("2 3").focus == 2
        assert self.after("2 2").focus is None
        assert self.after("2 escape").focus is None
        assert self.after("4").focus is None  # there are three
        assert self.after("? 2") == replace(self.VIEW, focus=1)

    def test_arrows_go_through_pages_or_sites(self) -> None:
        assert self.after("right").page == 1
        assert self.after("right right").page == 0  # three sites are two pages of 80 columns
        assert self.after("left").page == 1
        assert self.after("3 right").focus == 0
        assert self.after("1 left").focus == 2

    @pytest.mark.parametrize("key", ["x", "é", "\n", "²", ""])
    def test_other_keys_do_nothing(self, key: str) -> None:
        assert pressed(key, self.VIEW, 3) == self.VIEW
