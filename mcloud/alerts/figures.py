"""The figures in the document of ``mcloud status -o json``, each found by its path.

A path such as ``sites.aws.dead_letters.ready`` names a place in the document. The parts of a list
go by their names, as in ``producers.default.waiting``. A ``*`` in a pattern stands for any one
name. The time of a figure is the ``as_of`` or ``at`` beside it. A null is unknown, and so is
everything in a part with ``{"unknown": why}``. A path that does not exist is a different case. The
reason for a null is in ``unknown_why`` beside it, under its name.

Some figures are computed here from the document:

- ``symbols.SYMBOL.silent_s``: seconds since the function of any site last processed its trades;
- ``sites.SITE.function.error_rate``: errors divided by calls;
- ``producers.NAME.waiting`` and ``left_behind``: trades in the spool of a running producer, and of
  one that has ended; ``missing``: trades in its holes; ``stalled``: symbols with trades on the
  exchange that its stream does not deliver;
- ``symbols.SYMBOL.anomalies``: anomalies of the last hour;
- ``guards.NAME.lost_s``: seconds since the last state of a guard that was not stopped, or since its
  last check that did not fail, if its intervals do not explain them, else 0;
  ``pause.for_s``: seconds since the guards were paused;
- ``budgets.NAME.used``, and ``budgets.total.expected`` by the end of the month: fractions of the
  month's budget, where 1 is all of it.

For anomalies and budgets, the document has two parts that ``status`` lacks: ``anomalies``, texts by
symbol, newest first, and ``cost``, as in ``mcloud cost``.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mcloud.clock import AHEAD
from mcloud.documents import Damaged, decode
from mcloud.failover import pause
from mcloud.failover.shared_notes import newest
from mcloud.failover.statement import GuardLife
from mcloud.market.trade import id_count
from mcloud.runs import silence

# seconds; an older heartbeat or lag is of a symbol or a pair that is no longer used
FORGOTTEN = 86_400.0
CERTAIN = 60.0  # maximum seconds of silence that are accepted without an answer of every site

ALL = "*"

_ASKED = {"holes": "recent", "candles": "recent"}
"""Parts of a site without a time of their own. The value names the part of ``asked`` that has their
time."""

_OF_FOLDER = ("producers", "replicators", "guards", "alerts", "disk")
"""Parts of the document about the processes in this folder, and about its disk."""

_EXPLAINED = ("up", "anomalies", "lost_s", "for_s", "writable")
"""Figures that the ``reason`` beside them explains."""


@dataclass(frozen=True)
class AlertFigure:
    value: float | None
    """The value. None if unknown."""
    at: float
    """Time of the value, in seconds since 1970."""
    why: str = ""
    """Reason why the value is unknown, or a remark on the value."""


@dataclass(frozen=True)
class FoundFigure:
    path: str
    names: tuple[str, ...]
    """Values of the stars in the pattern."""
    figure: AlertFigure | None
    """The figure. None if the path does not exist."""
    is_over: bool = False
    """Whether the figure is of a process that has ended, and has no more values."""


@dataclass(frozen=True)
class _Part:
    children: dict[str, "_Part | AlertFigure"] = field(default_factory=dict)
    unknown: str = ""
    """Reason why the other children are missing."""
    at: float = 0.0
    is_over: bool = False
    """Whether the process has ended, and with it the other children."""


class AlertFigures:
    """All figures of a document. ``budgets`` are in dollars per month by site, with ``total``
    for all.
    """

    def __init__(
        self, document: Mapping[str, Any], budgets: Mapping[str, float] | None = None
    ) -> None:
        self.at = float(document["at"])
        whole = _derived(document, budgets or {}, self.at)
        node = _node(whole, self.at)
        assert isinstance(node, _Part)
        self._root = node
        self._budgets = frozenset(budgets or {})

    def find(self, pattern: str) -> list[FoundFigure]:
        """Return every figure of a pattern. A path that does not exist has an entry without a
        figure.

        The result is empty if there is nothing for the pattern, such as no producer or no budget.
        """
        wanted = tuple(pattern.split("."))
        if wanted[0] == "budgets" and wanted[1:2] and wanted[1] not in (ALL, *self._budgets):
            return []
        return list(_find(self._root, wanted, (), ()))

    def names(self) -> list[str]:
        """Return the paths of all figures."""
        return [".".join(path) for path in _paths(self._root, ())]


def is_of_folder(path: str) -> bool:
    """Return whether a figure belongs to this folder, so that another folder has its own."""
    return path.partition(".")[0] in _OF_FOLDER


def _find(
    node: _Part | AlertFigure,
    wanted: tuple[str, ...],
    path: tuple[str, ...],
    names: tuple[str, ...],
) -> Iterator[FoundFigure]:
    if not wanted:
        # A whole part is not a figure, except to say that it is unknown.
        figure = node if isinstance(node, AlertFigure) else _unknown(node)
        yield FoundFigure(".".join(path), names, figure)
        return
    name, rest = wanted[0], wanted[1:]
    here = ".".join((*path, *wanted))
    if isinstance(node, AlertFigure):
        yield FoundFigure(here, names, node if node.value is None else None)
    elif name == ALL:
        if not node.children and node.unknown:
            yield FoundFigure(here, names, _unknown(node))
        for each, child in node.children.items():
            # Plain figures may stand beside the names. The pattern does not cover them.
            if not rest or isinstance(child, _Part) or child.value is None:
                yield from _find(child, rest, (*path, each), (*names, each))
    elif name in node.children:
        yield from _find(node.children[name], rest, (*path, name), names)
    else:
        yield FoundFigure(here, names, _unknown(node), node.is_over)


def _unknown(part: _Part) -> AlertFigure | None:
    return AlertFigure(None, part.at, part.unknown) if part.unknown else None


def _paths(node: _Part | AlertFigure, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if isinstance(node, AlertFigure):
        yield path
        return
    for name, child in node.children.items():
        yield from _paths(child, (*path, name))


def _node(value: Any, at: float) -> _Part | AlertFigure:
    if isinstance(value, list):
        value = _by_name(value)
    if isinstance(value, Mapping):
        own = _time(value, "as_of") or _time(value, "at") or at
        children = {
            name: _with_note(_node(each, _time_of(value, name) or own), name, value)
            for name, each in value.items()
            if name not in ("unknown", "unknown_why", "asked")
        }
        is_over = value.get("running") is False
        return _Part(children, str(value.get("unknown") or ""), own, is_over)
    if value is None:
        return AlertFigure(None, at, "no value is given")
    if isinstance(value, bool | int | float) and math.isfinite(value):
        return AlertFigure(float(value), at)
    return _text(str(value), at)


def _text(text: str, at: float) -> AlertFigure:
    """Convert a decimal, which is a string in the JSON document so that it stays exact."""
    try:
        value = float(text)
    except ValueError:
        return AlertFigure(None, at, f"not a number: {text[:40]!r}")
    return (
        AlertFigure(value, at) if math.isfinite(value) else AlertFigure(None, at, f"it is {text}")
    )


def _with_note(
    node: _Part | AlertFigure, name: str, beside: Mapping[str, Any]
) -> _Part | AlertFigure:
    """Add the reason to a figure that is down, unknown or unusual."""
    why = beside.get("unknown_why")
    if (
        isinstance(why, Mapping)
        and name in why
        and isinstance(node, AlertFigure)
        and node.value is None
    ):
        return replace(node, why=str(why[name]))
    if name in _EXPLAINED and isinstance(node, AlertFigure) and beside.get("reason"):
        return replace(node, why=str(beside["reason"]))
    return node


def _by_name(items: list[Any]) -> dict[str, Any]:
    """Return a list's parts by ``name``, ``source`` or ``symbol``, or by number."""
    found: dict[str, Any] = {}
    for number, item in enumerate(items):
        name = ""
        if isinstance(item, Mapping):
            name = str(item.get("name") or item.get("source") or item.get("symbol") or "")
            if name and item.get("part", "all") != "all":
                name += f"+{item['part']}"
        found[name if name and name not in found else str(number)] = item
    return found


