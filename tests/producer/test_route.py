"""Routing decisions are pure functions of observations."""

from collections.abc import Iterable, Mapping
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcloud.clouds.observation import Observation
from mcloud.clouds.ports import ControlRecord
from mcloud.cost.marginal import message_cost
from mcloud.cost.prices import PRICES
from mcloud.producer.route import LOOKS, MODES, Latencies, Route, RouteObservation, choose

SITES = ("aws", "gcp")


def record(epoch: int, primary: str) -> ControlRecord:
    return ControlRecord(epoch, primary, "manual", "because", "somebody", 1.0)


def test_mode_both_sends_to_every_site() -> None:
    assert choose("both", SITES, RouteObservation()).sites == SITES


def test_primary_follows_the_highest_epoch_of_any_site() -> None:
    seen = RouteObservation(
        records={
            "aws": Observation(record(3, "aws"), 1.0),
            "gcp": Observation(record(4, "gcp"), 1.0),
        }
    )
    assert choose("primary", SITES, seen) == Route(
        ("gcp",), "primary of epoch 4 since 1970-01-01 00:00 UTC; reason then: because"
    )


def test_without_a_record_the_first_site_is_the_primary() -> None:
    route = choose("primary", SITES, RouteObservation())
    assert route.sites == ("aws",)
    assert "no control record" in route.reason
    refused = RouteObservation(
        records={
            "gcp": Observation(problem="a permission is missing; have it granted", failed_at=1.0),
            "aws": Observation(problem="no answer", failed_at=1.0, is_outage=True),
        }
    )
    route = choose("primary", SITES, refused)
    assert route.sites == ("aws",)
    assert route.reason.endswith("first site (gcp: a permission is missing; have it granted)")


def test_a_primary_that_is_not_served_is_reported() -> None:
    route = choose(
        "primary", SITES, RouteObservation(records={"aws": Observation(record(1, "gcp-east"), 1.0)})
    )
    assert route.sites == ("aws",)
    assert "gcp-east" in route.reason


def test_nearest_changes_only_for_a_clear_gain() -> None:
    current = choose("nearest", SITES, RouteObservation(latencies={"aws": 0.1, "gcp": 0.2}))
    assert current.sites == ("aws",)
    near = RouteObservation(latencies={"aws": 0.1, "gcp": 0.08})
    assert choose("nearest", SITES, near, current) == current
    clear = RouteObservation(latencies={"aws": 0.1, "gcp": 0.06})
    assert choose("nearest", SITES, clear, current).sites == ("gcp",)


def test_nearest_leaves_a_site_that_does_not_answer() -> None:
    current = Route(("aws",), "it was near")
    assert choose("nearest", SITES, RouteObservation(latencies={"gcp": 9.0}), current).sites == (
        "gcp",
    )
    assert choose("nearest", SITES, RouteObservation(), current) == current


def nearest(looks: Iterable[Mapping[str, float]]) -> list[str]:
    """Return the nearest site after each observation, starting with the first."""
    latencies, route, chosen = Latencies(SITES), None, []
    for look in looks:
        latencies.note(look)
        route = choose("nearest", SITES, RouteObservation(latencies=latencies.usual()), route)
        chosen.append(route.sites[0])
    return chosen


# Two sites at about the same distance. Of five observations of a site, up to two are outliers.
usual = st.floats(0.085, 0.115)
odd = st.one_of(usual, st.floats(0, 100), st.just(None))
rounds = st.tuples(usual, odd, usual, odd, usual)


@given(st.lists(st.tuples(rounds, rounds), min_size=2, max_size=12))
def test_nearest_does_not_flap(
    given_rounds: list[tuple[tuple[float | None, ...], tuple[float | None, ...]]],
) -> None:
    looks = [
        {site: seconds for site, seconds in zip(SITES, pair, strict=True) if seconds is not None}
        for aws, gcp in given_rounds
        for pair in zip(aws, gcp, strict=True)
    ]
    chosen = nearest(looks)
    # At first there are few observations.
    assert len(set(chosen[LOOKS - 1 :])) == 1


@given(
    st.lists(st.fixed_dictionaries({site: st.floats(0.001, 10) for site in SITES}), max_size=20),
    st.floats(0.01, 1),
    st.sampled_from(SITES),
    st.booleans(),
)
def test_nearest_follows_a_lasting_difference(
    before: list[dict[str, float]], seconds: float, near: str, is_gone: bool
) -> None:
    """A site that stays clearly nearer, or is the only one left, is chosen within LOOKS probes."""
    lasting = {near: seconds} if is_gone else dict.fromkeys(SITES, 2 * seconds) | {near: seconds}
    assert nearest([*before, *[lasting] * LOOKS])[-1] == near


def test_cheapest_takes_the_cheaper() -> None:
    seen = RouteObservation(costs={"aws": Decimal("0.00002"), "gcp": Decimal("0.000001")})
    assert choose("cheapest", SITES, seen).sites == ("gcp",)


@given(
    st.sampled_from(MODES),
    st.dictionaries(st.sampled_from(SITES), st.floats(0, 10)),
    st.dictionaries(st.sampled_from(SITES), st.decimals(0, 1, places=9)),
    st.sampled_from([None, Route(("aws",), ""), Route(("gcp",), ""), Route(SITES, "")]),
)
def test_any_observation_gives_a_route_to_known_sites(
    mode: str, latencies: dict[str, float], costs: dict[str, Decimal], current: Route | None
) -> None:
    route = choose(mode, SITES, RouteObservation(latencies=latencies, costs=costs), current)
    assert route.sites
    assert set(route.sites) <= set(SITES)
    # Without new observations, the choice stays the same.
    assert choose(mode, SITES, RouteObservation(latencies=latencies, costs=costs), route) == route


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_a_message_is_free_at_most_until_the_free_tiers_are_used_up(cloud: str) -> None:
    costs = [message_cost(cloud, 5_000, sent) for sent in (0, 10**4, 10**6, 10**7, 10**9)]
    assert costs == sorted(costs)
    assert costs[0] < costs[-1]


def test_the_marginal_cost_equals_a_figure_computed_by_hand() -> None:
    # 3 SQS requests, 1 call, 0.05 GB-s, 2 write units, 13 records; all free tiers used up
    record = 5 * 1024 * Decimal("0.029") / 2**30
    by_hand = (
        3 * Decimal("0.4e-6")
        + Decimal("0.2e-6")
        + Decimal("0.05") * Decimal("0.0000133334")
        + 2 * Decimal("0.625e-6")
        + 13 * record
    )
    assert message_cost("aws", 64 * 1024, 10**9) == by_hand
    assert message_cost("aws", 64 * 1024 + 1, 10**9) == by_hand + 3 * Decimal("0.4e-6")
    # Only the export has no free tier.
    assert message_cost("gcp", 100, 0) == 100 * Decimal(50) / 2**40


def test_every_price_names_its_source() -> None:
    for price in PRICES.values():
        assert price.usd > 0
        assert price.per > 0
        assert price.source.startswith("https://")
        assert len(price.date) == len("2026-11-22")
        assert price.region
