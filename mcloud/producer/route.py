"""Which sites get the next batch. Pure decisions; the observing is done elsewhere."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from math import inf
from statistics import median_low

from mcloud.clouds.ports import ControlRecord

MODES = ("both", "primary", "cheapest", "nearest")

# A site takes over only if it is this much better: two that are about as near, or as cheap, would
# otherwise swap places at every look.
NEARER = 0.7  # of the latency
CHEAPER = Decimal("0.9")  # of the cost

LOOKS = 5  # whose median latency counts: two odd ones among them change nothing


@dataclass(frozen=True)
class Route:
    sites: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class RouteObservation:
    """What is known of the sites; whoever is missing from a mapping is unknown."""

    records: Mapping[str, ControlRecord] = field(default_factory=dict)
    """The control record by the site that told it, old ones of silent sites among them."""
    refusals: Mapping[str, str] = field(default_factory=dict)
    """By site, why its control record cannot be used: it may not be read, or is damaged."""
    latencies: Mapping[str, float] = field(default_factory=dict)
    """Seconds for a publish, of the sites that answer; see ``Latencies``."""
    costs: Mapping[str, Decimal] = field(default_factory=dict)
    """Dollars for the next message."""


class Latencies:
    """The usual latency of each site: the median of the last looks, a silence being the longest."""

    def __init__(self, sites: Iterable[str]) -> None:
        self._looks = {site: deque[float](maxlen=LOOKS) for site in sites}

    def note(self, seconds: Mapping[str, float]) -> None:
        """What one look at all sites has found; who is missing did not answer."""
        for site, looks in self._looks.items():
            looks.append(seconds.get(site, inf))

    def usual(self) -> dict[str, float]:
        """Seconds, of the sites that mostly answer."""
        medians = {site: median_low(looks) for site, looks in self._looks.items() if looks}
        return {site: seconds for site, seconds in medians.items() if seconds < inf}


def choose(
    mode: str, sites: Sequence[str], seen: RouteObservation, current: Route | None = None
) -> Route:
    """Route by ``mode`` (one of MODES) among ``sites``, the first of which is the default."""
    if mode == "both" or len(sites) == 1:
        return Route(tuple(sites), "every site" if len(sites) > 1 else "the only site")
    if mode == "primary":
        return _primary(sites, seen)
    if mode == "nearest":
        return _best(sites, seen.latencies, NEARER, current, "{} answers in {:.0f} ms", 1000)
    return _best(
        sites, seen.costs, CHEAPER, current, "{} costs ${:.2f} per million messages", 10**6
    )


def _primary(sites: Sequence[str], seen: RouteObservation) -> Route:
    if not seen.records:
        why = "; ".join(f"{site}: {refusal}" for site, refusal in seen.refusals.items())
        reason = f"no control record is known; {sites[0]} is the first site"
        return Route((sites[0],), f"{reason} ({why})" if why else reason)
    record = max(seen.records.values(), key=lambda record: record.rank)
    if record.primary not in sites:
        return Route(
            (sites[0],), f"the primary {record.primary} of epoch {record.epoch} is not in --to"
        )
    return Route((record.primary,), f"primary of epoch {record.epoch}: {record.reason}")


def _best(
    sites: Sequence[str],
    scores: "Mapping[str, float] | Mapping[str, Decimal]",
    margin: "float | Decimal",
    current: Route | None,
    sentence: str,
    scale: int,
) -> Route:
    """The site with the lowest score; the current one stays unless it is beaten by the margin."""
    known = [site for site in sites if site in scores]
    if not known:
        return current or Route(
            (sites[0],), f"no site has been measured yet; {sites[0]} is the first site"
        )
    best = min(known, key=lambda site: scores[site])
    if current is not None and len(current.sites) == 1 and current.sites[0] in known:
        held = current.sites[0]
        if scores[best] >= scores[held] * margin:  # type: ignore[operator]
            return current
    return Route((best,), sentence.format(best, scores[best] * scale))
