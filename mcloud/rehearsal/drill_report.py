"""The result of a drill."""

from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any


@dataclass(frozen=True)
class SiteResult:
    candles: int
    exact: bool
    """Whether every candle equals plain arithmetic over the trades, with no candle in excess."""
    archived: int
    """Number of distinct trades in the raw archive."""


@dataclass
class DrillReport:
    scenario: str
    about: str
    on: str
    """The site with the outage."""
    expected: bool | None
    """Whether the traffic was expected to move. None if either is fine."""
    timeline: list[tuple[float, str]] = field(default_factory=list)
    """Seconds since the outage began, and the event."""
    moves: int = 0
    rto: float | None = None
    """Seconds from the start of the outage to the first trade stored on another site. None if the
    traffic did not move.
    """
    trades: int = 0
    missing: int | None = None
    """Number of these trades that no site has at the end: the RPO."""
    sites: dict[str, SiteResult] = field(default_factory=dict)
    usd: Decimal | None = None
    """Cost of all calls to the clouds at list price, without free tiers."""
    problem: str = ""
    decisions: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        is_moved = self.expected is None or (self.moves > 0) == self.expected
        exact = bool(self.sites) and all(
            site.exact and site.archived == self.trades for site in self.sites.values()
        )
        return not self.problem and is_moved and self.moves <= 1 and self.missing == 0 and exact

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "scenario": self.scenario,
            "about": self.about,
            "site": self.on,
            "timeline": [{"s": round(at, 2), "what": what} for at, what in self.timeline],
            "moves": self.moves,
            "expected_to_move": self.expected,
            "rto_s": None if self.rto is None else round(self.rto, 2),
            "rpo_ids_missing": self.missing,
            "trades": self.trades,
            "sites": {name: asdict(site) for name, site in self.sites.items()},
            "usd": None if self.usd is None else str(round(self.usd, 6)),
            "problem": self.problem,
            "decisions": self.decisions,
            "seconds": round(self.seconds, 1),
        }
