"""What a cloud's own bill says so far of a site.

``aws/billing.py`` and ``gcp/billing.py`` keep the promise of ``Billing``. Its answers cost money,
so its callers keep them for hours.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from mcloud.clouds.resources import AwsResources, GcpResources, Resources
from mcloud.errors import ConfigError


@dataclass(frozen=True)
class BillLine:
    day: str
    """In the cloud's own zone: ``2026-11-25``."""
    service: str
    """In the bill's words, such as ``Amazon Simple Queue Service``."""
    usd: Decimal
    """Before credits."""
    credits: Decimal
    """Zero or less: free tiers of Google, promotions, commitments."""
    labelled: bool = True
    """False for what has not the stack's labels, and may be another's."""


@dataclass(frozen=True)
class Bill:
    source: str
    scope: str
    """What it covers, such as ``tags application=mcloud, stack=mcloud``."""
    lines: tuple[BillLine, ...]
    as_of: float
    """When it was asked or, where that is known, last written; seconds since 1970."""
    cost: Decimal
    """Dollars that asking cost, at most."""

    @property
    def net(self) -> Decimal:
        return sum((line.usd + line.credits for line in self.lines), Decimal(0))


class Billing(Protocol):
    def bill(self, first: str, last: str) -> Bill:
        """What was billed from day ``first`` up to and with ``last``, both in one month.

        Raises:
            Refused: the account offers no such bill, or not to these credentials.
            Unavailable: it did not answer.
        """
        ...


def open_billing(resources: Resources, stack: str, table: str | None) -> Billing:
    """The bill of a stack; ``table`` is Google's export to BigQuery.

    Raises:
        ConfigError: Google's bill is asked for, and no table is given.
    """
    if isinstance(resources, AwsResources):
        from mcloud.clouds.aws.billing import CostExplorer

        return CostExplorer(resources, stack)
    assert isinstance(resources, GcpResources)
    if table is None:
        raise ConfigError(
            "no billing export is named",
            remedy="switch it on in Google's billing console and give gcp_billing_table in [cost]",
        )
    from mcloud.clouds.gcp.billing import BillingExport

    return BillingExport(resources.project, stack, table)
