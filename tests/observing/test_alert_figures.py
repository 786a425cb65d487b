"""The figures of the alert rules come from the snapshot, under the paths of its document."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from alerts.trees import one, values
from states import guard, producer, replicator

from mcloud.alerts.figures import AlertFigure, AlertFigures
from mcloud.clouds.ports import Figure, Heartbeat, Lag
from mcloud.cost.current import CostFigure
from mcloud.documents import Damaged
from mcloud.errors import Unavailable
from mcloud.observing.alert_figures import Anomalies, alert_figures
from mcloud.observing.document import CostPart, Unknown, cost_part
from mcloud.observing.machine import Machine
from mcloud.observing.replicated import FORGOTTEN
from mcloud.observing.snapshot import collect
from mcloud.runs import Running
from observing.sites import FIGURES, FakeSite

NOW = 1_800_000_000.0
AWAY = Unavailable("away")


def figures(
    *sites: FakeSite,
    anomalies: Anomalies | Unknown = {},  # noqa: B006
    cost: CostPart | Unknown | None = None,
    budgets: dict[str, float] = {},  # noqa: B006
    **runs: tuple[Running[Any], ...],
) -> AlertFigures:
    snapshot = collect({site.name: site for site in sites}, lambda: Machine(**runs))  # type: ignore[misc, arg-type]
    return alert_figures(replace(snapshot, at=NOW), anomalies, cost, budgets)


def beats(**at: float) -> list[Heartbeat]:
    return [Heartbeat(symbol, 0, 7, 1, each) for symbol, each in at.items()]


def test_paths_of_the_document_are_figures() -> None:
    found = figures(FakeSite(), replicators=(Running("r", True, replicator(at=NOW - 3)),))
    assert values(found, "sites.*.queue.ready") == {"sites.aws.queue.ready": 12}
    assert values(found, "epoch") == {"epoch": 3}
    assert values(found, "disk.writable") == {"disk.writable": 1}
    written = one(found, "replicators.r.pairs.aws.written")
    assert (written.value, written.at) == (1, NOW - 3)


def test_every_path_is_found_by_its_name() -> None:
    running = Running("default", True, producer())
    found = figures(FakeSite(), FakeSite("gcp", queue=AWAY), producers=(running,))
    names = found.names()
    assert len(names) > 100
    for name in names:
        (each,) = found.find(name)
        assert (each.path, each.figure is None) == (name, False)


def test_an_old_lag_is_dropped() -> None:
    def lag(source: str, age: float) -> Lag:
        return Lag(source, "aws", "all", 1.5, 0, None, 0, NOW - age)

    site = FakeSite(lags=[lag("old", FORGOTTEN), lag("gcp", FORGOTTEN - 1)])
    found = one(figures(site), "sites.*.replication.*.candles_s")
    assert (found.value, found.why) == (None, "its replicator last reported 23 h ago")
    site = FakeSite(lags=[lag("gcp", 100)])
    assert values(figures(site), "sites.*.replication.*.candles_s") == {
        "sites.aws.replication.gcp.candles_s": 1.5
    }


def test_a_service_that_is_down_has_its_reason() -> None:
    def check(service: str) -> None:
        if service in ("queue", "candles"):
            raise Unavailable(f"no {service}")

    found = figures(FakeSite(check=check))
    assert one(found, "sites.aws.services.queue.up") == AlertFigure(0, NOW, "no queue")
    assert one(found, "sites.aws.services.archive.up") == AlertFigure(1, NOW)
    assert one(found, "sites.aws.up") == AlertFigure(0, NOW, "queue: no queue\ncandles: no candles")
    assert one(figures(FakeSite()), "sites.aws.up") == AlertFigure(1, NOW)


def test_services_that_are_down_for_the_same_reason_share_it() -> None:
    def check(*without: str) -> Callable[[str], None]:
        def checked(service: str) -> None:
            if service not in without:
                raise Unavailable(f"the {service}: gone")

        return checked

    found = one(figures(FakeSite(check=check())), "sites.aws.up")
    assert found == AlertFigure(0, NOW, "everything: gone")
    found = one(figures(FakeSite(check=check("queue"))), "sites.aws.up")
    assert found == AlertFigure(0, NOW, "function, candles, archive: gone")


def test_a_symbol_without_trades_at_any_site_is_silent() -> None:
    aws = FakeSite(heartbeats=beats(BTC=NOW - 500, OLD=NOW - FORGOTTEN))
    gcp = FakeSite("gcp", heartbeats=beats(BTC=NOW - 20, ETH=NOW - 900))
    assert values(figures(aws, gcp), "symbols.*.silent_s") == {
        "symbols.BTC.silent_s": 20,
        "symbols.ETH.silent_s": 900,
    }


def test_a_replay_that_has_ended_is_no_silence() -> None:
    site = FakeSite(heartbeats=beats(BTCUSDT=NOW - 900, ETHUSDT=NOW - 900))

    def silent(*runs: Running[Any]) -> list[str]:
        found = figures(site, producers=runs).find("symbols.*.silent_s")
        return [each.names[0] for each in found if not each.is_over]

    def replayed(*, runs: bool = False, **state: Any) -> Running[Any]:
        usual = {"live": False, "ended": True, "symbols": ["BTCUSDT"], "at": NOW - 905}
        return Running("default", runs, producer(**{**usual, **state}))

    both = ["BTCUSDT", "ETHUSDT"]
    assert silent() == both
    assert silent(replayed()) == ["ETHUSDT"]
    # One that was killed, one that still runs, a live one, and trades from somewhere else since.
    assert silent(replayed(ended=False)) == silent(replayed(runs=True)) == both
    assert silent(replayed(live=True)) == silent(replayed(at=NOW - 2000)) == both
    assert silent(replayed(), replayed(live=True)) == both
    # The same producer has read something else since.
    again = {"symbols": ["ETHUSDT"], "replayed": {"BTCUSDT": NOW - 905}, "at": NOW}
    assert silent(replayed(**again, runs=True)) == both[1:]
    assert silent(replayed(**again)) == []
    assert silent(replayed(**{**again, "symbols": ["BTCUSDT"]}, runs=True)) == both
    # The symbol has traded since the recording ended.
    assert silent(replayed(**{**again, "replayed": {"BTCUSDT": NOW - 2000}}, runs=True)) == both


def test_a_site_without_an_answer_may_have_had_a_trade() -> None:
    aws, away = FakeSite(heartbeats=beats(BTC=NOW - 20, ETH=NOW - 900)), "heartbeats of gcp: away"
    gcp = FakeSite("gcp", heartbeats=AWAY)
    assert values(figures(aws, gcp), "symbols.*.silent_s") == {
        "symbols.BTC.silent_s": 20,
        "symbols.ETH.silent_s": away,
    }
    assert values(figures(gcp), "symbols.*.silent_s") == {"symbols.*.silent_s": away}


def test_a_site_with_a_damaged_heartbeat_may_have_had_a_trade() -> None:
    broken = [Damaged("at is missing", f"the heartbeat {symbol}") for symbol in ("ETH", "XRP")]
    aws = FakeSite(heartbeats=beats(ETH=NOW - 900))
    found = values(figures(aws, FakeSite("gcp", heartbeats=broken)), "symbols.*.silent_s")
    assert found == {
        "symbols.ETH.silent_s": f"heartbeats of gcp: {broken[0]}",
        "symbols.XRP.silent_s": f"heartbeats of gcp: {broken[1]}",
    }


def test_the_last_answer_of_an_unavailable_site_does_not_count() -> None:
    snapshot = collect({"aws": FakeSite(heartbeats=beats(BTC=NOW - 505))})  # type: ignore[dict-item]
    site = snapshot.sites["aws"]
    site = replace(site, heartbeats=replace(site.heartbeats, problem="away"))
    found = alert_figures(replace(snapshot, at=NOW, sites={"aws": site}), {}, None, {})
    assert values(found, "symbols.*.silent_s") == {"symbols.*.silent_s": "heartbeats of aws: away"}


@pytest.mark.parametrize(("ahead", "known"), [(-30.0, True), (30.0, True), (7200.0, False)])
def test_a_heartbeat_ahead_of_the_clock_does_not_count(ahead: float, known: bool) -> None:
    silent = one(figures(FakeSite(heartbeats=beats(BTC=NOW + ahead))), "symbols.BTC.silent_s")
    assert (silent.value is not None) == known
    if not known:
        assert "7200 s ahead of this machine's clock" in silent.why


def test_anomalies_of_a_symbol() -> None:
    site = FakeSite(heartbeats=beats(BTC=NOW - 20, ETH=NOW))
    found = figures(site, anomalies={"BTC": ["newest", "older"]})
    assert values(found, "symbols.*.anomalies") == {
        "symbols.BTC.anomalies": 2,
        "symbols.ETH.anomalies": 0,
    }
    assert one(found, "symbols.BTC.anomalies").why == "newest"
    away = figures(site, anomalies=Unknown("away"))
    assert values(away, "symbols.*.anomalies") == {
        "symbols.BTC.anomalies": "away",
        "symbols.ETH.anomalies": "away",
    }


@pytest.mark.parametrize(
    ("calls", "errors", "rate"),
    [(10, 1, 0.1), (0, 0, 0), (0, 2, 1), (1, 2, 1), (None, None, None), (3, None, None)],
)
def test_the_error_rate_is_errors_per_call(
    calls: float | None, errors: float | None, rate: float | None
) -> None:
    counts = {"calls": Figure(calls, NOW - 30), "errors": Figure(errors, NOW - 30)}
    measured = replace(FIGURES, measured={**FIGURES.measured, **counts})
    found = figures(FakeSite(figures=measured))
    why = "" if rate is not None else "CloudWatch has no value yet"
    wanted = AlertFigure(rate, NOW - 30, why)
    assert one(found, "sites.aws.function.error_rate") == wanted
    away = figures(FakeSite(figures=AWAY))
    assert values(away, "sites.*.function.error_rate") == {"sites.aws.function.error_rate": "away"}


def test_a_producer_that_has_ended_leaves_trades_behind() -> None:
    state = producer(at=NOW - 2, spool_full=True, stalled=["BTCUSDT.um", "ETHUSDT.um"], rate=2.5)
    found = figures(
        producers=(
            Running("a", True, state),
            Running("b", False, state),
            Running("c", True),
            Running("d", True, None, "it is damaged"),
        )
    )

    def of(name: str) -> dict[str, float | str | None]:
        return {path.split(".")[1]: each for path, each in values(found, name).items()}

    damaged = "it is damaged"
    assert of("producers.*.waiting") == {"a": 3, "b": 0, "c": 0, "d": damaged}
    assert of("producers.*.left_behind") == {"a": 0, "b": 3, "c": 0, "d": damaged}
    assert of("producers.*.missing") == {"a": 2, "b": 2, "c": 0, "d": damaged}
    assert of("producers.*.stalled") == {"a": 2, "b": 0, "c": 0, "d": damaged}
    assert of("producers.*.running") == {"a": 1, "b": 0, "c": 1, "d": damaged}
    assert of("producers.*.rate") == {"a": 2.5, "b": "none", "c": "none", "d": damaged}
    assert [each.is_over for each in found.find("producers.*.spool_full")] == [
        *(False, True, False, False)
    ]
    assert one(found, "producers.a.waiting").at == NOW - 2
    assert one(found, "producers.b.left_behind").at == NOW


COST = cost_part(
    CostFigure(Decimal(8), None, Decimal(24), None, NOW - 99, "an estimate", {"aws": Decimal(5)})
)


def test_the_used_share_of_each_budget_is_a_figure() -> None:
    found = figures(cost=COST, budgets={"aws": 10, "gcp": 10, "total": 16})
    assert values(found, "budgets.*.used") == {
        "budgets.aws.used": 0.5,
        "budgets.gcp.used": "an estimate",
        "budgets.total.used": 0.5,
    }
    assert values(found, "budgets.total.expected") == {"budgets.total.expected": 1.5}
    assert one(found, "budgets.total.used").at == NOW - 99
    assert values(found, "cost.month_to_date_usd") == {"cost.month_to_date_usd": 8}


@pytest.mark.parametrize(
    ("cost", "why"),
    [
        (Unknown("away"), "away"),
        (replace(COST, month_to_date_usd=None, expected_usd=None, source="away"), "away"),
        (None, "no figure"),
    ],
)
def test_a_cost_that_is_unknown(cost: CostPart | Unknown | None, why: str) -> None:
    found = figures(cost=cost, budgets={"total": 1})
    assert values(found, "budgets.*.used") == {"budgets.total.used": why}
    assert values(found, "budgets.total.expected") == {"budgets.total.expected": why}


def test_without_a_budget_there_is_no_figure_of_it() -> None:
    found = figures(cost=COST)
    assert found.find("budgets.*.used") == found.find("budgets.total.expected") == []
    by_site = figures(cost=COST, budgets={"aws": 5})
    assert by_site.find("budgets.total.expected") == []
    assert [each.path for each in by_site.find("budgets.*.used")] == ["budgets.aws.used"]


@pytest.mark.parametrize(
    ("runs", "state", "lost", "why"),
    [
        (True, {}, 0, ""),
        (True, {"at": NOW - 400, "settings": {"interval": 300, "timeout": 1}}, 0, ""),
        (True, {"at": NOW - 900}, 900, "it is running, but hangs"),
        (
            True,
            {"blind_s": 300, "problem": "no network"},
            305,
            "it is running, but every check fails: no network",
        ),
        (False, {}, 5, "its process has died"),
    ],
)
def test_a_guard_that_is_lost(runs: bool, state: dict[str, Any], lost: float, why: str) -> None:
    seen = guard(**{"at": NOW - 5, **state})
    found = figures(guards=(Running("guard", runs, seen),))
    # Its loss is current knowledge, however old its last state is.
    assert one(found, "guards.guard.lost_s") == AlertFigure(lost, NOW, why)
    # Its report about the sites is as old as its state, and over with its process.
    told = found.find("guards.guard.sites.aws.good")
    assert [each.figure for each in told] == [AlertFigure(3, seen.at) if runs else None]
    assert not told[0].is_over


def test_a_stopped_guard_is_not_lost() -> None:
    found = figures(guards=(Running("guard", False, guard(ended=True)),))
    assert [each.is_over for each in found.find("guards.*.lost_s")] == [True]


def test_a_guard_without_a_state_is_not_lost() -> None:
    found = figures(guards=(Running("a", True), Running("b", True, None, "it is damaged")))
    assert values(found, "guards.*.lost_s") == {
        "guards.a.lost_s": "none",
        "guards.b.lost_s": "it is damaged",
    }


def test_the_time_of_the_guards_pause_is_a_figure() -> None:
    def site(name: str, paused: bool, written: int) -> FakeSite:
        note = {"paused": paused, "by": "ann", "why": "works", "at": NOW - 7200, "written": written}
        return FakeSite(name, kept={"guard": {"pause": note}, "debt": {}, "silence": {}}.get)

    away = FakeSite("gcp", kept=AWAY)
    paused = figures(site("aws", True, 2), site("gcp", False, 1))
    assert one(paused, "pause.for_s") == AlertFigure(7200, NOW, "paused by ann: works")
    over = figures(site("aws", True, 2), site("gcp", False, 3))
    assert values(over, "pause.for_s") == {"pause.for_s": 0}
    assert values(figures(FakeSite(), away), "pause.*") == {"pause.for_s": 0}
    assert values(figures(away), "pause.*") == {"pause.for_s": "away"}
    assert values(figures(), "pause.for_s") == {"pause.for_s": "none"}
