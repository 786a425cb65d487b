"""The outputs that the pages show, drawn from example data by the code that draws the real ones."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal

from cost.usages import MONTH, at, daily, usage
from drawing.test_monitor import AWS, GCP, snapshot
from observing.sites import AT
from rich.console import Console, Group, RenderableType
from states import GUARD, read
from states import guard as guard_state

from mcloud.clouds.observation import Observation
from mcloud.clouds.ports import SERVICES, ControlRecord, Depth
from mcloud.cost.report import make_report
from mcloud.cost.run import RunCost
from mcloud.drawing import demo, trace
from mcloud.drawing.cost import report_view
from mcloud.drawing.monitor import MonitorView, screen
from mcloud.drawing.status import status
from mcloud.observing.machine import Machine
from mcloud.rehearsal.demo import Proof, SiteProof
from mcloud.rehearsal.drill_report import DrillReport, SiteResult
from mcloud.runs import Running
from mcloud.trace.find import TraceReport

WIDTH = 112  # columns of a block on a page


def demo_result() -> RenderableType:
    proven = SiteProof(
        candles=6,
        digest="1cb0c50516293514",
        exact=True,
        archived=12_000,
        archive_complete=True,
        dead_letters=3,
        only_poison=True,
    )
    outage = DrillReport("hang", "a site accepts and answers nothing", "aws", True)
    outage.moves, outage.rto_s, outage.trades, outage.rpo_ids_missing = 1, 6.1, 20_497, 0
    outage.sites = {name: SiteResult(10, True, 20_497) for name in ("aws", "gcp")}
    return demo.table(
        Proof(12_000, 6, "1cb0c50516293514", 3, {"aws": proven, "gcp": proven}),
        outage,
        {
            "aws": RunCost(Decimal("0.0018"), Decimal("0.0017")),
            "gcp": RunCost(Decimal("0.0025"), Decimal(0)),
        },
    )


def cost_report() -> RenderableType:
    """Draw the part of a report before its first blank line."""
    whole, half = [233_000] * 15, [120_000]
    usages = (
        usage(
            "aws",
            {},
            trades={"BTCUSDT": 4_000_000},
            more=(daily("sqs_requests", whole + half), daily("dynamodb_writes", whole + half)),
        ),
        usage(
            "gcp",
            {},
            trades={"BTCUSDT": 4_000_000},
            more=(
                daily("pubsub_bytes", [each * 37_000 for each in whole + half]),
                daily("function_requests", whole + half),
            ),
        ),
    )
    report = make_report(usages, MONTH, at("2026-11-16T12:00"))
    lines = text(report_view(report, compare=False, details=False))
    return lines.partition("\n\n")[0]


def dashboard() -> RenderableType:
    return Group(*screen(snapshot(AWS, GCP), MonitorView(80, 24, 5.0, "local")))


def outage() -> RenderableType:
    """Draw the status while aws is out and a guard has moved the traffic to gcp."""
    seen = snapshot(
        replace(AWS, health=dict.fromkeys(SERVICES, Observation(problem="no answer in 2 s"))),
        replace(
            AWS,
            name="gcp",
            cloud="gcp",
            dead_letters=Observation(Depth(2, None, AT), AT),
            record=Observation(
                ControlRecord(4, "gcp", "automatic", "aws is down", "guard, ann@host", AT - 75), AT
            ),
        ),
    )
    down = {**GUARD["sites"]["aws"], "verdict": "down", "bad_s": 83.0}
    guard = Running("guard", True, guard_state(at=AT, sites={"aws": down}))
    return status(replace(seen, machine=Observation(Machine(guards=(guard,)), AT)))


def traced() -> RenderableType:
    """Draw what the command printed on the embedded clouds, for a trade of the local exchange."""
    folder = "raw/symbol=BTCUSDT/date=2026-11-30/hour=16"
    shared = (
        ("exchange", "42.490", None, "trade"),
        ("received", "42.498", 8, "producer default, the first of its message"),
        ("spooled", "43.516", 1_018, "producer default"),
    )
    seen = {
        "aws": (
            "2085383994-2085384048-4a9c1b3c4ee2d4c6",
            ("sent", "44.364", 848, "producer default"),
            ("processed", "44.378", 14, "the function's log"),
            ("stored", "44.391", 13, "the function's log"),
            ("archived", "45.413", 1_022, "date of the object"),
        ),
        "gcp": (
            "2085383994-2085384059-1796a6e470c2746e",
            ("sent", "44.367", 851, "producer default"),
            ("processed", "44.372", 5, "the function's log"),
            ("stored", "44.378", 6, "the function's log"),
            ("archived", "45.371", 993, "date of the object"),
        ),
    }
    report = {
        "symbol": "BTCUSDT",
        "id": 2085384023,
        "found": True,
        "trade": {
            "price": "61862.16",
            "quantity": "0.00682",
            "time": "2026-11-30T16:41:42.490Z",
            "buyer_is_maker": False,
        },
        "trace": {
            "trace_id": "6b0da747fbe8b180b4c12f15ee6be9e6",
            "xray_trace_id": "1-6b0da747-fbe8b180b4c12f15ee6be9e6",
            "span_id": "554c6e43d87d23e5",
            "sampled": False,
        },
        "messages": [
            {
                "producer": "default",
                "first_id": 2085384020,
                "last_id": 2085384048,
                "trades": 29,
            }
        ],
        "sites": {
            name: {
                "candle": "2026-11-30T16:41:00Z",
                "object": f"{folder}/{key}.jsonl.gz",
                "stages": [
                    {
                        "stage": stage,
                        "time": f"2026-11-30T16:41:{time}Z",
                        "after_ms": after,
                        "source": source,
                    }
                    for stage, time, after, source in (*shared, *stages)
                ],
            }
            for name, (key, *stages) in seen.items()
        },
        "looked": [],
    }
    return trace.view(read(TraceReport, report))


PICTURES: Mapping[str, Callable[[], RenderableType]] = {
    "demo": demo_result,
    "cost": cost_report,
    "monitor": dashboard,
    "status": outage,
    "trace": traced,
}
"""Pictures by name; a text block with this title shows one."""


def text(drawn: RenderableType) -> str:
    console = Console(width=WIDTH, color_system=None)
    with console.capture() as captured:
        console.print(drawn)
    lines = [line.rstrip() for line in captured.get().splitlines()]
    return "\n".join(lines).strip("\n") + "\n"
