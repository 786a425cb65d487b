"""Figures are found by their paths."""

from typing import Any

import pytest

from mcloud.alerts.figures import FORGOTTEN, AlertFigure, AlertFigures

from .documents import NOW, beat, document, lag, producer


def values(figures: AlertFigures, pattern: str) -> dict[str, float | str | None]:
    """Return values by path, or the reasons why they are unknown or missing."""
    return {
        each.path: "none"
        if each.figure is None
        else each.figure.why
        if each.figure.value is None
        else each.figure.value
        for each in figures.find(pattern)
    }


def one(figures: AlertFigures, path: str) -> AlertFigure:
    (found,) = figures.find(path)
    assert found.figure is not None
    return found.figure


def test_a_star_is_any_name() -> None:
    figures = AlertFigures(
        document(aws={"queue": {"ready": 3}}, gcp={"queue": {"ready": 4}}) | {"epoch": 5}
    )
    assert values(figures, "sites.*.queue.ready") == {
        "sites.aws.queue.ready": 3,
        "sites.gcp.queue.ready": 4,
    }
    assert [each.names for each in figures.find("sites.*.queue.*")] == [
        ("aws", "ready"),
        ("gcp", "ready"),
    ]
    assert values(figures, "epoch") == {"epoch": 5}


def test_a_figure_is_as_old_as_what_stands_beside_it() -> None:
    queue = {"ready": 1, "as_of": NOW - 60, "oldest_age_s": 9, "oldest_age_as_of": NOW - 240}
    beats = {"BTCUSDT": beat(NOW - 5)}
    figures = AlertFigures(
        document(
            aws={
                "queue": queue,
                "heartbeats": beats,
                "up": True,
                "holes": 3,
                "asked": {"recent": {"at": NOW - 70, "problem": None}},
            }
        )
    )
    ages = {
        path: NOW - one(figures, f"sites.aws.{path}").at
        for path in ("queue.ready", "queue.oldest_age_s", "heartbeats.BTCUSDT.trades", "up")
    }
    assert list(ages.values()) == [60, 240, 5, 0]
    assert NOW - one(figures, "sites.aws.holes").at == 70


def test_what_is_unknown_is_not_what_leads_nowhere() -> None:
    figures = AlertFigures(
        document(
            aws={"queue": {"unknown": "no answer", "oldest_age_s": None}, "last_candle": None},
            gcp={"queue": {"ready": None}, "name": "text", "close": "61000.50", "x": "NaN"},
        )
    )
    assert values(figures, "sites.*.queue.ready") == {
        "sites.aws.queue.ready": "no answer",
        "sites.gcp.queue.ready": "no value is given",
    }
    assert values(figures, "sites.aws.queue.oldest_age_s") == {
        "sites.aws.queue.oldest_age_s": "no value is given"
    }
    assert values(figures, "sites.aws.last_candle.close") == {
        "sites.aws.last_candle.close": "no value is given"
    }
    assert values(figures, "sites.aws.quue.ready") == {"sites.aws.quue.ready": "none"}
    assert values(figures, "sites.gcp.queue.ready.deeper") == {
        "sites.gcp.queue.ready.deeper": "no value is given"
    }
    assert values(figures, "sites.gcp.close.deeper") == {"sites.gcp.close.deeper": "none"}
    assert values(figures, "nothing") == {"nothing": "none"}
    assert values(figures, "sites.aws.queue") == {"sites.aws.queue": "no answer"}
    assert values(figures, "sites.gcp.queue") == {"sites.gcp.queue": "none"}
    assert one(figures, "sites.gcp.close").value == 61000.5
    assert one(figures, "sites.gcp.name").why == "not a number: 'text'"
    assert one(figures, "sites.gcp.x").value is None


