"""The figures in the document of ``mcloud status -o json``, each found by its path.

``sites.aws.dead_letters.ready`` is what stands there, with the parts of a list called by their
names: ``producers.default.waiting``. A ``*`` in a pattern stands for any one name. A figure is as
old as the ``as_of`` or ``at`` beside it says. What is null, or in a part that says
``{"unknown": why}``, is unknown, and a path that leads nowhere is not the same. Why a null is one
says ``unknown_why`` beside it, by its name.

Some figures are made here, of what the document has:

- ``symbols.SYMBOL.silent_s``: seconds since any site's function has processed a trade of it;
- ``sites.SITE.function.error_rate``: errors by calls;
- ``producers.NAME.waiting`` and ``left_behind``: trades in the spool of one that runs, and of one
  that has ended; ``missing``: trades in its holes; ``stalled``: symbols of which the exchange has
  trades that its stream does not bring;
- ``symbols.SYMBOL.anomalies``: those of the last hour;
- ``guards.NAME.lost_s``: seconds since one that was not asked to end has said its last word, or
  since its last look that did not fail, once that is longer than its intervals explain; else 0.
  ``pause.for_s``: since the guards were paused;
- ``budgets.NAME.used``, and ``budgets.total.expected`` by the end of the month: parts of the
  month's budget, 1 is all of it.

For the last two the document has what ``status`` does not: ``anomalies``, texts by symbol, newest
first, and ``cost``, as of ``mcloud cost``.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mcloud.clock import AHEAD
from mcloud.dashboard.machine import blindness, silence
from mcloud.failover import pause
from mcloud.failover.notes import newest

FORGOTTEN = 86_400.0  # seconds; a heartbeat or a lag that is older is of something given up
CERTAIN = 60.0  # seconds of silence that the sites that answer may vouch for alone

ALL = "*"

_ASKED = {"holes": "recent", "candles": "recent"}
"""Parts of a site that have no time of their own, and what in ``asked`` has it."""

_OF_FOLDER = ("producers", "replicators", "guards", "alerts", "disk")
"""Parts of the document that say what runs in this folder, and what it is on."""

_EXPLAINED = ("up", "anomalies", "lost_s", "for_s", "writable")
"""Figures that the ``reason`` beside them is about."""


@dataclass(frozen=True)
class Figure:
    value: float | None
    """None is unknown."""
    at: float
    """When it was true, seconds since 1970."""
    why: str = ""
    """Why it is unknown, or what there is to say of the value."""


@dataclass(frozen=True)
class Found:
    path: str
    names: tuple[str, ...]
    """What the stars of the pattern stand for here."""
    figure: Figure | None
    """None where the path leads nowhere."""
    is_over: bool = False
    """It is of something that has ended, and says no more."""


@dataclass(frozen=True)
class _Part:
    children: dict[str, "_Part | Figure"] = field(default_factory=dict)
    unknown: str = ""
    """Why the rest of it is not there."""
    at: float = 0.0
    is_over: bool = False
    """It has ended, and the rest of it with it."""


class Figures:
    """All that a document has; ``budgets`` are dollars a month by site, ``total`` for all."""

    def __init__(
        self, document: Mapping[str, Any], budgets: Mapping[str, float] | None = None
    ) -> None:
        self.at = float(document["at"])
        whole = _derived(document, budgets or {}, self.at)
        node = _node(whole, self.at)
        assert isinstance(node, _Part)
        self._root = node
        self._budgets = frozenset(budgets or {})

    def find(self, pattern: str) -> list[Found]:
        """Every figure of a pattern; one without a figure for a path that leads nowhere.

        Empty where there is nothing that the pattern could be about: no producer, no budget set.
        """
        wanted = tuple(pattern.split("."))
        if wanted[0] == "budgets" and wanted[1:2] and wanted[1] not in (ALL, *self._budgets):
            return []
        return list(_find(self._root, wanted, (), ()))

    def names(self) -> list[str]:
        """The paths of all figures."""
        return [".".join(path) for path in _paths(self._root, ())]


def is_of_folder(path: str) -> bool:
    """Return whether a figure is of this folder alone, where another folder has one of its own."""
    return path.partition(".")[0] in _OF_FOLDER


def _find(
    node: _Part | Figure, wanted: tuple[str, ...], path: tuple[str, ...], names: tuple[str, ...]
) -> Iterator[Found]:
    if not wanted:
        # A whole part is no figure, unless to say that it is unknown.
        figure = node if isinstance(node, Figure) else _unknown(node)
        yield Found(".".join(path), names, figure)
        return
    name, rest = wanted[0], wanted[1:]
    here = ".".join((*path, *wanted))
    if isinstance(node, Figure):
        yield Found(here, names, node if node.value is None else None)
    elif name == ALL:
        if not node.children and node.unknown:
            yield Found(here, names, _unknown(node))
        for each, child in node.children.items():
            # Beside the names there may be plain figures, which the pattern is not about.
            if not rest or isinstance(child, _Part) or child.value is None:
                yield from _find(child, rest, (*path, each), (*names, each))
    elif name in node.children:
        yield from _find(node.children[name], rest, (*path, name), names)
    else:
        yield Found(here, names, _unknown(node), node.is_over)


def _unknown(part: _Part) -> Figure | None:
    return Figure(None, part.at, part.unknown) if part.unknown else None


def _paths(node: _Part | Figure, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if isinstance(node, Figure):
        yield path
        return
    for name, child in node.children.items():
        yield from _paths(child, (*path, name))


def _node(value: Any, at: float) -> _Part | Figure:
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
        return Figure(None, at, "no value is given")
    if isinstance(value, bool | int | float) and math.isfinite(value):
        return Figure(float(value), at)
    return _text(str(value), at)


def _text(text: str, at: float) -> Figure:
    """Decimals are texts in JSON, so that they stay exact."""
    try:
        value = float(text)
    except ValueError:
        return Figure(None, at, f"not a number: {text[:40]!r}")
    return Figure(value, at) if math.isfinite(value) else Figure(None, at, f"it is {text}")


def _with_note(node: _Part | Figure, name: str, beside: Mapping[str, Any]) -> _Part | Figure:
    """What is down, unknown, or not as usual, says why."""
    why = beside.get("unknown_why")
    if isinstance(why, Mapping) and name in why and isinstance(node, Figure) and node.value is None:
        return replace(node, why=str(why[name]))
    if name in _EXPLAINED and isinstance(node, Figure) and beside.get("reason"):
        return replace(node, why=str(beside["reason"]))
    return node


def _by_name(items: list[Any]) -> dict[str, Any]:
    """A list's parts by what they are called: ``name``, ``source`` or ``symbol``, or a number."""
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
    """The time of one figure: ``oldest_age_as_of`` of ``oldest_age_s``."""
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
    # A call that fails may be counted before it is counted as a call.
    return min(1.0, errors / max(count, 1)) if errors else 0.0