def _time(part: Mapping[str, Any], name: str) -> float | None:
    value = part.get(name)
    is_time = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_time and value else None


def _time_of(part: Mapping[str, Any], name: str) -> float | None:
    """Return the time of a figure, such as ``oldest_age_as_of`` for ``oldest_age_s``."""
    own = _time(part, f"{name}_as_of") or _time(part, f"{name.removesuffix('_s')}_as_of")
    asked = part.get("asked")
    if own is None and isinstance(asked, Mapping) and name in _ASKED:
        return _time(asked.get(_ASKED[name]) or {}, "at")
    return own


def _derived(
    document: Mapping[str, Any], budgets: Mapping[str, float], now: float
) -> dict[str, Any]:
    sites = {name: _site(site, now) for name, site in document.get("sites", {}).items()}
    return {
        **document,
        "sites": sites,
        "symbols": _symbols(sites, document.get("anomalies", {}), now),
        "producers": [_producer(each, now) for each in document.get("producers", [])],
        **{
            kind: [_running(each, now) for each in document[kind]]
            for kind in ("replicators", "alerts")
            if kind in document
        },
        "guards": [_guard(each, now) for each in document.get("guards", [])],
        "pause": _pause(sites, now),
        "budgets": _budgets(document.get("cost") or {"unknown": "no figure"}, budgets),
    }