def test_there_may_be_nothing_that_a_pattern_is_about() -> None:
    figures = AlertFigures(document() | {"producers": []})
    assert figures.find("producers.*.waiting") == []
    assert values(figures, "sites.*.queue.ready") == {}
    unknown = AlertFigures(document(aws={"heartbeats": {"unknown": "away"}}))
    assert values(unknown, "sites.*.heartbeats.*.trades") == {
        "sites.aws.heartbeats.*.trades": "away"
    }


def test_parts_of_a_list_go_by_their_names() -> None:
    lags = [lag("gcp", 1), lag("gcp", 2, part="1/2"), lag("gcp", 3), {"v": 4}]
    figures = AlertFigures(
        document(aws={"replication": [*lags[:3], lag("x", None)], "list": lags[3:]})
    )
    assert values(figures, "sites.*.replication.*.candles_s") == {
        "sites.aws.replication.gcp.candles_s": 1,
        "sites.aws.replication.gcp+1/2.candles_s": 2,
        "sites.aws.replication.2.candles_s": 3,
        "sites.aws.replication.x.candles_s": "no value is given",
    }
    assert values(figures, "sites.aws.list.*.v") == {"sites.aws.list.0.v": 4}


def test_why_a_figure_is_null_stands_beside_it() -> None:
    why = {"count": "no calls yet", "throttles": "nobody counts them"}
    function = {"count": None, "errors": 1, "throttles": None, "p95_s": None, "unknown_why": why}
    aws = {"function": function, "holes": None, "unknown_why": {"holes": "away"}}
    figures = AlertFigures(document(aws=aws))
    assert values(figures, "sites.*.function.throttles") == {
        "sites.aws.function.throttles": "nobody counts them"
    }
    assert values(figures, "sites.*.function.error_rate") == {
        "sites.aws.function.error_rate": "no calls yet"
    }
    assert one(figures, "sites.aws.function.p95_s").why == "no value is given"
    assert one(figures, "sites.aws.holes").why == "away"
    assert not [name for name in figures.names() if "unknown_why" in name]


def test_a_lag_of_long_ago_is_nobodys() -> None:
    figures = AlertFigures(document(aws={"replication": [lag("gcp", 1, NOW - FORGOTTEN)]}))
    assert figures.find("sites.*.replication.*.candles_s") == []


def test_what_is_down_says_why() -> None:
    services = {"queue": {"up": False, "reason": "no answer within 8 s", "latency_s": None}}
    services["candles"] = {"up": False, "reason": "HTTP 503", "latency_s": None}
    services["archive"] = {"up": True, "reason": "", "latency_s": 0.1}
    figures = AlertFigures(document(aws={"up": False, "services": services}))
    assert one(figures, "sites.aws.services.queue.up") == AlertFigure(
        0, NOW, "no answer within 8 s"
    )
    assert one(figures, "sites.aws.up").why == "queue: no answer within 8 s\ncandles: HTTP 503"


def test_a_symbol_is_silent_where_no_site_has_a_trade_of_it() -> None:
    figures = AlertFigures(
        document(
            aws={"heartbeats": {"BTC": beat(NOW - 500), "OLD": beat(NOW - FORGOTTEN)}},
            gcp={"heartbeats": {"BTC": beat(NOW - 20), "ETH": beat(NOW - 900)}},
        )
    )
    assert values(figures, "symbols.*.silent_s") == {
        "symbols.BTC.silent_s": 20,
        "symbols.ETH.silent_s": 900,
    }


