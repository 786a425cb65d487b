"""What a drill has shown."""

from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any


@dataclass(frozen=True)
class SiteResult:
    candles: int
    exact: bool
    """Every candle equals what plain arithmetic over the trades gives, and none is too many."""
    archived: int
    """Distinct trades in the raw archive."""


@dataclass
class Report:
    scenario: str
    about: str
    on: str
    """The site that was taken out."""
    expected: bool | None
    """Whether the traffic was to be moved."""
    timeline: list[tuple[float, str]] = field(default_factory=list)
    """Seconds since the outage began, and what happened."""
    moves: int = 0
    rto: float | None = None
    """Seconds from the begin of the outage to the first trade stored on another site; None where
    nothing was moved."""
    trades: int = 0
    missing: int | None = None
    """Of these, ids that no site has at the end: the RPO."""
    sites: dict[str, SiteResult] = field(default_factory=dict)
    usd: Decimal | None = None
    """At list price, free tiers apart, of all that the clouds were asked to do."""
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
