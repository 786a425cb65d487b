"""Figures of sites, as the document of ``mcloud status -o json`` names them."""

from typing import Any

from mcloud.alerts.figures import AlertFigure, AlertFigures
from mcloud.observing.alert_figures import published

NOW = 1_800_000_000.0


def seen(at: float = NOW, **sites: dict[str, Any]) -> AlertFigures:
    """Return the figures of sites, from some parts of their documents."""
    return AlertFigures(published({"sites": sites}, at))


def lag(source: str, seconds: float | None, part: str = "all") -> dict[str, Any]:
    return {"source": source, "target": "aws", "part": part, "candles_s": seconds, "at": NOW}


def values(figures: AlertFigures, pattern: str) -> dict[str, float | str | None]:
    """Return values by path, or the reasons why they are unknown or missing."""
    return {
        each.path: "none"
        if each.figure is None
        else each.figure.why
        if each.figure.value is None
        else each.figure.value
        for each in figures.find(pattern)
    }


def one(figures: AlertFigures, path: str) -> AlertFigure:
    (found,) = figures.find(path)
    assert found.figure is not None
    return found.figure