def test_a_site_that_cannot_be_asked_may_have_had_a_trade() -> None:
    away = {"heartbeats": {"unknown": "away"}}
    figures = AlertFigures(
        document(
            aws={"heartbeats": {"BTC": beat(NOW - 20), "ETH": beat(NOW - 900)}},
            gcp=away,
        )
    )
    assert values(figures, "symbols.*.silent_s") == {
        "symbols.BTC.silent_s": 20,
        "symbols.ETH.silent_s": "heartbeats of gcp: away",
    }
    damaged = {"heartbeats": {"ETH": {"unknown": "damaged"}, "XRP": {"unknown": "damaged"}}}
    figures = AlertFigures(document(aws={"heartbeats": {"ETH": beat(NOW - 900)}}, gcp=damaged))
    assert values(figures, "symbols.*.silent_s") == {
        "symbols.ETH.silent_s": "heartbeats of gcp: damaged",
        "symbols.XRP.silent_s": "heartbeats of gcp: damaged",
    }
    assert values(AlertFigures(document(gcp=away)), "symbols.*.silent_s") == {
        "symbols.*.silent_s": "heartbeats of gcp: away"
    }


@pytest.mark.parametrize(
    ("count", "errors", "rate"),
    [(10, 1, 0.1), (0, 0, 0), (0, 2, 1), (1, 2, 1), (None, None, None), (3, None, None)],
)
def test_error_rate(count: int | None, errors: int | None, rate: float | None) -> None:
    function = {"count": count, "errors": errors, "as_of": NOW - 30}
    figure = one(
        AlertFigures(document(aws={"function": function})), "sites.aws.function.error_rate"
    )
    assert (figure.value, figure.at) == (rate, NOW - 30)


def test_a_producer_that_has_ended_leaves_what_it_left() -> None:
    figures = AlertFigures(
        document()
        | {"producers": [producer("a"), producer("b", running=False, at=1.0, spool_full=True)]}
    )
    assert values(figures, "producers.*.waiting") == {
        "producers.a.waiting": 12,
        "producers.b.waiting": 0,
    }
    assert values(figures, "producers.*.left_behind") == {
        "producers.a.left_behind": 0,
        "producers.b.left_behind": 12,
    }
    assert values(figures, "producers.*.missing") == {
        "producers.a.missing": 10,
        "producers.b.missing": 10,
    }
    (full,) = figures.find("producers.b.spool_full")
    assert (full.figure, full.is_over) == (None, True)
    assert one(figures, "producers.b.left_behind").at == NOW
    never = AlertFigures(document() | {"producers": [{"name": "c", "running": True}]})
    assert values(never, "producers.*.waiting") == {"producers.c.waiting": 0}


def test_what_was_known_of_a_site_that_is_away_says_nothing_of_now() -> None:
    away = {"at": NOW - 500, "problem": "away"}
    figures = AlertFigures(
        document(aws={"heartbeats": {"BTC": beat(NOW - 505)}, "asked": {"heartbeats": away}})
    )
    assert values(figures, "symbols.*.silent_s") == {
        "symbols.*.silent_s": "heartbeats of aws: away"
    }


def test_anomalies_of_a_symbol() -> None:
    site = {"heartbeats": {"BTC": beat(NOW - 20), "ETH": beat(NOW)}}
    figures = AlertFigures(document(aws=site) | {"anomalies": {"BTC": ["newest", "older"]}})
    assert values(figures, "symbols.*.anomalies") == {
        "symbols.BTC.anomalies": 2,
        "symbols.ETH.anomalies": 0,
    }
    assert one(figures, "symbols.BTC.anomalies").why == "newest"
    away = AlertFigures(document(aws=site) | {"anomalies": {"unknown": "away"}})
    assert values(away, "symbols.*.anomalies") == {
        "symbols.BTC.anomalies": "away",
        "symbols.ETH.anomalies": "away",
    }


