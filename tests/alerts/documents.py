"""Minimal documents of ``mcloud status -o json``."""

from typing import Any

NOW = 1_800_000_000.0


def document(at: float = NOW, **sites: dict[str, Any]) -> dict[str, Any]:
    return {"at": at, "sites": sites}


def lag(source: str, seconds: float | None, at: float = NOW, part: str = "all") -> dict[str, Any]:
    return {"source": source, "target": "aws", "part": part, "candles_s": seconds, "at": at}


def beat(at: float) -> dict[str, Any]:
    return {"trades": 7, "at": at}


def producer(name: str = "default", running: bool = True, **state: Any) -> dict[str, Any]:
    return {
        "name": name,
        "running": running,
        "at": NOW,
        "sites": {"aws": {"waiting_trades": 5}, "gcp": {"waiting_trades": 7}},
        "holes": [{"symbol": "BTCUSDT", "first": 10, "last": 19, "reason": ""}],
        "spool_full": False,
        **state,
    }
