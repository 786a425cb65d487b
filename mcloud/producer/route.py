"""The choice of the sites that get the next batch. It is a pure function; ``router`` observes the
sites.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from math import inf
from statistics import median_low
from typing import Literal, get_args

from mcloud.clouds.observation import Observation
from mcloud.clouds.ports import ControlRecord
from mcloud.durations import utc

ProducerMode = Literal["both", "primary", "cheapest", "nearest"]
MODES: tuple[ProducerMode, ...] = get_args(ProducerMode)

# A site replaces the current one only if it is better by this factor. Otherwise two sites with
# about equal latency or cost would alternate at every check.
NEARER = 0.7  # of the latency
CHEAPER = Decimal("0.9")  # of the cost

LOOKS = 5  # number of checks whose median latency counts, so that two outliers have no effect


@dataclass(frozen=True)
class Route:
    """The sites that get the next batch, and the reason."""

    sites: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class RouteObservation:
    """The known values of the sites. A site that is missing from a mapping is unknown."""

    records: Mapping[str, Observation[ControlRecord]] = field(default_factory=dict)
    """Control record by site, including the last known ones of silent sites."""
    latencies: Mapping[str, float] = field(default_factory=dict)
    """Duration of a publish in seconds, for each site that answers; see ``Latencies``."""
    costs: Mapping[str, Decimal] = field(default_factory=dict)
    """Cost of the next message in USD, by site."""


class Latencies:
    """The usual latency of each site: the median of the last checks. No answer counts as
    infinite.
    """

    def __init__(self, sites: Iterable[str]) -> None:
        self._looks = {site: deque[float](maxlen=LOOKS) for site in sites}

    def note(self, seconds: Mapping[str, float]) -> None:
        """Record the result of a check of all sites. A site that is missing did not answer."""
        for site, looks in self._looks.items():
            looks.append(seconds.get(site, inf))

    def usual(self) -> dict[str, float]:
        """Return the latency in seconds of the sites that answered most checks."""
        medians = {site: median_low(looks) for site, looks in self._looks.items() if looks}
        return {site: seconds for site, seconds in medians.items() if seconds < inf}


def choose(
    mode: ProducerMode, sites: Sequence[str], seen: RouteObservation, current: Route | None = None
) -> Route:
    """Return the route of ``mode`` . The first of ``sites`` is the default."""
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
    known = [each.value for each in seen.records.values() if each.value is not None]
    if not known:
        # A site that is silent is seen as such elsewhere. A refusal or a damaged record lasts.
        refused = {
            n: each for n, each in seen.records.items() if each.problem and not each.is_outage
        }
        why = "; ".join(f"{site}: {each.problem}" for site, each in refused.items())
        reason = f"no control record is known; {sites[0]} is the first site"
        return Route((sites[0],), f"{reason} ({why})" if why else reason)
    record = max(known, key=lambda record: record.rank)
    if record.primary not in sites:
        return Route(
            (sites[0],), f"the primary {record.primary} of epoch {record.epoch} is not in --to"
        )
    # The reason is that of the move. It may be long over.
    why = f"; reason then: {record.reason}" if record.reason else ""
    return Route((record.primary,), f"primary of epoch {record.epoch} since {utc(record.at)}{why}")


def _best(
    sites: Sequence[str],
    scores: "Mapping[str, float] | Mapping[str, Decimal]",
    margin: "float | Decimal",
    current: Route | None,
    sentence: str,
    scale: int,
) -> Route:
    """Return the site with the lowest score. The current one stays unless beaten by the margin."""
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
