"""Anomalies of the sites: those that producers stored, and a search of the stored candles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

from mcloud.clouds.anomalies import AnomalyRecord, ListedAnomaly, stored
from mcloud.clouds.ports import Site
from mcloud.deadline import gather
from mcloud.documents import damaged, sound
from mcloud.errors import Unavailable
from mcloud.market.anomaly import Anomaly, Thresholds, detect, minute
from mcloud.market.candle import MINUTE

DAY = 86_400_000  # ms
PATIENCE = 10.0  # seconds for a site to answer


@dataclass(frozen=True)
class CollectedAnomalies:
    anomalies: tuple[tuple[Anomaly, tuple[str, ...]], ...]
    """Anomalies by time, each with the sites that have it."""
    damaged: tuple[str, ...]
    """Descriptions of the documents that cannot be read."""
    failed: Mapping[str, str]
    """Sites that do not answer, and the reasons."""


@dataclass(frozen=True)
class AnomalyScan:
    anomalies: Sequence[Anomaly]
    candles: int
    """Number of candles that were checked."""
    has_candles: bool
    """Whether the site has candles in the range or in the time that its first minutes need."""


def collect(sites: Mapping[str, Site]) -> CollectedAnomalies:
    """Return the anomalies that the sites store.

    Raises:
        Unavailable: no site answers.
    """
    calls = {name: partial(stored, each.control, 0) for name, each in sites.items()}
    found: dict[str, tuple[Anomaly, tuple[str, ...]]] = {}
    broken: list[str] = []
    failed: dict[str, str] = {}
    for name, answer in gather(calls, PATIENCE).items():
        if isinstance(answer, Exception):
            failed[name] = str(answer)
            continue
        broken += (f"{name}: {each}" for each in damaged(answer))
        for anomaly in (each.anomaly for each in sound(answer)):
            known, names = found.get(anomaly.key, (anomaly, ()))
            # The sites may have two versions of an anomaly for a while.
            found[anomaly.key] = (max(known, anomaly, key=_rank), (*names, name))
    if len(failed) == len(sites):
        raise Unavailable(f"no site answers: {reasons(failed)}")
    by_time = sorted(found.values(), key=lambda each: each[0].key)
    return CollectedAnomalies(tuple(by_time), tuple(broken), failed)


def reasons(failed: Mapping[str, str]) -> str:
    """Return why sites do not answer, in one line."""
    return "; ".join(f"{name}: {reason}" for name, reason in failed.items())


def scan(
    site: Site, symbol: str, begin: int | None, until: int, thresholds: Thresholds
) -> AnomalyScan:
    """Search the candles of a symbol from ``begin`` to ``until``, in ms since 1970.

    Without a begin, it is a day before the newest candle.
    """
    if begin is None:
        newest = site.candles.last(symbol)
        begin = min(until, newest.start + MINUTE if newest else 0) - DAY
    begin = max(0, begin)
    candles = site.candles.range(symbol, max(0, begin - thresholds.reach), until)
    minutes = [minute(candle) for candle in candles if candle.has_trades]
    checked = sum(each.start >= begin for each in minutes)
    return AnomalyScan(detect(minutes, begin, thresholds), checked, bool(minutes))


def listed(anomaly: Anomaly, sites: Sequence[str]) -> ListedAnomaly:
    """Return the row of an anomaly in a list."""
    return ListedAnomaly(**vars(AnomalyRecord.of(anomaly)), sites=tuple(sites))


def _rank(anomaly: Anomaly) -> tuple[bool, int, Decimal, str]:
    return AnomalyRecord.of(anomaly).rank
