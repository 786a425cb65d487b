"""``[cost]`` of mcloud.toml.

[cost]
budget_usd = 20          # per month, for all sites together
free_tier = false        # another project on the account uses it up
billed = false           # do not request the bill; Cost Explorer charges $0.01 per request
billed_hours = 12        # hours for which a bill is reused
gcp_billing_table = "my-project.billing.gcp_billing_export_v1_0123AB_4567CD_89EF01"

[cost.budgets]           # or per site
aws = 15
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from mcloud.config import REGIONS, Config, setting
from mcloud.config.settings import Allowed, read, values

LEAST = 0.01
"""Smallest budget, in dollars per month."""
_WHERE = ("cost", "budgets")


@dataclass(frozen=True)
class CostSettings:
    free_tier: bool = setting(True)
    """Whether to subtract the free tiers. False if another project on the account uses them up."""
    budget_usd: float | None = setting(None, least=LEAST)
    """Budget of all sites together, in dollars per month."""
    billed: bool = setting(True)
    """Whether to request the bill. Cost Explorer charges $0.01 per request."""
    billed_hours: float = setting(6.0, least=1)
    """Hours for which a bill is reused."""
    gcp_billing_table: str | None = setting(None)
    """Table of Google's billing export to BigQuery, as ``PROJECT.DATASET.TABLE``."""


@dataclass(frozen=True)
class Money:
    """The settings, validated."""

    settings: CostSettings = CostSettings()
    budgets: Mapping[str, Decimal] = field(default_factory=dict)
    """Budgets of the sites of this profile, in dollars per month."""

    @property
    def budget(self) -> Decimal | None:
        """Budget of all sites together: the setting, or the sum of the sites' budgets."""
        if self.settings.budget_usd is not None:
            return Decimal(str(self.settings.budget_usd))
        return sum(self.budgets.values(), Decimal(0)) if self.budgets else None


def money(config: Config) -> Money:
    """Read ``[cost]``. Raise ConfigError with the line of an invalid setting."""
    document = config.document
    profiles = document.table(("profiles",)).values()
    # The sites of the local profile are named after their clouds.
    known = {*REGIONS, *(site for each in profiles for site in each.get("sites", {}))}
    budgets = values(document, _WHERE, dict.fromkeys(known, Allowed(float, least=LEAST)))
    mine = config.sites or REGIONS
    return Money(
        read(document, ("cost",), CostSettings, {"budgets"}),
        {site: Decimal(f"{value:.15g}") for site, value in budgets.items() if site in mine},
    )
