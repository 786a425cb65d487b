"""The units of figures, which follow from the last parts of their paths, and the display of their
values."""

from collections.abc import Callable

from mcloud.clouds.figures import FIGURES

SHARE = "%"
"""A fraction of 1, shown as percent."""

_COUNTED = {
    "ready": "messages",
    "in_flight": "messages",
    "messages": "messages",
    "waiting": "trades",
    "left_behind": "trades",
    "missing": "trades",
    "trades": "trades",
    "rate": "trades/s",
    "holes": "ids",
    "stalled": "symbols",
    **{each.key: each.unit for each in FIGURES if not each.is_time},
    "damaged.count": "documents",
    "candles": "candles",
    "raw": "hours",
    "anomalies": "anomalies",
    "error_rate": SHARE,
    "used": SHARE,
    "expected": SHARE,
}
_ONE = {
    "messages": "message",
    "trades": "trade",
    "ids": "id",
    "symbols": "symbol",
    "calls": "call",
    "documents": "document",
    "writes": "write",
    "candles": "candle",
    "hours": "hour",
    "anomalies": "anomaly",
}
_SWITCHES = {
    "up": ("down", "up"),
    "spool_full": ("not full", "full"),
    "running": ("ended", "runs"),
    "writable": ("not writable", "writable"),
}


def unit(figure: str) -> str:
    """Return a unit such as ``messages``, ``s`` or ``%``. It is empty for an unknown figure, and
    for a figure that is a yes or no.
    """
    name = figure.rpartition(".")[2]
    if name.endswith("_s"):
        return "s"
    if name.endswith("_usd"):
        return "USD"
    of_two_names = ".".join(figure.split(".")[-2:])
    return _COUNTED.get(of_two_names) or _COUNTED.get(name, "")


def said(value: float | None, figure: str) -> str:
    """Return a text such as ``3 messages``, ``12%`` or ``down``."""
    if value is None:
        return "unknown"
    switch = _SWITCHES.get(figure.rpartition(".")[2])
    if switch and value in (0, 1):
        return switch[int(value)]
    return _with_unit(value, figure, _rounded)


def limit(value: float, word: str, figure: str) -> str:
    """Return a text such as ``above 300 s``. For a figure that is a yes or no, it is the wrong
    state, such as ``down``.
    """
    switch = _SWITCHES.get(figure.rpartition(".")[2])
    if switch and 0 <= value <= 1 and (word, value) not in (("above", 1), ("below", 0)):
        return switch[word == "above"]
    return f"{word} {_with_unit(value, figure, '{:,.10g}'.format)}"


def _with_unit(value: float, figure: str, written: Callable[[float], str]) -> str:
    of = unit(figure)
    if of == SHARE:
        return f"{written(value * 100)}%"
    return f"{written(value)} {_ONE.get(of, of) if value == 1 else of}".rstrip()


def _rounded(value: float) -> str:
    """Return the value without insignificant digits."""
    is_whole = value == int(value) or abs(value) >= 100
    return f"{value:,.0f}" if is_whole else f"{value:.3g}"
