"""The replicators' screens, character by character."""

import io
from typing import Any

from rich.console import Console, RenderableType
from states import REPLICATOR, read

from mcloud.drawing.ps import listing as everything
from mcloud.drawing.replicate import copied, listing, panel
from mcloud.replication.progress import PairProgress, ReplicatorState
from mcloud.run_states import Runs
from mcloud.runs import Running

AT = 1_723_161_300.0
PAIR = {
    "source": "aws",
    "target": "gcp",
    "phase": "following",
    "seen": 40,
    "written": 1_234,
    "objects": 56,
    "bytes": 78_901,
    "candles_s": 0.42,
    "candles": 0,
    "raw_s": 8.1,
    "raw": 2,
    "trimmed": 0,
    "disagreements": [],
    "damaged": [],
    "error": "",
}
BACK = {**PAIR, "source": "gcp", "target": "aws", "phase": "comparing", "written": 0, "objects": 0,
        "bytes": 0, "candles_s": None, "raw_s": None, "raw": 0, "candles": 7}  # fmt: skip
STATE: dict[str, Any] = {
    **REPLICATOR,
    "name": "replicator",
    "pid": 4711,
    "at": AT,
    "pairs": [PAIR, BACK],
}


def test_the_panel_of_a_replicator_without_problems() -> None:
    assert draw(panel(read(ReplicatorState, STATE).pairs)) == [
        "pair                  candles              behind  raw objects          behind",
        "aws → gcp  following    1,234               0.4 s           56  8.1 s, 2 hours",
        "gcp → aws  comparing        0  unknown, 7 candles            0         unknown",
    ]


def test_a_replicator_with_problems_names_them() -> None:
    trouble = {
        **PAIR,
        "error": "S3 is down",
        "trimmed": 1,
        "disagreements": ["BTCUSDT 5: kept 5:1,2, refused 5:1,3"],
        "damaged": [f"raw/{number}" for number in range(7)],
    }
    assert draw(panel([read(PairProgress, trouble)]))[2:] == [
        "aws → gcp: S3 is down",
        "aws → gcp: was away for too long, and compared everything again",
        "aws → gcp: disagreement: BTCUSDT 5: kept 5:1,2, refused 5:1,3",
        *[f"aws → gcp: damaged: raw/{number}" for number in range(5)],
        "aws → gcp: … and 2 more damaged",
    ]


def test_the_list_shows_no_lag_of_one_that_has_ended() -> None:
    states: list[tuple[str, bool, dict[str, Any]]] = [
        ("night", False, {**STATE, "pairs": [PAIR], "ended": True}),
        ("replicator", True, {**STATE, "at": AT + 90}),
        ("fresh", True, {}),
        ("none", False, {}),
    ]
    rest = "1,234 candles, 56 objects"
    assert draw(listing([run(*each) for each in states], AT + 90)) == [
        "replicator  state                 pid   pair       candles             raw trades"
        "      copied",
        "night       ended 1 min 30 s ago        aws → gcp                               "
        f"       {rest}",
        "replicator  running               4711  aws → gcp  0.4 s               8.1 s, 2 hours"
        f"  {rest}",
        "                                        gcp → aws  unknown, 7 candles  unknown"
        "         0 candles, 0 objects",
        "fresh       starting",
        "none        never ran",
    ]


def test_the_result_of_a_pass_is_drawn() -> None:
    assert draw(
        copied([read(PairProgress, each) for each in (PAIR, {**BACK, "damaged": ["raw/1"]})])
    ) == [
        "pair       candles  raw objects   bytes  disagreements  damaged",
        "aws → gcp    1,234           56  78,901              0        0",
        "gcp → aws        0            0       0              0        1",
        "gcp → aws: damaged: raw/1",
    ]


def test_everything_that_runs_is_listed_by_kind() -> None:
    assert draw(everything(Runs((Running("a", True),), (Running("b", True),)))) == [
        "producer  state     pid  source  trades  rate  waiting  holes",
        "a         starting",
        "",
        "replicator  state     pid  pair  candles  raw trades  copied",
        "b           starting",
    ]


def run(name: str, runs: bool, state: dict[str, Any]) -> Running[ReplicatorState]:
    return Running(name, runs, read(ReplicatorState, state) if state else None)


def draw(renderable: RenderableType) -> list[str]:
    file = io.StringIO()
    options: dict[str, Any] = {"width": 200, "highlight": False, "legacy_windows": False}
    Console(file=file, **options).print(renderable)
    return [line.rstrip() for line in file.getvalue().splitlines()]