def _site(site: Mapping[str, Any], now: float) -> dict[str, Any]:
    function, lags = site.get("function") or {}, site.get("replication")
    services = site.get("services", {})
    down = [f"{name}: {each['reason']}" for name, each in services.items() if each.get("reason")]
    derived: dict[str, Any] = {**site, "reason": "\n".join(down)}
    if "unknown" not in function and {"count", "errors"} <= function.keys():
        derived["function"] = _with_rate(function)
    if isinstance(lags, list):
        derived["replication"] = [lag for lag in lags if now - lag["at"] < FORGOTTEN]
    return derived


def _with_rate(function: Mapping[str, Any]) -> dict[str, Any]:
    why = function.get("unknown_why") or {}
    lacking = [why[name] for name in ("count", "errors") if name in why]
    said = {**why, "error_rate": lacking[0]} if lacking else why
    return {**function, "error_rate": _rate(function), "unknown_why": said}


def _rate(function: Mapping[str, Any]) -> float | None:
    count, errors = function["count"], function["errors"]
    if count is None or errors is None:
        return None
    # The metrics service may count an error before it counts the call that failed.
    return min(1.0, errors / max(count, 1)) if errors else 0.0


def _symbols(sites: Mapping[str, Any], anomalies: Mapping[str, Any], now: float) -> dict[str, Any]:
    newest: dict[str, float] = {}
    damaged: dict[str, str] = {}
    unknown = ""
    for name, site in sites.items():
        beats = site.get("heartbeats", {})
        # If a site no longer answers, its last answer does not show its current state.
        asked = site.get("asked", {}).get("heartbeats") or {}
        if why := beats.get("unknown") or asked.get("problem"):
            unknown = unknown or f"heartbeats of {name}: {why}"
            continue
        for symbol, beat in beats.items():
            if why := beat.get("unknown"):
                damaged.setdefault(symbol, f"heartbeats of {name}: {why}")
            newest[symbol] = max(newest.get(symbol, 0.0), beat.get("at", 0.0))
    found: dict[str, Any] = {}
    for symbol, at in newest.items():
        silent = max(0.0, now - at)
        if silent < FORGOTTEN or symbol in damaged:
            # A site that does not answer, or has a damaged heartbeat, may have had a newer trade.
            lacking = unknown or damaged.get(symbol, "")
            why = lacking if silent >= CERTAIN else _from_the_future(at, now)
            found[symbol] = {
                "silent_s": {"unknown": why} if why else silent,
                **_anomalies(anomalies, symbol),
            }
    return found or ({"unknown": unknown} if unknown else {})


