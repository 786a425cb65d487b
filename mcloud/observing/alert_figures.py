"""The figures of the alert rules, from a snapshot.

The paths are those of the document of ``mcloud status -o json``. The parts of a list go by their
names, as in ``producers.default.waiting``. The time of a figure is the ``as_of`` or ``at`` beside
it. Two parts differ from ``mcloud status``: ``anomalies`` has texts by symbol, newest first, and
``cost`` is as in ``mcloud cost``.

More figures are computed here from the snapshot:

- ``symbols.SYMBOL.silent_s``: seconds since the function of any site last processed its trades. It
  is over if all of them came from sources that have ended, such as a replay;
- ``symbols.SYMBOL.anomalies``: anomalies of the last hour;
- ``sites.SITE.function.error_rate``: errors divided by calls;
- ``producers.NAME.waiting`` and ``left_behind``: trades in the spool of a running producer, and of
  one that has ended; ``missing``: trades in its holes; ``stalled``: symbols with trades on the
  exchange that its stream does not deliver;
- ``guards.NAME.lost_s``: seconds since the last state of a guard that was not stopped, or since its
  last check that did not fail, if its intervals do not explain them, else 0;
- ``pause.for_s``: seconds since the guards were paused;
- ``budgets.NAME.used``, and ``budgets.total.expected`` by the end of the month: fractions of the
  month's budget, where 1 is all of it.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from mcloud.alerts.figures import AlertFigure, AlertFigures, AlertPart
from mcloud.clock import AHEAD
from mcloud.clouds.ports import SERVICES, Figures
from mcloud.documents import Json, encode
from mcloud.failover import pause
from mcloud.failover.shared_notes import valid
from mcloud.failover.statement import GuardState
from mcloud.observing.document import CostPart, SitePart, Unknown, document, why_missing
from mcloud.observing.machine import Machine
from mcloud.observing.replicated import FORGOTTEN
from mcloud.observing.snapshot import SiteSnapshot, Snapshot
from mcloud.producer.reported_state import ProducerState
from mcloud.runs import Running, RunState, silence

CERTAIN = 60.0  # maximum seconds of silence that are accepted without an answer of every site

NO_VALUE = "no value is given"

Anomalies = Mapping[str, Sequence[str]]
"""Anomalies of the last hour by symbol, newest first."""

_EXPLAINED = ("up", "writable")
"""Figures that the ``reason`` beside them explains."""

_ASKED = {"holes": "recent", "candles": "recent"}
"""Parts of a site without a time of their own. The value names the part of ``asked`` that has their
time."""


def alert_figures(
    snapshot: Snapshot,
    anomalies: Anomalies | Unknown,
    cost: CostPart | Unknown | None,
    budgets: Mapping[str, float],
) -> AlertFigures:
    """Return all figures.

    ``cost`` is None if nobody asked for it. ``budgets`` are in dollars per month by site, with
    ``total`` for all.
    """
    at = snapshot.at
    sites = {name: _without_old_lags(site, at) for name, site in snapshot.sites.items()}
    found = document(replace(snapshot, sites=sites))
    machine = snapshot.machine.value or Machine()
    return AlertFigures(
        _with(
            published(found, at),
            sites=AlertPart(
                {name: _site(sites[name], part, at) for name, part in found.sites.items()}
            ),
            symbols=_symbols(sites.values(), machine, anomalies, at),
            producers=AlertPart({each.name: _producer(each, at) for each in machine.producers}),
            replicators=AlertPart({each.name: _run(each, at) for each in machine.replicators}),
            guards=AlertPart({each.name: _guard(each, at) for each in machine.guards}),
            alerts=AlertPart({each.name: _run(each, at) for each in machine.alerts}),
            pause=_pause(sites.values(), at),
            anomalies=published(anomalies, at),
            cost=AlertPart() if cost is None else published(cost, at),
            budgets=_budgets(cost, budgets, at),
        )
    )


def published(part: object, at: float) -> AlertPart:
    """Return the figures of a part of the document. ``at`` is the time of those that have none."""
    return _part(encode(part), at)


def _with(part: AlertPart, **children: AlertPart | AlertFigure) -> AlertPart:
    return replace(part, children={**part.children, **children})


def _part(value: Mapping[str, Json], at: float) -> AlertPart:
    own = _time(value, "as_of") or _time(value, "at") or at
    children = {
        name: _with_note(_node(each, _time_of(value, name) or own), name, value)
        for name, each in value.items()
        if name not in ("unknown", "unknown_why", "asked")
    }
    return AlertPart(children, str(value.get("unknown") or ""), own)


def _node(value: Json, at: float) -> AlertPart | AlertFigure:
    if isinstance(value, Mapping):
        return _part(value, at)
    if isinstance(value, list):
        return _part(_by_name(value), at)
    if value is None:
        return AlertFigure(None, at, NO_VALUE)
    if isinstance(value, str):
        return _text(value, at)
    return _number(value, at)


def _text(text: str, at: float) -> AlertFigure:
    """Convert a decimal, which is a string in the JSON document so that it stays exact."""
    try:
        value = float(text)
    except ValueError:
        return AlertFigure(None, at, f"not a number: {text[:40]!r}")
    return _number(value, at)


def _number(value: float, at: float) -> AlertFigure:
    if not math.isfinite(value):
        return AlertFigure(None, at, f"it is {value}")
    return AlertFigure(float(value), at)


def _with_note(
    node: AlertPart | AlertFigure, name: str, beside: Mapping[str, Json]
) -> AlertPart | AlertFigure:
    """Add the reason to a figure that is down, unknown or unusual."""
    if isinstance(node, AlertPart):
        return node
    why = beside.get("unknown_why")
    if isinstance(why, Mapping) and name in why and node.value is None:
        return replace(node, why=str(why[name]))
    if name in _EXPLAINED and beside.get("reason"):
        return replace(node, why=str(beside["reason"]))
    return node


def _by_name(items: Sequence[Json]) -> dict[str, Json]:
    """Return a list's parts by ``name``, ``source`` or ``symbol``, or by number."""
    found: dict[str, Json] = {}
    for number, item in enumerate(items):
        name = ""
        if isinstance(item, Mapping):
            name = str(item.get("name") or item.get("source") or item.get("symbol") or "")
            if name and item.get("part", "all") != "all":
                name += f"+{item['part']}"
        found[name if name and name not in found else str(number)] = item
    return found


