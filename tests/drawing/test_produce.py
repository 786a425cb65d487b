"""The producers' screens, character by character."""

import io
from decimal import Decimal
from typing import Any

import pytest
from rich.console import Console, RenderableType
from states import PRODUCER, read

from mcloud.drawing import produce
from mcloud.drawing.produce import delivered
from mcloud.market.trade import Trade
from mcloud.producer.reported_state import ProducerState
from mcloud.producer.sender import SiteDelivery
from mcloud.runs import Running

AT = 1_723_161_300.0
SITE = {
    "messages": 12,
    "trades": 12_345,
    "waiting": 0,
    "waiting_trades": 0,
    "breaker": "closed",
    "latency": 0.0123,
    "error": "",
    "refused": False,
    "lag_s": 0.4,
}
STATE: dict[str, Any] = {
    **PRODUCER,
    "name": "default",
    "source": "binance",
    "live": True,
    "pid": 4711,
    "at": AT,
    "started": 0.0,
    "read": 12_345,
    "repeats": 0,
    "rate": 31.4,
    "lag_s": 0.25,
    "route": {"sites": ["aws", "gcp"], "reason": "every site"},
    "sites": {"aws": SITE, "gcp": SITE},
    "holes": [],
    "spool_bytes": 40_960,
    "spool_full": False,
    "problem": "",
    "source_state": {"summary": "1 of 1 connections", "error": False},
}
SOURCES = ("binance", "binance-futures", "binance-coin-futures")
HOLE = {"symbol": "BTCUSDT", "first": 5, "last": 1_204, "since": 0, "attempts": 0, "reason": ""}


def panel(state: dict[str, Any]) -> RenderableType:
    return produce.panel(read(ProducerState, state))


def listing(
    states: list[tuple[str, bool, dict[str, Any]]], now: float | None = None
) -> RenderableType:
    runs = [
        Running(name, runs, read(ProducerState, state) if state else None)
        for name, runs, state in states
    ]
    return produce.listing(runs, now)


def test_a_producer_without_problems() -> None:
    assert draw(panel(STATE)) == [
        "12,345 trades, 31/s, lag 0.2 s  spool 0.0 MiB",
        "site  accepted  waiting    lag  breaker  publish",
        "aws     12,345        0  0.4 s  closed   12 ms",
        "gcp     12,345        0  0.4 s  closed   12 ms",
        "every site",
        "1 of 1 connections",
    ]


def test_a_producer_with_problems_names_them() -> None:
    away = {**SITE, "waiting_trades": 1_999, "breaker": "open", "error": "SQS is down"}
    refused = {**SITE, "trades": 0, "latency": None, "refused": True, "error": "no access"}
    trouble = {
        **STATE,
        "repeats": 17,
        "lag_s": None,
        "sites": {"aws": away, "gcp": refused},
        "route": {"sites": ["aws"], "reason": "primary of epoch 4: drill"},
        "holes": [{**HOLE, "reason": "no answer"}, *[HOLE] * 6],
        "spool_bytes": 2**30,
        "spool_full": True,
        "problem": "no room for the spool",
        "source_state": {"summary": "0 of 1 connections; gone", "error": True},
    }
    named = "hole: BTCUSDT 5 to 1204, 1,200 trades"
    assert draw(panel(trouble)) == [
        "12,345 trades, 31/s, lag unknown, 17 repeats  spool 1024.0 MiB FULL, not reading",
        "site  accepted  waiting    lag  breaker  publish",
        "aws     12,345    1,999  0.4 s  open     12 ms    SQS is down",
        "gcp          0        0  0.4 s  refused           no access",
        "primary of epoch 4: drill",
        f"{named}: no answer",
        *[named] * 4,
        "… and 2 more holes",
        "0 of 1 connections; gone",
        "no room for the spool",
    ]


def test_the_lag_of_old_trades_is_rounded() -> None:
    assert "lag 3 d 4 h " in draw(panel({**STATE, "lag_s": 3 * 86_400 + 4 * 3_600.5}))[0]


NEWEST = Trade("ETHUSDT", 7, Decimal("2683.80"), Decimal(1), 1_723_161_299_999, True)


def test_a_replay_shows_how_far_it_is_and_how_long_it_takes() -> None:
    behind = {**SITE, "trades": 9_876}
    state = {**STATE, "live": False, "started": AT - 30, "sites": {"aws": SITE, "gcp": behind}}
    drawn = produce.panel(read(ProducerState, state), done=0.625, newest=NEWEST, width=60)
    assert draw(drawn)[:3] == [
        "█████████░░░░░░░░░  50%  30.0 s elapsed, about 30.0 s left",
        "12,345 trades, 31/s  spool 0.0 MiB",
        "ETHUSDT 2683.8 at 2024-08-08T23:54:59Z",
    ]
    moved = {**state, "route": {"sites": ["gcp"], "reason": "primary"}, "read": 2 * 12_345}
    both = {"aws": {**SITE, "trades": 9_876}, "gcp": {**SITE, "trades": 9_876}}
    assert (
        "  50%  "
        in draw(produce.panel(read(ProducerState, {**moved, "sites": both}), done=0.625, width=60))[
            0
        ]
    )
    wide = draw(produce.panel(read(ProducerState, state), done=0.625, width=200))[0]
    assert wide.startswith("█" * 30 + "░" * 30 + "  50%")


