"""State documents of each kind of run, written by the code of the run."""

from dataclasses import asdict
from typing import Any, TypeVar

from mcloud.alerts.watch import WatcherState
from mcloud.documents import Damaged, decode, load
from mcloud.failover.settings import GuardSettings
from mcloud.failover.statement import GuardState
from mcloud.producer.reported_state import ProducerState
from mcloud.replication.progress import ReplicatorState
from mcloud.runs import Run

AT = 1_786_000_000.5

PRODUCER: dict[str, Any] = {
    "name": "default",
    "source": "simulate",
    "symbols": ["BTCUSDT"],
    "live": True,
    "mode": "primary",
    "pid": 7,
    "started": AT,
    "at": AT,
    "read": 9,
    "repeats": 1,
    "rate": 2.5,
    "last_trade_time": 1_786_000_000_000,
    "lag_s": 0.5,
    "spool_bytes": 1,
    "spool_full": False,
    "route": {"sites": ["aws"], "reason": "primary of epoch 1"},
    "sites": {
        "aws": {
            "messages": 1,
            "trades": 9,
            "waiting": 1,
            "waiting_trades": 3,
            "lag_s": 0.0,
            "refused": False,
            "breaker": "closed",
            "latency": None,
            "error": "",
        }
    },
    "holes": [
        {
            "symbol": "BTCUSDT",
            "first": 1,
            "last": 2,
            "since": 1_786_000_000_000,
            "attempts": 0,
            "reason": "",
        }
    ],
    "problem": "",
    "source_state": None,
    "month": "2026-08",
    "sent": {"aws": 1},
}

REPLICATOR: dict[str, Any] = {
    "name": "replicator",
    "what": ["candles"],
    "symbols": None,
    "shard": "all",
    "once": False,
    "pid": 7,
    "at": AT,
    "pairs": [
        {
            "source": "aws",
            "target": "gcp",
            "phase": "following",
            "seen": 1,
            "written": 1,
            "objects": 1,
            "bytes": 5,
            "candles_s": 1.5,
            "candles": 0,
            "raw_s": None,
            "raw": 2,
            "trimmed": 0,
            "disagreements": ["x"],
            "damaged": [],
            "error": "",
        }
    ],
}

_DECISION = {
    "at": AT,
    "until": AT,
    "times": 1,
    "action": "nothing",
    "site": "",
    "reason": "all is well",
    "lines": ["aws: up"],
}

GUARD: dict[str, Any] = {
    "pid": 7,
    "at": AT,
    "by": "guard guard, me",
    "primary": "aws",
    "epoch": 1,
    "paused": "",
    "record": {"epoch": 1, "primary": "aws", "mode": "manual", "reason": "", "by": "me", "at": AT},
    "doing": [],
    "problem": "",
    "blind_s": 0.0,
    "unreadable": [],
    "sites": {
        "aws": {
            "verdict": "up",
            "bad": 0,
            "good": 3,
            "canary_s": 1.5,
            "waiting_s": None,
            "backlog": 3,
            "lag_s": None,
            "bad_s": None,
            "services": {
                "queue": {"state": "up", "age_s": 1.0, "latency_s": 0.01, "reason": ""},
            },
        }
    },
    "debts": {},
    "decision": _DECISION,
    "history": [_DECISION],
    "moves": [],
    "cost": {"hours": 1.0, "calls": {}, "usd": "0.001", "basis": "list price, before free tiers"},
    "settings": asdict(GuardSettings(interval=5.0, timeout=3.0)),
}

WATCHER: dict[str, Any] = {
    "name": "alerts",
    "profile": "local",
    "interval": 60.0,
    "channels": ["oncall"],
    "pid": 7,
    "at": AT,
    "looked": AT,
    "pending": 0,
    "unknown": 0,
    "failures": [],
    "firing": [
        {
            "key": "dead-letters aws",
            "rule": "dead-letters",
            "figure": "sites.aws.x",
            "severity": "warning",
            "since": AT,
            "value": 3.0,
            "title": "3 dead letters",
            "silenced": {"id": "a1", "why": "a test", "by": "me", "until": AT},
        }
    ],
    "state": {
        "alerts": {
            "dead-letters aws": {
                "rule": "dead-letters",
                "path": "sites.aws.x",
                "names": ["aws"],
                "firing": True,
                "since": AT,
                "held": 0.0,
                "leaning": None,
                "value": 3.0,
                "at": AT,
                "why": "",
                "unknown_since": None,
                "unknown": "",
                "severity": "warning",
                "was_told": True,
            }
        },
        "blind": {"unknown sites.gcp": {"key": "x", "since": AT, "what": ["a"], "is_over": False}},
        "nothing": {"budget": "nothing there"},
    },
}


State = TypeVar("State")


def stored(run: Run) -> dict[str, Any]:
    """Return the state that a run has written; empty if there is none that can be read."""
    document = load(run.path)
    return document if isinstance(document, dict) else {}


def read(kind: type[State], document: Any) -> State:
    found = decode(kind, document, "the state")
    assert not isinstance(found, Damaged), found
    return found


def producer(**change: Any) -> ProducerState:
    return read(ProducerState, {**PRODUCER, **change})


def replicator(**change: Any) -> ReplicatorState:
    return read(ReplicatorState, {**REPLICATOR, **change})


def guard(**change: Any) -> GuardState:
    return read(GuardState, {**GUARD, **change})


def watcher(**change: Any) -> WatcherState:
    return read(WatcherState, {**WATCHER, **change})
