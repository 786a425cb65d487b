"""The cost of observing, counted by hand and by the calls that are made."""

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from mcloud.alerts.rules import AlertSettings
from mcloud.clouds.aws.metrics import METRICS
from mcloud.clouds.aws.usage import CloudWatchUsage
from mcloud.clouds.gcp.usage import MonitoringUsage
from mcloud.clouds.ports import SERVICES
from mcloud.clouds.resources import AwsResources, GcpResources
from mcloud.cost.calls import price, units
from mcloud.cost.prices import PRICES
from mcloud.observing import upkeep
from mcloud.observing.queries import COST, FAST, Costing, queries_of
from mcloud.observing.watch import SnapshotWatch
from observing.sites import FakeSite

HOUR = 3600.0


def test_the_price_of_one_query_is_units_times_list_price() -> None:
    # 7 metrics at $0.01 per thousand, and for two symbols one query of each and one of candles.
    assert METRICS == 7
    assert price("aws", upkeep.asked("aws", "figures", 2, 0)) == Decimal("0.00007")
    assert upkeep.asked("aws", "recent", 2, 0) == {"dynamodb_reads": 2}
    assert upkeep.asked("aws", "beats", 81, 0) == {"dynamodb_reads": 1}
    assert upkeep.asked("aws", "beats", 82, 0) == {"dynamodb_reads": Decimal("1.5")}
    assert upkeep.asked("gcp", "beats", 400, 0) == {"firestore_reads": 4}
    assert upkeep.asked("gcp", "beats", 3, 0) == {"firestore_reads": 3}
    assert upkeep.asked("gcp", "beats", 0, 0) == {"firestore_reads": 1}
    assert price("gcp", {"firestore_reads": Decimal(100_000)}) == Decimal("0.03")


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_every_part_is_known_and_every_meter_has_a_price(cloud: str) -> None:
    free = {"aws": {"candles"}, "gcp": {"queue", "depth", "dead"}}[cloud] | {"function", "code"}
    for part in (*queries_of(FakeSite(cloud)), "cost"):  # type: ignore[arg-type]
        asked = upkeep.asked(cloud, part, 2, 1)
        assert (asked == {}) == (part in free), part
        assert all((cloud, meter) in PRICES for meter in asked)
    assert set(SERVICES) <= set(queries_of(FakeSite(cloud)))  # type: ignore[arg-type]


NO_BILL: Any = Costing(lambda: None)  # type: ignore[arg-type,return-value]


def watched(
    hours: float, interval: float = FAST, step: float = 1.0, costing: Costing | None = NO_BILL
) -> tuple[SnapshotWatch, Counter[tuple[str, str]]]:
    """Observe two sites for some time with a test clock, and count the calls to each site."""
    now = 0.0
    calls: Counter[tuple[str, str]] = Counter()

    class Counted(FakeSite):
        def _answer(self, method: str, *arguments: Any) -> Any:
            calls[self.name, method] += 1
            return super()._answer(method, *arguments)

    sites: Any = {"aws": Counted("aws"), "gcp": Counted("gcp")}
    watch = SnapshotWatch(
        sites,
        None,
        costing,
        interval=interval,
        wall=lambda: now,
        clock=lambda: now,
        spawn=lambda call: call(),
    )
    while now < hours * HOUR:
        watch.tick()
        now += step
    return watch, calls


def test_an_open_dashboard_costs_less_than_two_dollars_a_month() -> None:
    # A number of hours at whose end every interval ends.
    hours = COST / 600
    watch, calls = watched(hours)
    spent = sum(
        price(cloud, upkeep.asked(cloud, part, symbols=2, lags=0)) * count
        for (site, part), count in watch.asked().items()
        for cloud in ([site] if site else ["aws", "gcp"])
    )
    a_month = spent * Decimal(720 / hours)
    assert a_month < 2
    said = f"on two sites and two symbols costs ${a_month:.2f} a month at list prices"
    assert said in text_of("monitor")
    # The reported queries are those that are made. The first query of each part comes at once.
    told = watch.snapshot().upkeep
    assert told is not None
    assert float(told) == pytest.approx(float(a_month), rel=0.001)
    # The queries are also those that reach the sites, counted there.
    seconds = hours * HOUR
    assert calls["aws", "depth"] == seconds / FAST
    assert ("gcp", "depth") not in calls  # its depth comes with the metrics
    assert calls["aws", "figures"] == seconds / 300
    assert calls["gcp", "figures"] == seconds / 60
    # The probe of the queue is free of charge there, and nothing else tells of it quickly.
    assert calls["gcp", "check"] == 3 * seconds / 60 + seconds / FAST
    assert calls["gcp", "range"] == 2 * seconds / 60
    assert watch.asked()["", "cost"] == seconds / COST


def test_the_guide_says_what_a_watcher_of_alerts_costs() -> None:
    """A watcher makes its fast queries once per check."""
    checks, interval = 600, AlertSettings().interval
    watch, _ = watched(checks * interval / HOUR, step=interval, costing=None)
    spent = sum(
        price(site, upkeep.asked(site, part, symbols=2, lags=0)) * count
        for (site, part), count in watch.asked().items()
    )
    # Each check also reads the anomalies and the silences of both sites.
    spent += 2 * checks * sum(price(cloud, units(cloud, "kept")) for cloud in ("aws", "gcp"))
    month = Decimal(upkeep.MONTH)
    a_month = spent * month / Decimal(checks * interval)
    budget = sum(price(cloud, upkeep.asked(cloud, "cost", 2, 0)) for cloud in ("aws", "gcp"))
    cents = 100 * budget * month / Decimal(COST)
    said = f"about ${a_month:.2f} a month at list price, and {cents:.0f} cents more with a budget"
    assert said in text_of("alerts")


def text_of(page: str) -> str:
    """The text of a page of the guide, on one line."""
    guide = Path(__file__).resolve().parents[2] / "docs" / "guide"
    return " ".join((guide / f"{page}.md").read_text().split())


def test_the_interval_of_a_dashboard_does_not_speed_up_billed_queries() -> None:
    usual, slow, fast = (
        watched(hours=0.1, interval=seconds)[0].snapshot().upkeep for seconds in (FAST, 60, 1)
    )
    assert slow is not None
    assert usual is not None
    assert fast is not None
    assert slow < usual / 2
    assert fast > usual
    _, calls = watched(hours=1, interval=1)
    assert calls["aws", "figures"] == 12


def test_on_embedded_clouds_the_meters_are_a_file_and_cost_nothing() -> None:
    def told(costing: Costing | None) -> Decimal:
        sites: Any = {"aws": FakeSite()}
        upkeep_ = SnapshotWatch(sites, None, costing).snapshot().upkeep
        assert upkeep_ is not None
        return upkeep_

    figure: Any = None
    embedded = Costing(lambda: figure, 10.0, is_billed=False)
    assert told(embedded) == told(None) < told(Costing(lambda: figure))


def test_the_cost_of_the_cost_query_covers_its_requests() -> None:
    nothing: Any = None
    to = AwsResources("us-east-1", "https://sqs/1/q", "https://sqs/1/d", "c", "k", "b", "f")
    amazon = CloudWatchUsage(nothing, nothing, nothing, nothing, to)
    assert len(amazon._series("label")) <= upkeep.USAGE["aws"]
    google = MonitoringUsage(
        nothing, GcpResources(**dict.fromkeys(GcpResources.__dataclass_fields__, "x"))
    )
    # Whole days, and the current one.
    assert 2 * len(google._queries()) <= upkeep.USAGE["gcp"]
