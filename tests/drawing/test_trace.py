"""Drawing the way of a trade."""

from typing import Any

import pytest
from rich.console import Console
from states import read

from mcloud.drawing.trace import SKEW, after, view
from mcloud.trace.find import TraceReport
from mcloud.trace.timeline import iso

STAGES = [
    {"stage": "exchange", "time": "2026-11-25T20:53:06.129Z", "after_ms": None, "source": "trade"},
    {"stage": "received", "time": None, "after_ms": None, "unknown": "nobody here has a record"},
    {"stage": "sent", "time": "2026-11-25T20:53:06.520Z", "after_ms": 391, "source": "producer a"},
    {"stage": "processed", "time": "2026-11-25T20:53:06.500Z", "after_ms": -20, "source": "log"},
]
TRACED: dict[str, Any] = {
    "symbol": "BTCUSDT",
    "id": 3735684300,
    "found": True,
    "trade": {
        "price": "61841.13",
        "quantity": "0.0004",
        "time": "2026-11-25T20:53:06.129Z",
        "buyer_is_maker": True,
    },
    "trace": {"trace_id": "66b5", "xray_trace_id": "1-66b5", "span_id": "a", "sampled": True},
    "messages": [{"producer": "a", "first_id": 1, "last_id": 9, "trades": 1_000}],
    "sites": {"aws": {"candle": "2026-11-25T20:53:00Z", "object": None, "stages": STAGES}},
    "looked": [],
}


def shown(traced: dict[str, Any], width: int = 140) -> list[str]:
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(view(read(TraceReport, traced)))
    return [line.rstrip() for line in captured.get().splitlines()]


def test_a_timeline_is_drawn_for_each_site() -> None:
    assert shown(TRACED) == [
        "BTCUSDT 3735684300: 0.0004 at 61841.13",
        "in the message 1 to 9, 1,000 trades of producer a",
        "trace 66b5, sampled; X-Ray calls it 1-66b5",
        "",
        "aws",
        "stage      time (UTC)                 after  from",
        "exchange   2026-11-25 20:53:06.129           trade",
        "received   unknown                           nobody here has a record",
        "sent       2026-11-25 20:53:06.520  +391 ms  producer a",
        "processed  2026-11-25 20:53:06.500   -20 ms  log",
        "candle     2026-11-25T20:53:00Z",
        "",
        SKEW,
    ]


def test_clocks_are_mentioned_only_if_they_differ() -> None:
    assert SKEW in shown(TRACED)
    assert SKEW not in shown(with_stages(exchange=0, sent=400, processed=405, stored=409))


def test_the_first_trade_of_a_message_may_be_received_before_the_trade() -> None:
    in_order = with_stages(exchange=400, received=0, spooled=900, sent=950)
    assert SKEW not in shown(in_order)
    assert SKEW in shown(with_stages(exchange=4_000, received=0, spooled=900, sent=950))


def test_an_export_service_may_archive_a_trade_before_the_function_stores_it() -> None:
    assert SKEW not in shown(with_stages(sent=0, processed=800, stored=900, archived=400))


def with_stages(**at: int) -> dict[str, Any]:
    """Return the report of a trade with these stages, in ms."""
    stages = [
        {"stage": stage, "time": iso(ms), "after_ms": ms - before, "source": "a log"}
        for (stage, ms), before in zip(at.items(), [0, *at.values()], strict=False)
    ]
    return {**TRACED, "sites": {"aws": {**TRACED["sites"]["aws"], "stages": stages}}}


def test_times_are_not_truncated_in_a_narrow_terminal() -> None:
    lines = shown({**TRACED, "trade": None, "trace": None, "messages": []}, 60)
    assert lines[0] == "BTCUSDT 3735684300"
    assert any("2026-11-25 20:53:06.520  +391 ms" in line for line in lines)


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (None, ""),
        (0, "+0 ms"),
        (9_999, "+9,999 ms"),
        (-3, "-3 ms"),
        (12_300, "+12.3 s"),
        (-307_000, "-5 min 07 s"),
        (72_478_682_334, "+838 d 20 h"),
    ],
)
def test_the_time_since_the_previous_stage_is_shown(ms: int | None, text: str) -> None:
    assert after(ms) == text
