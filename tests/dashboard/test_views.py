"""The screens, character by character."""

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from mcloud.clouds.ports import SERVICES, Depth, Health, Invocations, Lag
from mcloud.dashboard.snapshot import SiteSnapshot, Snapshot
from mcloud.dashboard.views import status_table

from .sites import AT, BEATS, CALLS, CANDLE, DEAD, DEPTH

UP = {service: Health(service, True, "", 0.0123) for service in SERVICES}
SITE = SiteSnapshot("aws", "aws", UP, DEPTH, DEAD, CALLS, BEATS, [], CANDLE)


def test_two_sound_sites() -> None:
    west = replace(SITE, name="west", health={**UP, "archive": Health("archive", True, "", 1.5)})
    assert draw([SITE, west], 120) == [
        "                   aws                                     west (aws)",
        "queue              up  12 ms                               up  12 ms",
        "function           up  12 ms                               up  12 ms",
        "candles            up  12 ms                               up  12 ms",
        "archive            up  12 ms                               up  1500 ms",
        "queue depth        12 ready, 3 in flight                   12 ready, 3 in flight",
        "dead letters       0 ready, 0 in flight                    0 ready, 0 in flight",
        "function calls     240 in 15 min                           240 in 15 min",
        "function errors    0                                       0",
        "last candle        BTCUSDT 2024-08-08T23:54:00Z 61837.5    "
        "BTCUSDT 2024-08-08T23:54:00Z 61837.5",
    ]


def test_what_is_down_or_unknown_says_why() -> None:
    late = "no answer within 8 s"
    down = SiteSnapshot(
        "gcp", "gcp", {s: Health(s, False, late, 0.0) for s in SERVICES}, *[late] * 6
    )
    assert draw([down], 80) == [
        "                   gcp",
        "queue              down  no answer within 8 s",
        "function           down  no answer within 8 s",
        "candles            down  no answer within 8 s",
        "archive            down  no answer within 8 s",
        "queue depth        unknown: no answer within 8 s",
        "dead letters       unknown: no answer within 8 s",
        "function calls     unknown: no answer within 8 s",
        "function errors    unknown: no answer within 8 s",
        "last candle        unknown: no answer within 8 s",
    ]


def test_lags_are_shown_on_the_site_that_is_behind() -> None:
    lag = Lag("gcp", "aws", "all", 1.26, 3, None, 2, AT - 4)
    old = Lag("west", "aws", "2/4", 0.5, 0, 75.0, 1, AT - 90)
    gcp = replace(SITE, name="gcp", cloud="gcp", lags="no answer within 8 s")
    assert draw([replace(SITE, lags=[lag, old]), gcp], 120)[-2:] == [
        "behind             gcp: candles 1.2 s, raw unknown"
        "                       unknown: no answer within 8 s",
        "                   west 2/4: candles 0.5 s, raw 1 min 15 s (90 s ago)",
    ]


def test_a_narrow_terminal_wraps_and_loses_nothing() -> None:
    reason = "SQS did not answer; see the console"
    down = replace(SITE, health={**UP, "queue": Health("queue", False, reason, 0.0)})
    words = " ".join(" ".join(draw([down], 44)).split())
    assert "down SQS did not answer; see the console" in words
    assert "BTCUSDT 2024-08-08T23:54:00Z 61837.5" in words
    assert all(len(line) <= 44 for line in draw([down], 44))


@pytest.mark.parametrize(
    ("row", "change", "shown"),
    [
        ("queue depth", {"queue": Depth(5, None, AT)}, "5"),
        ("queue depth", {"queue": Depth(None, None, AT)}, "unknown: no data"),
        ("queue depth", {"queue": Depth(0, 0, AT - 30)}, "0 ready, 0 in flight"),
        ("queue depth", {"queue": Depth(0, 0, AT - 90)}, "0 ready, 0 in flight (90 s ago)"),
        ("dead letters", {"dead_letters": Depth(None, 1, AT)}, "unknown: no data"),
        ("dead letters", {"dead_letters": Depth(4, None, AT - 180)}, "4 (180 s ago)"),
        (
            "function calls",
            {"invocations": Invocations(7, 2, 900, AT - 240)},
            "7 in 15 min (240 s ago)",
        ),
        ("function calls", {"invocations": Invocations(None, 2, 900, AT)}, "unknown: no data"),
        ("function errors", {"invocations": Invocations(7, 2, 900, AT)}, "2"),
        ("function errors", {"invocations": Invocations(7, None, 900, AT)}, "unknown: no data"),
        ("last candle", {"last_candle": None}, "none yet"),
        ("last candle", {"last_candle": "[/red] gone"}, "unknown: [/red] gone"),
    ],
)
def test_a_figure(row: str, change: dict[str, Any], shown: str) -> None:
    (line,) = [line for line in draw([replace(SITE, **change)], 100) if line.startswith(row)]
    assert line.removeprefix(row).strip() == shown


def test_trouble_stands_out() -> None:
    trouble = replace(
        SITE,
        health={**UP, "queue": Health("queue", False, "gone", 0.0)},
        dead_letters=Depth(4, 0, AT),
        invocations=Invocations(7, 2, 900, AT),
    )
    coloured = "\n".join(draw([trouble], 100, color_system="standard"))
    assert "\x1b[1;31mdown\x1b[0m" in coloured
    assert "\x1b[33m4 ready, 0 in flight\x1b[0m" in coloured
    assert "\x1b[33m2 " in coloured
    assert "\x1b[33m" not in "\n".join(draw([SITE], 100, color_system="standard"))


def draw(sites: list[SiteSnapshot], width: int, **console: Any) -> list[str]:
    out = io.StringIO()
    table = status_table(Snapshot(AT, {site.name: site for site in sites}))
    Console(file=out, width=width, force_terminal=bool(console), **console).print(table)
    return [line.rstrip() for line in out.getvalue().rstrip("\n").split("\n")]
