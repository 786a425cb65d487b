"""Each figure as short text: its value, its age if it is old, or why it is unknown."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from observing.sites import AT, BEATS, CANDLE, DEAD, DEPTH, RECORD
from observing.sites import FIGURES as METRICS

from mcloud.clouds.observation import Observation
from mcloud.clouds.ports import SERVICES, Depth, Figure, Figures, Lag
from mcloud.drawing import figures
from mcloud.drawing.figures import FIGURES, Cell, chart
from mcloud.observing.recent import Recent
from mcloud.observing.snapshot import SiteCost, SiteSnapshot
from mcloud.processor.compaction import LastCompaction

UP = {service: Observation(0.01, AT, 0.012) for service in SERVICES}
SITE = SiteSnapshot(
    name="aws",
    cloud="aws",
    health=UP,
    code=Observation(),
    queue=Observation(DEPTH, AT),
    dead_letters=Observation(DEAD, AT),
    figures=Observation(METRICS, AT),
    heartbeats=Observation(BEATS, AT),
    lags=Observation([], AT),
    record=Observation(RECORD, AT),
    debts=Observation(),
    guards=Observation({}, AT),
    recent=Observation([Recent("BTCUSDT", CANDLE, []), Recent("ETHUSDT", None, [])], AT),
    cost=Observation(),
)
LATE = "no answer for 12 s"
COMPACTED = LastCompaction(AT, 12.0, 700, 3, 9_000, 5, 2, ("a is damaged",), "BTCUSDT")


def metrics(**change: float | None) -> dict[str, Observation[Figures]]:
    """Return metrics with these values, four minutes old."""
    changed = {name: Figure(value, AT - 240) for name, value in change.items()}
    return {"figures": Observation(replace(METRICS, measured={**METRICS.measured, **changed}), AT)}


def lag(**change: Any) -> dict[str, Observation[list[Lag]]]:
    return {
        "lags": Observation([replace(Lag("gcp", "aws", "all", 1.26, 3, None, 2, AT), **change)], AT)
    }


STANDBY = {"recent": Observation([], AT), "heartbeats": Observation([], AT)}


@pytest.mark.parametrize(
    ("label", "change", "shown"),
    [
        ("services", {}, "up  12 ms"),
        ("services", {"health": {**UP, "queue": Observation(1.5, AT, 1.5)}}, "up  1500 ms"),
        ("services", {"health": {**UP, "queue": Observation()}}, "asking"),
        (
            "services",
            {"health": {**UP, "queue": Observation(problem=LATE)}},
            f"down  queue: {LATE}",
        ),
        (
            "services",
            {"health": dict.fromkeys(SERVICES, Observation(problem=LATE))},
            f"down  all: {LATE}",
        ),
        (
            "services",
            {
                "health": {
                    **UP,
                    "queue": Observation(problem=LATE),
                    "archive": Observation(problem="no bucket"),
                }
            },
            f"down  queue: {LATE}; archive: no bucket",
        ),
        ("compacted", {"compaction": Observation(None, AT)}, "not yet"),
        (
            "compacted",
            {"compaction": Observation(COMPACTED, AT)},
            "700 objects in 12.0 s, up to BTCUSDT, 2 failed",
        ),
        (
            "compacted",
            {
                "compaction": Observation(
                    LastCompaction(AT, 9.0, 5, 1, 9, 0, 0, staged=24, staged_since=AT - 7_200), AT
                )
            },
            "5 objects in 9.0 s, 24 staged objects left, the oldest written 2 h ago",
        ),
        ("queue depth", {}, "12 ready, 3 in flight"),
        ("queue depth", {"queue": Observation(Depth(1500, None, AT), AT)}, "1,500 waiting"),
        (
            "queue depth",
            {"queue": Observation(Depth(None, None, AT), AT)},
            "unknown: CloudWatch has no value yet",
        ),
        ("queue depth", {"queue": Observation(problem=LATE)}, f"unknown: {LATE}"),
        ("queue depth", {"queue": Observation()}, "unknown: not read yet"),
        ("queue depth", {"queue": Observation(Depth(0, 0, AT - 9), AT)}, "0 ready, 0 in flight"),
        (
            "queue depth",
            {"queue": Observation(Depth(0, 0, AT - 90), AT)},
            "0 ready, 0 in flight (1 min ago)",
        ),
        (
            "queue depth",
            {"queue": Observation(Depth(5, 0, AT - 90), AT - 90, problem=LATE)},
            f"5 ready, 0 in flight (1 min ago: {LATE})",
        ),
        ("oldest", {}, "7.0 s"),
        ("oldest", metrics(oldest_age=75.0), "1 min 15 s (4 min ago)"),
        ("oldest", metrics(oldest_age=None), "unknown: CloudWatch has no value yet"),
        ("oldest", {"figures": Observation(problem=LATE)}, f"unknown: {LATE}"),
        ("dead letters", {}, "0 ready, 0 in flight"),
        ("dead letters", {"dead_letters": Observation(Depth(4, None, AT), AT)}, "4 waiting"),
        ("calls", {}, "240 in 15 min"),
        ("calls", metrics(calls=12_345.0), "12,345 in 15 min (4 min ago)"),
        ("calls", metrics(calls=None), "unknown: CloudWatch has no value yet"),
        ("errors", {}, "0"),
        ("errors", metrics(errors=2.0), "2 (4 min ago)"),
        ("throttles", metrics(throttles=None), "unknown: CloudWatch has no value yet"),
        (
            "throttles",
            {**metrics(throttles=None), "cloud": "gcp"},
            "unknown: Cloud Monitoring has no value yet",
        ),
        ("p95", {}, "120 ms"),
        ("p95", metrics(p95=75.0), "1 min 15 s (4 min ago)"),
        ("writes", {}, "1,234 in 15 min"),
        (
            "writes",
            metrics(writes=5.0, write_throttles=2.0),
            "5 in 15 min, 2 throttled (4 min ago)",
        ),
        ("processed", {}, "15,863 trades"),
        ("processed", {"heartbeats": Observation([], AT)}, "no trades yet"),
        (
            "processed",
            {"heartbeats": Observation([replace(BEATS[0], at=AT - 75)], AT, problem="gone")},
            "9,757 trades (1 min ago: gone)",
        ),
        (
            "services",
            {"queue": Observation(DEPTH, AT, problem="no answer for 9 s", waits=9)}
            | {"lags": Observation(problem=LATE, waits=12)},
            f"no news  queue depth, replication: {LATE}",
        ),
        ("last candle", {}, "BTCUSDT 23:54 61837.5"),
        ("last candle", {"recent": Observation([], AT)}, "none yet"),
        ("last candle", STANDBY, "none yet"),
        ("last candle", {**STANDBY, **lag()}, "none of its own"),
        ("last candle", {"recent": Observation(problem="[/red] gone")}, "unknown: [/red] gone"),
        ("holes", {}, "none"),
        ("holes", {"recent": Observation([], AT)}, "no candles"),
        ("holes", {**STANDBY, **lag()}, "no candles of its own"),
        (
            "holes",
            {"recent": Observation([Recent("BTCUSDT", CANDLE, [(8, 9), (20, 1_029)])], AT)},
            "BTCUSDT 1,012 missing",
        ),
        ("behind", {}, "no replicator"),
        ("behind", lag(), "gcp 1 s, raw unknown"),
        ("behind", lag(raw_s=75.0, at=AT - 90, part="2/4"), "gcp 2/4 1 s, raw 1 min (1 min ago)"),
        ("behind", lag(candles_s=0.0, at=AT - 3240), "gcp unknown, last reported 54 min ago"),
        (
            "processed",
            {"heartbeats": Observation([BEATS[0], replace(BEATS[1], last_trade_time=0)], AT)},
            "15,863 trades, ETHUSDT none for 19,943 d",
        ),
        ("cost", {}, "unknown: not read yet"),
        ("cost", {"cost": Observation(problem="no access")}, "unknown: no access"),
        ("cost", {"cost": Observation(SiteCost(Decimal("1.234"), None), AT)}, "$1.23 this month"),
        (
            "cost",
            {"cost": Observation(SiteCost(Decimal(9), Decimal("0.0021")), AT - 86_400)},
            "$9.00 this month, $0.0021/h (1 d ago)",
        ),
    ],
)
def test_figures_are_drawn_with_their_age(label: str, change: dict[str, Any], shown: str) -> None:
    cell = FIGURES[label](replace(SITE, **change), AT)
    why = f": {cell.problem}" if cell.problem else ""
    assert cell.text.plain + (f" ({cell.ago}{why})" if cell.ago else "") == shown


@pytest.mark.parametrize("label", FIGURES)
@pytest.mark.parametrize("seen", [Observation(), Observation(problem="it is down")])
def test_an_unknown_figure_never_looks_like_a_number(label: str, seen: Observation[Any]) -> None:
    parts = ("queue", "dead_letters", "figures", "heartbeats", "lags", "record", "recent", "cost")
    dark = replace(SITE, health=dict.fromkeys(SERVICES, seen), **dict.fromkeys(parts, seen))
    text = FIGURES[label](dark, AT).text.plain
    assert not any(letter.isdigit() for letter in text)
    assert ("unknown" in text) or label == "services"


@pytest.mark.parametrize(
    ("make", "change", "style"),
    [
        (figures.services, {}, "green"),
        (figures.services, {"health": {**UP, "queue": Observation(problem="gone")}}, "bold red"),
        (figures.dead_letters, {"dead_letters": Observation(Depth(4, 0, AT), AT)}, "yellow"),
        (FIGURES["errors"], metrics(errors=2.0), "yellow"),
        (figures.holes, {"recent": Observation([Recent("X", CANDLE, [(1, 2)])], AT)}, "yellow"),
        (figures.queue, {"queue": Observation(problem="gone")}, "dim"),
    ],
)
def test_colour_has_a_meaning(
    make: Callable[[SiteSnapshot, float], Cell], change: dict[str, Any], style: str
) -> None:
    text = make(replace(SITE, **change), AT).text
    assert style in {text.style, *(span.style for span in text.spans)}


def test_figures_in_order_have_no_colour() -> None:
    for label, make in FIGURES.items():
        if label != "services":
            text = make(SITE, AT).text
            assert {text.style, *(span.style for span in text.spans)} <= {"", "dim"}, label


class TestChart:
    def test_the_chart_shows_the_newest_values_scaled_to_the_highest(self) -> None:
        history = [(AT + n, value) for n, value in enumerate([99, 0, 1, 4, None, 8])]
        assert chart(history, 5) == ["▁▂▄ █"]
        assert chart(history, 5, 2) == [
            "    █",
            "▁▂█ █",
        ]

    def test_a_chart_without_values_is_a_message(self) -> None:
        assert chart([], 20) == ["no data"]
        assert chart([(AT, None)], 20, 3) == ["no data", "", ""]
        assert chart([(AT, 0)], 20) == ["▁"]

    @given(
        st.lists(st.none() | st.integers(0, 10**9), max_size=60),
        st.integers(1, 40),
        st.integers(1, 5),
    )
    def test_the_chart_fits_and_only_zero_has_the_lowest_bar(
        self, values: list[int | None], width: int, height: int
    ) -> None:
        drawn = chart([(float(n), value) for n, value in enumerate(values)], width, height)
        assert len(drawn) == height
        assert all(len(line) <= width for line in drawn)
        if any(value is not None for value in values[-width:]):
            for bar, value in zip(drawn[-1], values[-width:], strict=True):
                assert (bar == " ") == (value is None)
                assert (bar == "▁") == (value == 0)
