"""The cost of a run on the embedded clouds, at the prices of the real ones."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from mcloud.clouds.resources import Cloud
from mcloud.cost.charge import Use, charge
from mcloud.cost.prices import PRICES

Meters = Mapping[str, Mapping[str, Decimal | int]]
"""Units by site and meter, as in ``mcloud.local.meter``."""


@dataclass(frozen=True)
class RunCost:
    gross: Decimal
    """Cost in dollars at list price, as if every free tier were used up."""
    net: Decimal
    """Cost in dollars if the run had the free tiers of a month for itself."""


def run_cost(meters: Meters, clouds: Mapping[str, Cloud]) -> dict[str, RunCost]:
    """Return the cost of a run by site. ``clouds`` has the cloud of each site.

    Meters without a price cost nothing.
    """
    found = {}
    for site, counted in meters.items():
        uses = [
            Use(clouds[site], meter, Decimal(units))
            for meter, units in counted.items()
            if (clouds[site], meter) in PRICES
        ]
        charges = charge(uses, dates=[])
        found[site] = RunCost(
            sum((each.gross for each in charges), Decimal(0)),
            sum((each.net for each in charges), Decimal(0)),
        )
    return found
