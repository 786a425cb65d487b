"""The result of a drill."""

from dataclasses import dataclass, field
from decimal import Decimal

from mcloud.documents import in_document
from mcloud.failover.history import Kept


@dataclass(frozen=True)
class SiteResult:
    candles: int
    exact: bool
    """Whether the candles equal those of plain arithmetic over the trades, with none missing and
    none added."""
    archived: int
    """Number of distinct trades in the raw archive."""


@dataclass(frozen=True)
class DrillEvent:
    s: float
    """Seconds since the outage began."""
    what: str


@dataclass
class DrillReport:
    scenario: str
    about: str
    site: str
    """The site with the outage."""
    expected_to_move: bool | None
    """Whether the traffic was expected to move. None if either is fine."""
    timeline: list[DrillEvent] = field(default_factory=list)
    moves: int = 0
    rto_s: float | None = None
    """Seconds from the start of the outage to the first trade stored on another site. None if the
    traffic did not move.
    """
    trades: int = 0
    rpo_ids_missing: int | None = None
    """Number of these trades that no site has at the end: the RPO."""
    sites: dict[str, SiteResult] = field(default_factory=dict)
    usd: Decimal | None = None
    """Cost of all calls to the clouds at list price, without free tiers."""
    problem: str = ""
    decisions: list[Kept] = field(default_factory=list)
    seconds: float = 0.0

    @property
    @in_document
    def ok(self) -> bool:
        expected = self.expected_to_move
        is_moved = expected is None or (self.moves > 0) == expected
        exact = bool(self.sites) and all(
            site.exact and site.archived == self.trades for site in self.sites.values()
        )
        return (
            not self.problem
            and is_moved
            and self.moves <= 1
            and self.rpo_ids_missing == 0
            and exact
        )
