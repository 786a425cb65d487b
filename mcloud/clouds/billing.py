"""The costs of a site so far, from the cloud's own bill.

``aws/billing.py`` and ``gcp/billing.py`` implement ``Billing``. Each request costs money, so the
callers cache the result for hours.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol


@dataclass(frozen=True)
class BillLine:
    day: str
    """Day in the cloud's own time zone, such as ``2026-11-25``."""
    service: str
    """Name of the service on the bill, such as ``Amazon Simple Queue Service``."""
    usd: Decimal
    """Cost before credits, in US dollars."""
    credits: Decimal
    """Credits, zero or less: Google's free tiers, promotions, commitments."""
    labelled: bool = True
    """Whether the costs have the stack's labels. Without them they may belong to another stack."""


@dataclass(frozen=True)
class Bill:
    source: str
    scope: str
    """Scope of the bill, such as ``tags application=mcloud, stack=mcloud``."""
    lines: tuple[BillLine, ...]
    as_of: float
    """Time of the last update of the bill, if known, or of the query, in seconds since 1970."""
    cost: Decimal
    """Maximum cost of the query, in US dollars."""

    @property
    def net(self) -> Decimal:
        return sum((line.usd + line.credits for line in self.lines), Decimal(0))


class Billing(Protocol):
    def bill(self, first: str, last: str) -> Bill:
        """Return the bill from day ``first`` through ``last``, both in one month.

        Raises:
            Refused: the account has no such bill, or these credentials may not read it.
            Unavailable: the service did not answer.
        """
        ...