def test_budgets() -> None:
    cost = {
        "month_to_date_usd": 8.0,
        "expected_usd": 24.0,
        "by_site": {"aws": 5.0},
        "as_of": NOW - 99,
        "source": "an estimate",
    }
    figures = AlertFigures(document() | {"cost": cost}, {"aws": 10, "gcp": 10, "total": 16})
    assert values(figures, "budgets.*.used") == {
        "budgets.aws.used": 0.5,
        "budgets.gcp.used": "an estimate",
        "budgets.total.used": 0.5,
    }
    assert values(figures, "budgets.total.expected") == {"budgets.total.expected": 1.5}
    assert one(figures, "budgets.total.used").at == NOW - 99
    for unknown in (
        {"unknown": "away"},
        {"month_to_date_usd": None, "expected_usd": None, "as_of": NOW, "source": "away"},
    ):
        figures = AlertFigures(document() | {"cost": unknown}, {"total": 1})
        assert values(figures, "budgets.*.used") == {"budgets.total.used": "away"}
    without = AlertFigures(document() | {"cost": cost})
    assert without.find("budgets.*.used") == without.find("budgets.total.expected") == []
    by_site = AlertFigures(document() | {"cost": cost}, {"aws": 5})
    assert by_site.find("budgets.total.expected") == []
    assert AlertFigures(document() | {"cost": None}).find("budgets.*.used") == []


def test_every_name_is_found_again() -> None:
    figures = AlertFigures(
        document(aws={"queue": {"ready": 1, "as_of": NOW}, "replication": [lag("gcp", 1)]})
        | {"producers": [producer()], "epoch": None}
    )
    names = figures.names()
    assert len(names) > 10
    for name in names:
        (found,) = figures.find(name)
        assert (found.path, found.figure is None) == (name, False)


def guard(running: bool = True, **state: Any) -> dict[str, Any]:
    return {"name": "guard", "running": running, "pid": 7, "at": NOW - 5, **state}


@pytest.mark.parametrize(
    ("guard", "lost", "why"),
    [
        (guard(), 0, ""),
        (guard(at=NOW - 400, settings={"interval": 300, "timeout": 1}), 0, ""),
        (guard(at=NOW - 900), 900, "it is running, but hangs"),
        (guard(running=False, sites={"aws": {"bad": 3}}), 5, "its process has died"),
    ],
)
def test_a_guard_that_is_lost(guard: dict[str, Any], lost: float, why: str) -> None:
    figures = AlertFigures(document() | {"guards": [guard]})
    figure = one(figures, "guards.guard.lost_s")
    # Its loss is current knowledge, however old its last state is.
    assert figure == AlertFigure(lost, NOW, why)
    # Its report about the sites is as old as its state.
    assert values(figures, "guards.*.sites.aws.bad") == {"guards.guard.sites.aws.bad": "none"}


def test_a_guard_that_was_asked_to_end_is_over() -> None:
    figures = AlertFigures(document() | {"guards": [guard(running=False, ended=True)]})
    assert [each.is_over for each in figures.find("guards.*.lost_s")] == [True]


def test_how_long_the_guards_pause() -> None:
    def note(paused: bool, written: int) -> dict[str, Any]:
        known = {"paused": paused, "by": "ann", "why": "works", "at": NOW - 7200}
        return {"guard": {"pause": {**known, "written": written}}}

    away = {"guard": {"unknown": "no answer"}}
    figures = AlertFigures(document(aws=note(True, 2), gcp=note(False, 1)))
    assert one(figures, "pause.for_s") == AlertFigure(7200, NOW, "paused by ann: works")
    assert values(AlertFigures(document(aws=note(True, 2), gcp=note(False, 3))), "pause.for_s") == {
        "pause.for_s": 0
    }
    assert values(AlertFigures(document(aws={"guard": {}}, gcp=away)), "pause.*") == {
        "pause.for_s": 0
    }
    assert values(AlertFigures(document(aws=away)), "pause.*") == {"pause.for_s": "no answer"}


def test_streams_that_stall_are_counted_while_the_producer_runs() -> None:
    stalled = {"stalled": ["BTCUSDT.um", "ETHUSDT.um"]}
    figures = AlertFigures(
        document()
        | {"producers": [producer("a", **stalled), producer("b", running=False, **stalled)]}
    )
    assert values(figures, "producers.*.stalled") == {
        "producers.a.stalled": 2,
        "producers.b.stalled": 0,
    }
