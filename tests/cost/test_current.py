"""The current cost, which is cheap to query and marks what is unknown."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from mcloud.config import Config, load
from mcloud.cost.current import FRESH, CostFigure, current, per_hour
from mcloud.cost.usage import SiteUsage

from .usages import MONTH, NOW, usage


class Clouds:
    """A site that has written ``units`` at the time of a request, with its own clock."""

    def __init__(self, folder: Path) -> None:
        (folder / "mcloud.toml").write_text(
            "[cost]\nbudget_usd = 20\n[profiles.prod.sites.aws]\ncloud = 'aws'\n"
        )
        self.config = load("prod", folder, {})
        self.now = NOW
        self.units: int | None = 1_000_000
        self.asked = 0

    def look(self) -> CostFigure:
        sites: Any = {"aws": None}
        return current(self.config, sites, clock=lambda: self.now, ask=self.ask)

    def ask(self, config: Config, sites: Mapping[str, Any], *_: object) -> Sequence[SiteUsage]:
        self.asked += 1
        if self.units is None:
            return [usage("aws", {}, problem="away")]
        return [usage("aws", {"dynamodb_writes": self.units})]


@pytest.fixture
def clouds(tmp_path: Path) -> Clouds:
    return Clouds(tmp_path)


def test_the_month_so_far(clouds: Clouds) -> None:
    assert clouds.look() == CostFigure(
        month_to_date=Decimal("0.625"),
        per_hour_now=None,
        expected=Decimal("1.25"),
        budget=Decimal(20),
        as_of=NOW,
        source="an estimate from metered usage at list prices",
        by_site={"aws": Decimal("0.625")},
    )


def test_the_first_hour_is_too_short_for_a_forecast(clouds: Clouds) -> None:
    clouds.now = MONTH.start + 3599
    figure = clouds.look()
    assert (figure.month_to_date, figure.expected) == (Decimal("0.625"), None)
    clouds.now = MONTH.start + 3600 + FRESH
    assert clouds.look().expected is not None


def test_the_meters_are_read_every_half_an_hour(clouds: Clouds) -> None:
    clouds.look()
    clouds.now += FRESH - 1
    clouds.units = 2_000_000
    assert (clouds.look().month_to_date, clouds.asked) == (Decimal("0.625"), 1)
    clouds.now += 1
    figure = clouds.look()
    assert (figure.month_to_date, clouds.asked) == (Decimal("1.25"), 2)
    # 0.625 in half an hour
    assert figure.per_hour_now == Decimal("1.25")
    assert figure.per_hour_by_site == {"aws": Decimal("1.25")}


def test_the_hourly_cost_is_that_of_the_last_two_hours(clouds: Clouds) -> None:
    for number in range(12):
        figure = clouds.look()
        clouds.now += FRESH
        # The first hours have ten times the usage of the last ones.
        clouds.units = (clouds.units or 0) + (1_000 if number > 6 else 10_000)
    assert figure.per_hour_now == 2_000 * Decimal("0.625e-6")


def test_an_unavailable_site_makes_the_sum_unknown_and_not_smaller(clouds: Clouds) -> None:
    clouds.look()
    clouds.now += FRESH
    clouds.units = None
    figure = clouds.look()
    assert (figure.month_to_date, figure.expected) == (None, None)
    assert figure.source == "unknown: aws: away"
    assert figure.by_site == {}
    clouds.now += FRESH
    clouds.units = 1_000_000
    assert clouds.look().month_to_date == Decimal("0.625")


def test_a_new_month_begins_at_its_beginning(clouds: Clouds) -> None:
    clouds.look()
    clouds.now = MONTH.end + 1
    clouds.units = 0
    figure = clouds.look()
    assert (clouds.asked, figure.month_to_date, figure.per_hour_now) == (2, 0, None)


def test_a_damaged_cache_is_replaced(clouds: Clouds) -> None:
    clouds.look()
    path = clouds.config.state / "cost" / "prod" / "current.json"
    for damaged in (
        "",
        "[]",
        '{"month": "2026-11", "sites": ["aws"], "by_site": {}, "samples": [[1]]}',
    ):
        path.write_text(damaged)
        assert clouds.look().month_to_date == Decimal("0.625")
    assert clouds.asked == 4


@pytest.mark.parametrize(
    ("samples", "rate"),
    [
        ([], None),
        ([(0, 1)], None),
        ([(0, 1), (30, 2)], None),
        ([(0, 2), (3600, 1)], None),
        ([(0, 1), (1800, 9), (3600, 2)], 1),
    ],
)
def test_the_hourly_cost_follows_from_samples(
    samples: list[tuple[float, int]], rate: int | None
) -> None:
    assert per_hour([(at, Decimal(cost)) for at, cost in samples]) == rate
