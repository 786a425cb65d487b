"""Parsing of values and limits."""

import pytest

from mcloud.alerts.rules import AlertRule, Rules
from mcloud.alerts.units import said, unit


@pytest.mark.parametrize(
    ("figure", "value", "text"),
    [
        ("sites.aws.up", 0, "down"),
        ("sites.aws.up", 1, "up"),
        ("producers.x.spool_full", 1, "full"),
        ("sites.aws.queue.ready", 1, "1 message"),
        ("sites.aws.queue.ready", 12_345, "12,345 messages"),
        ("sites.aws.queue.oldest_age_s", 1, "1 s"),
        ("sites.aws.damaged.count", 2, "2 documents"),
        ("sites.aws.function.count", 2, "2 calls"),
        ("disk.writable", 0, "not writable"),
        ("sites.aws.function.error_rate", 0.004, "0.4%"),
        ("budgets.total.used", 1.25, "125%"),
        ("cost.month_to_date_usd", 1.5, "1.5 USD"),
        ("producers.x.rate", 1, "1 trades/s"),
        ("sites.aws.function.count", 3, "3 calls"),
        ("sites.aws.damaged.count", 3, "3 documents"),
        ("sites.aws.damaged.count", 1, "1 document"),
        ("sites.aws.something", 123.456, "123"),
        ("sites.aws.something", None, "unknown"),
    ],
)
def test_a_value_has_its_unit(figure: str, value: float | None, text: str) -> None:
    assert said(value, figure) == text


@pytest.mark.parametrize(
    ("figure", "limit", "text"),
    [
        ("sites.*.up", {"below": 1, "last": 60}, "down for 60 s"),
        ("producers.*.spool_full", {"above": 0}, "full"),
        ("sites.*.function.error_rate", {"above": 0.0125}, "above 1.25%"),
        ("producers.*.waiting", {"above": 50_000, "last": 120}, "above 50,000 trades for 120 s"),
        ("sites.*.queue.ready", {"above": 10, "below": 1}, "above 10 messages or below 1 message"),
        ("sites.*.other", {"above": 0.12345}, "above 0.12345"),
    ],
)
def test_a_limit_has_its_unit(figure: str, limit: dict[str, float], text: str) -> None:
    assert AlertRule("x", figure, "", **limit).limit == text  # type: ignore[arg-type]


def test_every_built_in_rule_has_a_unit() -> None:
    lacking = {rule.name for rule in Rules().rules if not unit(rule.figure)}
    assert lacking == {"service-down", "spool-full", "disk-full"}  # these are either true or not
