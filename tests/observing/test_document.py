"""The paths in the document that programs and alert rules read do not change."""

import json
import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from states import GUARD, PRODUCER, guard, producer

from mcloud.clouds.ports import SERVICES, Depth, Figure, Lag
from mcloud.cost.current import CostFigure
from mcloud.documents import encode
from mcloud.errors import Unavailable
from mcloud.observing.document import document
from mcloud.observing.machine import Machine
from mcloud.observing.queries import Costing
from mcloud.observing.snapshot import Snapshot, collect
from mcloud.runs import Running
from observing.sites import AT, FIGURES, FakeSite
from observing.test_snapshot import METHODS

NOTHING = Figure(None, AT)
PAUSE = {"paused": False, "by": "me", "why": "", "at": AT, "written": 1}


def whole() -> dict[str, Any]:
    """A document that has every part."""
    kept = {"guard": {"pause": PAUSE}, "debt": {"gcp": {"epoch": "4"}}}
    lag = Lag("gcp", "aws", "all", 1.5, 3, None, 2, AT)
    cost = CostFigure(
        Decimal("1.25"), None, Decimal(4), None, AT, "metered", {"aws": Decimal("1.25")}
    )
    made = Running("default", True, producer(at=AT))
    watching = Running("guard", True, guard(at=AT))
    snapshot = collect(
        {"aws": FakeSite(lags=[lag], kept=kept.get)},
        lambda: Machine(producers=(made,), guards=(watching,)),
        Costing(lambda: cost),
    )
    return told_of(replace(snapshot, at=AT + 1))


def told_of(snapshot: Snapshot) -> dict[str, Any]:
    found: dict[str, Any] = encode(document(snapshot))
    return found


def test_the_page_on_documents_lists_these_paths() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/reference/json.md").read_text("utf-8")
    _, _, section = page.partition("## Status and monitor")
    rows = re.findall(r"^\| (`.*?) \| (.*?) \|$", section.partition("\n## ")[0], re.MULTILINE)
    told = whole()
    places = {"SITE": "aws", "SERVICE": "queue", "SYMBOL": "BTCUSDT", "PART": "queue"}
    listed: set[str] = set()
    for paths, description in rows:
        for path in re.findall("`(.*?)`", paths):
            listed.add(path.split(".")[0])
            value: Any = told
            for part in path.split("."):
                value = value[places.get(part, part)]
            if isinstance(value, dict):
                named = set(re.findall(r"`([a-z_0-9]+)`", description))
                assert (path, named - value.keys() - {*SERVICES}) == (path, set())
    assert listed == told.keys()


def test_the_document_is_json_with_the_documented_paths() -> None:
    told = whole()
    assert json.loads(json.dumps(told)) == told
    assert set(told) == {
        *("at", "up", "wrong", "primary", "epoch", "control", "sites", "producers"),
        *("disk", "replicators", "guards", "alerts", "silences", "cost", "upkeep_usd_a_month"),
    }
    assert (told["primary"], told["epoch"]) == ("aws", 3)
    assert told["producers"] == [{**PRODUCER, "running": True, "at": AT, "stalled": []}]
    assert told["guards"] == [{"name": "guard", "running": True, **GUARD, "at": AT}]
    site = told["sites"]["aws"]
    assert (site["cloud"], site["up"], site["holes"]) == ("aws", True, 0)
    assert site["last_candle"] == {
        "symbol": "BTCUSDT",
        "timestamp": "2024-08-08T23:54:00Z",
        "close": "61837.5",
        "trade_count": 1,
        "last_id": 7,
    }
    assert site["candles"]["BTCUSDT"] == {"last": site["last_candle"], "missing": 0, "holes": []}
    assert site["heartbeats"]["ETHUSDT"] == {
        "symbol": "ETHUSDT",
        "last_trade_time": 1_723_161_200_000,
        "trades": 6106,
        "messages": 13,
        "at": AT,
    }
    assert site["queue"] == {
        "ready": 12,
        "in_flight": 3,
        "as_of": AT,
        "oldest_age_s": 7.0,
        "oldest_age_as_of": AT,
    }
    assert site["dead_letters"] == {"ready": 0, "in_flight": 0, "as_of": AT}
    assert site["function"] == {
        "count": 240,
        "errors": 0,
        "throttles": 0,
        "p95_s": 0.12,
        "window": 900.0,
        "as_of": AT,
        "p95_as_of": AT,
    }
    assert site["store"]["writes"] == 1234.0
    assert site["replication"][0]["candles_s"] == 1.5
    assert site["guard"] == {"pause": PAUSE}
    assert site["damaged"] == {
        "count": 1,
        "documents": [
            "the debt gcp is damaged: at is missing; `mcloud documents repair` repairs it"
        ],
    }
    assert site["cost"] == {"month_to_date_usd": 1.25, "per_hour_usd": None, "as_of": AT}
    assert told["cost"] == {
        "month_to_date_usd": 1.25,
        "per_hour_usd": None,
        "expected_usd": 4.0,
        "budget_usd": None,
        "by_site": {"aws": 1.25},
        "as_of": AT,
        "source": "metered",
    }
    assert site["services"]["queue"]["up"] is True
    assert site["services"]["queue"]["latency_s"] is not None


