"""Reads the figures of the alert rules: a snapshot, and the data that it lacks."""

import time
from collections.abc import Callable, Mapping
from functools import partial

from mcloud.alerts.figures import AlertFigures
from mcloud.clouds.anomalies import recent
from mcloud.clouds.ports import Site
from mcloud.config import Config
from mcloud.cost.current import current
from mcloud.cost.settings import money
from mcloud.deadline import gather
from mcloud.errors import McloudError
from mcloud.observing.alert_figures import Anomalies, alert_figures
from mcloud.observing.document import CostPart, Unknown, cost_part
from mcloud.observing.machine import machine
from mcloud.observing.queries import FAST
from mcloud.observing.snapshot import Snapshot, collect
from mcloud.observing.watch import SnapshotWatch

ANOMALIES = 3600.0  # seconds
PATIENCE = 8.0  # seconds for the requests of a check
SOON, COST = 300.0, 3600.0  # seconds until the next read of the cost, which needs all meters


def read_once(config: Config, sites: Mapping[str, Site]) -> AlertFigures:
    """Read all figures once, at the same time.

    Raises:
        ConfigError: something is wrong in ``[cost]``.
    """
    snapshot = collect(sites, partial(machine, config.state))
    return _figures(config, sites, snapshot, _cost(config, sites))


def repeated_reader(
    config: Config, sites: Mapping[str, Site], interval: float
) -> Callable[[], AlertFigures]:
    """Return a function that reads the figures, for calls ``interval`` seconds apart. It reads
    each part of a site no more often than the part changes, since the metrics services bill each
    request.
    """
    watch = SnapshotWatch(sites, partial(machine, config.state), interval=min(interval, FAST))
    cost: CostPart | Unknown | None = None
    due = float("-inf")

    def read() -> AlertFigures:
        nonlocal cost, due
        watch.tick()
        if time.monotonic() >= due:
            cost = _cost(config, sites)
            due = time.monotonic() + (SOON if isinstance(cost, Unknown) else COST)
        deadline = time.monotonic() + PATIENCE
        while watch.answers < sum(watch.asked().values()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return _figures(config, sites, watch.snapshot(), cost)

    return read


def _figures(
    config: Config, sites: Mapping[str, Site], snapshot: Snapshot, cost: CostPart | Unknown | None
) -> AlertFigures:
    return alert_figures(snapshot, _anomalies(sites), cost, _budgets(config))


def _budgets(config: Config) -> dict[str, float]:
    """Return the budgets in dollars per month by site, and ``total``."""
    found = money(config)
    total = {} if found.budget is None else {"total": float(found.budget)}
    return {**{site: float(dollars) for site, dollars in found.budgets.items()}, **total}


def _cost(config: Config, sites: Mapping[str, Site]) -> CostPart | Unknown | None:
    if not _budgets(config):
        return None  # no budget is set, so the cost is not needed
    try:
        cost = current(config, sites)
    except McloudError as error:
        return Unknown(str(error))
    if cost.month_to_date is None:
        return Unknown(cost.source)
    return cost_part(cost)


def _anomalies(sites: Mapping[str, Site]) -> Anomalies | Unknown:
    """Return the anomalies of the last hour by symbol, each once, the newest first."""
    since = time.time() - ANOMALIES
    calls = {
        name: partial(lambda each: recent(each.control, since), site)
        for name, site in sites.items()
    }
    answers = gather(calls, PATIENCE)
    known = [each for each in answers.values() if not isinstance(each, Exception)]
    if not known:
        name, error = next(iter(answers.items()))
        return Unknown(f"{name}: {error}")
    by_key = {anomaly.key: anomaly for each in known for anomaly in each}
    found: dict[str, list[str]] = {}
    for key in sorted(by_key, reverse=True):
        anomaly = by_key[key]
        found.setdefault(anomaly.symbol, []).append(f"{anomaly.kind} at {anomaly.timestamp}")
    return found