def test_a_bar_is_full_only_at_the_end_and_names_the_site_that_it_waits_for() -> None:
    away = {**SITE, "breaker": "open"}
    state = {**STATE, "live": False, "started": AT - 30}
    read_all = produce.panel(read(ProducerState, state), done=1.0, width=60)
    assert " 99%  30.0 s elapsed, about 0.0 s left" in draw(read_all)[0]
    state |= {"sites": {"aws": SITE, "gcp": away}}
    stuck = produce.panel(read(ProducerState, state), done=0.5, width=60)
    assert draw(stuck)[0].endswith(" 50%  30.0 s elapsed, waiting for gcp")


def test_too_little_is_no_base_for_the_remaining_time() -> None:
    state = {**STATE, "live": False, "started": AT - 3}
    assert draw(produce.panel(read(ProducerState, state), done=0.01, width=60))[0].endswith(
        "  1%  3.0 s elapsed"
    )
    live = produce.panel(read(ProducerState, {**STATE, "started": AT - 3}))
    assert draw(live)[0] == "running for 3.0 s"


def test_a_run_that_has_ended() -> None:
    sites = {"aws": SiteDelivery(messages=12, trades=12_345), "gcp": SiteDelivery(waiting=1_000)}
    assert draw(delivered(sites)) == [
        "site  trades  messages  unsent",
        "aws   12,345        12       0",
        "gcp        0         0   1,000",
    ]


def test_a_replay_has_no_lag_and_no_connections() -> None:
    assert draw(panel({**STATE, "live": False, "source_state": None})) == [
        "12,345 trades, 31/s  spool 0.0 MiB",
        "site  accepted  waiting    lag  breaker  publish",
        "aws     12,345        0  0.4 s  closed   12 ms",
        "gcp     12,345        0  0.4 s  closed   12 ms",
        "every site",
    ]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"problem": "no room"}, "\x1b[1;31mno room"),
        ({"spool_full": True}, "\x1b[1;31m FULL"),
        ({"source_state": {"summary": "0 of 1", "error": True}}, "\x1b[31m0 of 1"),
        ({"holes": [HOLE]}, "\x1b[33mhole"),
        ({"sites": {"aws": {**SITE, "refused": True, "error": "no"}}}, "\x1b[1;31mrefused"),
        ({"sites": {"aws": {**SITE, "breaker": "open"}}}, "\x1b[1;31mopen"),
        ({"sites": {"aws": {**SITE, "breaker": "half-open"}}}, "\x1b[33mhalf-open"),
        ({"sites": {"west": SITE}}, "\x1b[2mwest"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_trouble_stands_out(change: dict[str, Any], code: str) -> None:
    coloured = "\n".join(draw(panel({**STATE, **change}), color_system="standard"))
    assert code in coloured
    assert code not in "\n".join(draw(panel(STATE), color_system="standard"))


def test_markup_in_an_error_is_shown_as_it_is() -> None:
    state = {**STATE, "sites": {"aws": {**SITE, "error": "[/red] gone [bold]"}}}
    assert draw(panel(state))[2].endswith("[/red] gone [bold]")


def test_a_narrow_terminal_cuts_no_source_short() -> None:
    states = [(name, True, {**STATE, "source": name}) for name in SOURCES]
    console = Console(file=io.StringIO(), width=64)
    console.print(listing(states, AT))
    drawn = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert not any("…" in line for line in drawn)
    begin = drawn[0].index("source")
    said = "".join(line[begin : begin + 9].strip() for line in drawn[1:])
    assert said == "".join(SOURCES)


def test_a_list_of_all() -> None:
    left = {
        **STATE,
        "source": "simulate",
        "sites": {"aws": {**SITE, "waiting_trades": 2_500}, "gcp": SITE},
        "holes": [{**HOLE, "reason": "no answer"}],
    }
    states: list[tuple[str, bool, dict[str, Any]]] = [
        ("default", True, {**STATE, "at": AT + 7_300}),
        ("old", False, {**left, "ended": True}),
        ("cut", False, {**left, "sites": {}, "holes": []}),
        ("new", True, {}),
        ("never", False, {}),
    ]
    assert draw(listing(states, now=AT + 7_300)) == [
        "producer  state                 pid   source    trades  rate  waiting    holes",
        "default   running               4711  binance   12,345  31/s  nothing    none",
        "old       ended 2 h 01 min ago        simulate  12,345        aws 2,500  1 (1,200 trades)",
        "cut       died 2 h 01 min ago         simulate  12,345        nothing    none",
        "new       starting",
        "never     never ran",
        "old: hole: BTCUSDT 5 to 1204, 1,200 trades: no answer",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0.0 s ago"),
        (59, "59.0 s ago"),
        (60, "1 min 00 s ago"),
        (3_600, "1 h 00 min ago"),
        (200_000, "2 d 7 h ago"),
    ],
)
def test_the_time_since_the_end_is_shown(seconds: float, words: str) -> None:
    (_, line) = draw(listing([("default", False, {**STATE, "ended": True})], now=AT + seconds))
    assert f"ended {words} " in line


def test_a_silent_producer_shows_the_time_of_its_silence() -> None:
    (_, line) = draw(listing([("default", True, STATE)], now=AT + 59))
    assert line.startswith("default   running, silent for 59.0 s  4711")


def draw(shown: RenderableType, **console: Any) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=120, force_terminal=bool(console), **console).print(shown)
    return [line.rstrip() for line in out.getvalue().rstrip("\n").split("\n")]