def _symbols(sites: Mapping[str, Any], anomalies: Mapping[str, Any], now: float) -> dict[str, Any]:
    newest: dict[str, float] = {}
    damaged: dict[str, str] = {}
    unknown = ""
    for name, site in sites.items():
        beats = site.get("heartbeats", {})
        # The last that was known of one that does not answer any more says nothing of now.
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
            # One that cannot be asked, or whose heartbeat is damaged, may have had a trade since.
            lacking = unknown or damaged.get(symbol, "")
            why = lacking if silent >= CERTAIN else _from_the_future(at, now)
            found[symbol] = {
                "silent_s": {"unknown": why} if why else silent,
                **_anomalies(anomalies, symbol),
            }
    return found or ({"unknown": unknown} if unknown else {})


def _from_the_future(at: float, now: float) -> str:
    """Why a time cannot be used; empty for one that can."""
    if now - at >= -AHEAD:
        return ""
    return f"its time is ahead of this machine's clock by {at - now:.0f} s: one of the two is wrong"


def _anomalies(anomalies: Mapping[str, Any], symbol: str) -> dict[str, Any]:
    if "unknown" in anomalies:
        return {"anomalies": {"unknown": anomalies["unknown"]}}
    found = anomalies.get(symbol, [])
    return {"anomalies": len(found), "reason": found[0] if found else ""}


def _running(state: Mapping[str, Any], now: float) -> Mapping[str, Any]:
    """What one that has ended said of its work is over."""
    if "damaged" in state:
        return {"name": state["name"], "unknown": state["damaged"], "at": now}
    return state if state.get("running") else {"name": state["name"], "running": False, "at": now}


def _guard(state: Mapping[str, Any], now: float) -> Mapping[str, Any]:
    if "damaged" in state:
        return _running(state, now)
    runs = bool(state.get("running"))
    silent, blind = silence(runs, state, now), blindness(runs, state, now)
    lost = {"lost_s": max(silent, blind), "lost_as_of": now}
    if runs:
        why = "it runs, and hangs" if silent else ""
        if blind and not silent:
            problem = state.get("problem") or "no queue can be judged"
            why = f"it runs, and every look fails: {problem}"
        return {**state, **lost, "reason": why}
    if not silent:
        return _running(state, now)
    # What it said of the sites is over, and that it is gone is not.
    return {"name": state["name"], **lost, "reason": "its process is gone"}


def _pause(sites: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Of the guards, wherever they run, as the sites have it."""
    told = [site["guard"] for site in sites.values() if "guard" in site]
    known = [each for each in told if "unknown" not in each]
    if not known:
        return {"for_s": {"unknown": str(told[0]["unknown"])}} if told else {}
    found = newest(pause.KIND, known)
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
        "missing": sum(hole["last"] - hole["first"] + 1 for hole in holes),
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
