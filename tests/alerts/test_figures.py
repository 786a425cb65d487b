"""Figures are found by their paths."""

from mcloud.alerts.figures import AlertFigures, AlertPart

from .trees import NOW, lag, one, seen, values


def test_a_star_is_any_name() -> None:
    figures = seen(aws={"queue": {"ready": 3}, "epoch": 5}, gcp={"queue": {"ready": 4}})
    assert values(figures, "sites.*.queue.ready") == {
        "sites.aws.queue.ready": 3,
        "sites.gcp.queue.ready": 4,
    }
    assert [each.names for each in figures.find("sites.*.queue.*")] == [
        ("aws", "ready"),
        ("gcp", "ready"),
    ]
    assert values(figures, "sites.aws.epoch") == {"sites.aws.epoch": 5}


def test_a_figure_is_as_old_as_what_stands_beside_it() -> None:
    queue = {"ready": 1, "as_of": NOW - 60, "oldest_age_s": 9, "oldest_age_as_of": NOW - 240}
    beats = {"BTCUSDT": {"trades": 7, "at": NOW - 5}}
    figures = seen(
        aws={
            "queue": queue,
            "heartbeats": beats,
            "up": True,
            "holes": 3,
            "asked": {"recent": {"at": NOW - 70, "problem": None}},
        }
    )
    ages = {
        path: NOW - one(figures, f"sites.aws.{path}").at
        for path in ("queue.ready", "queue.oldest_age_s", "heartbeats.BTCUSDT.trades", "up")
    }
    assert list(ages.values()) == [60, 240, 5, 0]
    assert NOW - one(figures, "sites.aws.holes").at == 70


def test_an_unknown_figure_differs_from_a_path_that_does_not_exist() -> None:
    figures = seen(
        aws={"queue": {"unknown": "no answer", "oldest_age_s": None}, "last_candle": None},
        gcp={"queue": {"ready": None}, "name": "text", "close": "61000.50", "x": "NaN"},
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


def test_a_pattern_may_match_nothing() -> None:
    assert values(seen(), "sites.*.queue.ready") == {}
    assert values(AlertFigures(), "sites.aws.queue.ready") == {}
    optional = AlertFigures(AlertPart({"budgets": AlertPart(is_optional=True)}))
    assert values(optional, "budgets.total.used") == {}
    assert values(optional, "budgets") == {"budgets": "none"}
    unknown = seen(aws={"heartbeats": {"unknown": "away"}})
    assert values(unknown, "sites.*.heartbeats.*.trades") == {
        "sites.aws.heartbeats.*.trades": "away"
    }


def test_parts_of_a_list_go_by_their_names() -> None:
    lags = [lag("gcp", 1), lag("gcp", 2, part="1/2"), lag("gcp", 3), {"v": 4}]
    figures = seen(aws={"replication": [*lags[:3], lag("x", None)], "list": lags[3:]})
    assert values(figures, "sites.*.replication.*.candles_s") == {
        "sites.aws.replication.gcp.candles_s": 1,
        "sites.aws.replication.gcp+1/2.candles_s": 2,
        "sites.aws.replication.2.candles_s": 3,
        "sites.aws.replication.x.candles_s": "no value is given",
    }
    assert values(figures, "sites.aws.list.*.v") == {"sites.aws.list.0.v": 4}


def test_the_reason_why_a_figure_is_null_is_given() -> None:
    why = {"count": "no calls yet", "throttles": "nobody counts them"}
    function = {"count": None, "errors": 1, "throttles": None, "p95_s": None, "unknown_why": why}
    aws = {"function": function, "holes": None, "unknown_why": {"holes": "away"}}
    figures = seen(aws=aws)
    assert values(figures, "sites.*.function.throttles") == {
        "sites.aws.function.throttles": "nobody counts them"
    }
    assert one(figures, "sites.aws.function.p95_s").why == "no value is given"
    assert one(figures, "sites.aws.holes").why == "away"
    assert not [name for name in figures.names() if "unknown_why" in name]
