"""The document of ``mcloud verify -o json``, which programs read: its names never change."""

import json

from mcloud.documents import encode
from mcloud.market.archive import HOUR
from mcloud.market.ids import Ids
from mcloud.replication.hour_digest import ALL_TIME, HourWindow
from mcloud.replication.repair import MissingTrades, Repaired, RepairPlan
from mcloud.replication.verify_document import (
    RepairDocument,
    document,
    finding_documents,
    plan_document,
)
from mcloud.replication.verify_report import Finding, Tally, VerifyReport

START = 1_723_161_600_000
MISSING = Finding("missing", "BTCUSDT", "gcp", START, ((0, 39),), elsewhere=("aws",))
INCOMPLETE = Finding("incomplete", "BTCUSDT", "", START, ((40, 41), (45, 45)), why="lost")
DISPUTED = Finding(
    "disputed", "BTCUSDT", "", START, ((7, 7),), why="7 is", contents=("a", "b"), hours=(START,)
)
SITE = {
    "candles": 4,
    "trades": 90,
    "voids": 2,
    "equal": 3,
    "raw_objects": 3,
    "raw_bytes": 700,
    "raw_blocks": 1,
    "raw_pending": 2,
    "raw_pending_since": "2024-08-09T00:00:00Z",
    "raw_exporting": 0,
    "raw_exporting_since": None,
    "foreign_objects": 5,
    "missing": 0,
    "different": 0,
    "disputed": 1,
    "misplaced": 0,
    "wrong": 0,
    "orphaned": 0,
    "unarchived": 0,
    "incomplete": 1,
    "damaged": 0,
    "unmarked": 0,
    "misfiled": 0,
}
FOUND = [
    {
        "kind": "missing",
        "symbol": "BTCUSDT",
        "site": "gcp",
        "timestamp": "2024-08-09T00:00:00Z",
        "ids": [[0, 39]],
        "trades": 40,
        "object": None,
        "elsewhere": ["aws"],
        "why": "",
        "contents": [],
        "hours": [],
    },
    {
        "kind": "incomplete",
        "symbol": "BTCUSDT",
        "site": None,
        "timestamp": "2024-08-09T00:00:00Z",
        "ids": [[40, 41], [45, 45]],
        "trades": 3,
        "object": None,
        "elsewhere": [],
        "why": "lost",
        "contents": [],
        "hours": [],
    },
    {
        "kind": "disputed",
        "symbol": "BTCUSDT",
        "site": None,
        "timestamp": "2024-08-09T00:00:00Z",
        "ids": [[7, 7]],
        "trades": 1,
        "object": None,
        "elsewhere": [],
        "why": "7 is",
        "contents": ["a", "b"],
        "hours": ["2024-08-09T00:00:00Z"],
    },
]


def report(*findings: Finding, window: HourWindow = ALL_TIME) -> VerifyReport:
    tally = Tally(
        candles=4,
        objects=3,
        bytes=700,
        blocks=1,
        pending=2,
        pending_since=START,
        foreign=5,
        trades=90,
        voids=2,
    )
    sites = {"aws": tally, "gcp": Tally()}
    return VerifyReport(("candles", "raw"), window, True, ("BTCUSDT",), sites, findings)


def test_a_report_names_everything_it_found() -> None:
    found = encode(document(report(MISSING, INCOMPLETE, DISPUTED)))
    gcp = found["sites"].pop("gcp")
    # The text also has the order of the fields.
    assert json.dumps(found) == json.dumps(
        {
            "ok": False,
            "what": ["candles", "raw"],
            "deep": True,
            "start": None,
            "end": None,
            "symbols": ["BTCUSDT"],
            "sites": {"aws": SITE},
            "findings": FOUND,
        }
    )
    assert (gcp["missing"], gcp["raw_pending_since"]) == (1, None)


def test_a_window_has_its_ends() -> None:
    found = encode(document(report(window=HourWindow(START, START + HOUR))))
    assert found["ok"]
    assert (found["start"], found["end"]) == ("2024-08-09T00:00:00Z", "2024-08-09T01:00:00Z")


def test_a_repair_has_its_plan_and_its_outcome() -> None:
    plan = RepairPlan(
        merge=[MISSING],
        fetch=[MissingTrades("BTCUSDT", Ids([(40, 41), (45, 45)]), ("aws", "gcp"), START)],
        fold=[MISSING],
        # Two steps that rewrite one candle count once.
        settle=[DISPUTED],
        rebuild=[DISPUTED],
        beyond=["resolve it"],
    )
    planned = {
        "exchange": "binance",
        "exchange_s": 0.5,
        "plan": {
            "candles_to_merge": 1,
            "candles_to_rewrite": 1,
            "candles_to_write_again": 0,
            "objects_to_copy": 0,
            "bytes_to_copy": 0,
            "objects_to_replace": 0,
            "objects_to_move": 0,
            "trades_to_fold": 40,
            "trades_to_fetch": 3,
            "exchange_requests": 2,
            "beyond_repair": ["resolve it"],
        },
    }
    only_planned = RepairDocument("binance", 0.5, plan_document(plan))
    found = encode(document(report(), only_planned))["repair"]
    assert json.dumps(found) == json.dumps({**planned, "done": None})
    repaired = RepairDocument(
        "binance",
        0.5,
        plan_document(plan),
        Repaired(merged=1, fetched=3, problems=["no"]),
        finding_documents([MISSING]),
    )
    found = encode(document(report(), repaired))["repair"]
    done = {
        "merged": 1,
        "rewritten": 0,
        "copied": 0,
        "bytes": 0,
        "replaced": 0,
        "moved": 0,
        "folded": 0,
        "fetched": 3,
        "problems": ["no"],
    }
    assert json.dumps(found) == json.dumps({**planned, "done": done, "found": FOUND[:1]})