def _from_the_future(at: float, now: float) -> str:
    """Return why a time cannot be used, or an empty string if it can."""
    if now - at >= -AHEAD:
        return ""
    return f"its time is {at - now:.0f} s ahead of this machine's clock: one of the two is wrong"


def _anomalies(anomalies: Mapping[str, Any], symbol: str) -> dict[str, Any]:
    if "unknown" in anomalies:
        return {"anomalies": {"unknown": anomalies["unknown"]}}
    found = anomalies.get(symbol, [])
    return {"anomalies": len(found), "reason": found[0] if found else ""}


def _running(state: Mapping[str, Any], now: float) -> Mapping[str, Any]:
    """Return a process's state, without its figures if it has ended."""
    if "damaged" in state:
        return {"name": state["name"], "unknown": state["damaged"], "at": now}
    return state if state.get("running") else {"name": state["name"], "running": False, "at": now}


def _guard(state: Mapping[str, Any], now: float) -> Mapping[str, Any]:
    life = decode(GuardLife, state, "the state of a guard")
    if isinstance(life, Damaged):
        return _running(state, now)
    runs = bool(state.get("running"))
    silent, blind = silence(runs, life, now), life.blindness(runs, now)
    lost = {"lost_s": max(silent, blind), "lost_as_of": now}
    if runs:
        why = "it is running, but hangs" if silent else ""
        if blind and not silent:
            why = (
                f"it is running, but every check fails: {life.problem or 'no queue can be judged'}"
            )
        return {**state, **lost, "reason": why}
    if not silent:
        return _running(state, now)
    # Its figures about the sites no longer apply, but the fact that it is missing still does.
    return {"name": state["name"], **lost, "reason": "its process has died"}


def _pause(sites: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Return the duration of the guards' pause, wherever they run, from the sites' documents."""
    told = [site["guard"] for site in sites.values() if "guard" in site]
    known = [each for each in told if "unknown" not in each]
    if not known:
        return {"for_s": {"unknown": str(told[0]["unknown"])}} if told else {}
    found = newest(pause.KIND.read_all(each) for each in known)
    if not pause.paused(found):
        return {"for_s": 0.0}
    at = found[pause.KEY].at
    if why := _from_the_future(at, now):
        return {"for_s": {"unknown": why}}
    why = f"paused {pause.paused(found)}"
    return {"for_s": max(0.0, now - at), "reason": why}


def _producer(state: Mapping[str, Any], now: float) -> Mapping[str, Any]:
    if "damaged" in state:
        return _running(state, now)
    waiting = sum(site["waiting_trades"] for site in state.get("sites", {}).values())
    holes = state.get("holes") or []
    runs = bool(state.get("running"))
    derived = {
        "waiting": waiting if runs else 0,
        "left_behind": 0 if runs else waiting,
        "missing": sum(id_count(hole["first"], hole["last"]) for hole in holes),
        "stalled": len(state.get("stalled") or ()) if runs else 0,
    }
    return {**_running(state, now), **derived}


def _budgets(cost: Mapping[str, Any], budgets: Mapping[str, float]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, dollars in budgets.items():
        used = cost.get("by_site", {}).get(name)
        found[name] = {"used": _part_of(used, dollars, cost), "as_of": cost.get("as_of")}
        if name == "total":
            so_far, expected = (cost.get(f"{each}_usd") for each in ("month_to_date", "expected"))
            found[name]["used"] = _part_of(so_far, dollars, cost)
            found[name]["expected"] = _part_of(expected, dollars, cost)
    return found


def _part_of(dollars: float | None, budget: float, cost: Mapping[str, Any]) -> Any:
    if dollars is None:
        return {"unknown": str(cost.get("unknown") or cost.get("source") or "no value is given")}
    return dollars / budget