def _time(part: Mapping[str, Json], name: str) -> float | None:
    value = part.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) or None


def _time_of(part: Mapping[str, Json], name: str) -> float | None:
    """Return the time of a figure, such as ``oldest_age_as_of`` for ``oldest_age_s``."""
    own = _time(part, f"{name}_as_of") or _time(part, f"{name.removesuffix('_s')}_as_of")
    asked = part.get("asked")
    if own is None and isinstance(asked, Mapping) and name in _ASKED:
        answer = asked.get(_ASKED[name])
        return _time(answer, "at") if isinstance(answer, Mapping) else None
    return own


def _without_old_lags(site: SiteSnapshot, now: float) -> SiteSnapshot:
    if site.lags.value is None:
        return site
    lags = [lag for lag in site.lags.value if now - lag.at < FORGOTTEN]
    return replace(site, lags=replace(site.lags, value=lags))


def _site(site: SiteSnapshot, part: SitePart, now: float) -> AlertPart:
    figures, measured = published(part, now), site.figures.value
    if site.up is False:
        why = "\n".join(f"{_services(names)}: {problem}" for problem, names in site.down.items())
        figures = _with(figures, up=AlertFigure(0.0, now, why))
    if measured is not None:
        rate = _error_rate(measured, site.cloud, now)
        figures = _with(figures, function=_with(published(part.function, now), error_rate=rate))
    return figures


def _services(names: Sequence[str]) -> str:
    return "everything" if len(names) == len(SERVICES) else ", ".join(names)


def _error_rate(measured: Figures, cloud: str, now: float) -> AlertFigure:
    calls, errors = measured["calls"], measured["errors"]
    at = calls.as_of or now
    if calls.value is None or errors.value is None:
        return AlertFigure(None, at, why_missing(cloud, {}))
    # The metrics service may count an error before it counts the call that failed.
    return AlertFigure(min(1.0, errors.value / max(calls.value, 1)), at)


def _symbols(
    sites: Collection[SiteSnapshot],
    machine: Machine,
    anomalies: Anomalies | Unknown,
    now: float,
) -> AlertPart:
    newest: dict[str, float] = {}
    damaged: dict[str, str] = {}
    unknown = ""
    for site in sites:
        # If a site no longer answers, its last answer does not show its current state.
        if why := site.heartbeats.problem or site.heartbeats.why:
            unknown = unknown or f"heartbeats of {site.name}: {why}"
            continue
        for beat in site.heartbeats.value or ():
            newest[beat.symbol] = max(newest.get(beat.symbol, 0.0), beat.at)
        for symbol, broken in site.damaged_heartbeats.items():
            newest.setdefault(symbol, 0.0)
            damaged.setdefault(symbol, f"heartbeats of {site.name}: {broken}")
    found: dict[str, AlertPart] = {}
    for symbol, at in newest.items():
        silent = max(0.0, now - at)
        if silent < FORGOTTEN or symbol in damaged:
            # A site that does not answer, or has a damaged heartbeat, may have had a newer trade.
            lacking = unknown or damaged.get(symbol, "")
            why = lacking if silent >= CERTAIN else _from_the_future(at, now)
            parts: dict[str, AlertPart | AlertFigure] = {
                "anomalies": _anomalies(anomalies, symbol, now)
            }
            is_over = machine.has_ended(symbol, at)
            if not is_over:
                parts["silent_s"] = AlertFigure(None if why else silent, now, why)
            found[symbol] = AlertPart(parts, is_over=is_over)
    return AlertPart(found, "" if found else unknown, now)