def test_a_failed_query_is_unknown_with_its_reason() -> None:
    error = Unavailable("it is down")
    told = told_of(collect({"aws": FakeSite("aws", **dict.fromkeys(METHODS, error))}))
    assert (told["up"], told["primary"], told["epoch"]) == (False, None, None)
    site = told["sites"]["aws"]
    unknown = {"unknown": "it is down"}
    for figure in (
        *("dead_letters", "function", "store", "heartbeats", "replication", "last_candle"),
        *("candles", "control", "guard", "debts", "compaction"),
    ):
        assert site[figure] == unknown
    assert site["queue"] == {
        **unknown,
        "oldest_age_s": None,
        "oldest_age_as_of": None,
        "unknown_why": {"oldest_age_s": "it is down"},
    }
    assert site["unknown_why"] == {"holes": "it is down"}
    assert site["holes"] is None
    assert site["cost"] == told["cost"] == {"unknown": "no figure"}
    assert site["services"] == {
        service: {"up": False, "reason": "it is down", "latency_s": None} for service in SERVICES
    }
    assert site["asked"]["depth"] == {"at": None, "problem": "it is down"}


def test_figures_that_the_metrics_do_not_have_are_null() -> None:
    nothing = replace(FIGURES, measured=dict.fromkeys(FIGURES.measured, NOTHING))
    lag = Lag("gcp", "aws", "all", None, 0, 1.0, 0, AT)
    for cloud, service in (("aws", "CloudWatch"), ("gcp", "Cloud Monitoring")):
        fake = FakeSite(cloud, depth=Depth(None, None, AT), figures=nothing, lags=[lag])
        site = told_of(replace(collect({"aws": fake}), at=AT))["sites"]["aws"]
        assert site["queue"]["ready"] is site["queue"]["oldest_age_s"] is None
        why = site["function"]["unknown_why"]
        assert [site["function"][key] for key in why] == [None] * 4
        assert list(why) == ["count", "errors", "throttles", "p95_s"]
        assert why["errors"] == f"{service} has no value yet"
        assert site["queue"]["unknown_why"]["oldest_age_s"] == why["errors"]
        assert list(site["replication"][0]["unknown_why"]) == ["candles_s"]
        assert why["throttles"] == why["errors"]


def test_an_old_report_of_a_replicator_says_nothing_about_the_lag() -> None:
    lag = Lag("gcp", "aws", "all", 0.0, 0, 0.0, 0, AT)
    snapshot = replace(collect({"aws": FakeSite(lags=[lag])}), at=AT + 54 * 60)
    (found,) = told_of(snapshot)["sites"]["aws"]["replication"]
    assert (found["candles_s"], found["raw_s"], found["at"]) == (None, None, AT)
    why = "its replicator last reported 54 min ago"
    assert found["unknown_why"] == {"candles_s": why, "raw_s": why}


def test_a_site_without_trades_has_a_null_last_candle() -> None:
    site = told_of(collect({"aws": FakeSite(heartbeats=[])}))["sites"]["aws"]
    assert site["last_candle"] is None
    assert site["candles"] == {}


def test_a_document_without_sites() -> None:
    told = told_of(collect({}))
    assert (told["sites"], told["up"], told["wrong"]) == ({}, True, [])


def test_the_last_compaction_and_what_it_could_not_compact() -> None:
    last = {
        "at": AT,
        "seconds": 12.0,
        "objects": 700,
        "blocks": 3,
        "trades": 9_000,
        "pending": 5,
        "problems": 2,
        "named": ["a is damaged", "b is damaged"],
        "next_symbol": "BTCUSDT",
        "staged": 24,
        "staged_since": AT - 7_200,
        "full_at": AT - 3_600,
    }

    def kept(kind: str) -> dict[str, Any]:
        return {"last": last} if kind == "compaction" else {}

    told = told_of(collect({"aws": FakeSite("aws", kept=kept), "gcp": FakeSite("gcp")}))
    assert told["sites"]["aws"]["compaction"] == last
    assert told["sites"]["gcp"]["compaction"] is None
    assert [each for each in told["wrong"] if "compact" in each] == [
        "aws: the compaction function could not compact 2 objects: a is damaged"
    ]