def _from_the_future(at: float, now: float) -> str:
    """Return why a time cannot be used, or an empty string if it can."""
    if now - at >= -AHEAD:
        return ""
    return f"its time is {at - now:.0f} s ahead of this machine's clock: one of the two is wrong"


def _anomalies(anomalies: Anomalies | Unknown, symbol: str, now: float) -> AlertFigure:
    if isinstance(anomalies, Unknown):
        return AlertFigure(None, now, anomalies.unknown)
    found = anomalies.get(symbol, ())
    return AlertFigure(float(len(found)), now, found[0] if found else "")


def _run(run: Running[RunState], now: float) -> AlertPart:
    """Return the figures of a process. Those of its state are over if it has ended."""
    if run.damaged:
        return AlertPart(unknown=run.damaged, at=now)
    if run.runs:
        return published(run.document, now)
    return AlertPart({"running": AlertFigure(0.0, now)}, is_over=True)


def _producer(run: Running[ProducerState], now: float) -> AlertPart:
    if run.damaged:
        return _run(run, now)
    state = run.state
    waiting = sum(site.waiting_trades for site in state.sites.values()) if state else 0
    at = state.at if state and run.runs else now
    counts = {
        "waiting": waiting if run.runs else 0,
        "left_behind": 0 if run.runs else waiting,
        "missing": state.missing if state else 0,
        "stalled": len(state.stalled) if state and run.runs else 0,
    }
    return _with(
        _run(run, now), **{name: AlertFigure(float(count), at) for name, count in counts.items()}
    )


def _guard(run: Running[GuardState], now: float) -> AlertPart:
    state = run.state
    if state is None:
        return _run(run, now)
    silent, blind = silence(run.runs, state, now), state.blindness(run.runs, now)
    if run.runs:
        why = "it is running, but hangs" if silent else ""
        if blind and not silent:
            why = (
                f"it is running, but every check fails: {state.problem or 'no queue can be judged'}"
            )
        return _with(_run(run, now), lost_s=AlertFigure(max(silent, blind), now, why))
    if not silent:
        return _run(run, now)
    # Its figures about the sites no longer apply, but the fact that it is missing still does.
    return AlertPart({"lost_s": AlertFigure(silent, now, "its process has died")})


def _pause(sites: Collection[SiteSnapshot], now: float) -> AlertPart:
    """Return the duration of the guards' pause, wherever they run, from the notes on the sites."""
    known = [site.guards.value for site in sites if site.guards.value is not None]
    if not known:
        whys = [site.guards.why for site in sites]
        return AlertPart({"for_s": AlertFigure(None, now, whys[0])} if whys else {})
    found = valid(known)
    if not pause.paused(found):
        return AlertPart({"for_s": AlertFigure(0.0, now)})
    at = found[pause.KEY].at
    if why := _from_the_future(at, now):
        return AlertPart({"for_s": AlertFigure(None, now, why)})
    paused = AlertFigure(max(0.0, now - at), now, f"paused {pause.paused(found)}")
    return AlertPart({"for_s": paused})


def _budgets(
    cost: CostPart | Unknown | None, budgets: Mapping[str, float], now: float
) -> AlertPart:
    found: dict[str, AlertPart] = {}
    for name, budget in budgets.items():
        if not isinstance(cost, CostPart):
            why = cost.unknown if cost else "no figure"
            used = expected = AlertFigure(None, now, why)
        else:
            dollars = cost.month_to_date_usd if name == "total" else cost.by_site.get(name)
            used = _share(dollars, budget, cost)
            expected = _share(cost.expected_usd, budget, cost)
        found[name] = AlertPart(
            {"used": used, **({"expected": expected} if name == "total" else {})}
        )
    return AlertPart(found, is_optional=True)


def _share(dollars: float | None, budget: float, cost: CostPart) -> AlertFigure:
    if dollars is None:
        return AlertFigure(None, cost.as_of, cost.source or NO_VALUE)
    return AlertFigure(dollars / budget, cost.as_of)
