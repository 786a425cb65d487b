"""Sites that answer, hang or fail as a test sets."""

import hashlib
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from mcloud.clouds.ports import ControlRecord, Depth, Figure, Figures, FunctionCode, Heartbeat
from mcloud.infra.bundle import build
from mcloud.market.candle import Candle, fold
from mcloud.market.trade import Trade

AT = 1_723_161_300.0
CANDLE = fold(
    Candle("BTCUSDT", 1_723_161_240_000),
    [Trade("BTCUSDT", 7, Decimal("61837.50"), Decimal("0.5"), 1_723_161_255_342, True)],
).candle
DEPTH = Depth(12, 3, AT)
DEAD = Depth(0, 0, AT)
FIGURES = Figures(
    queue=None,
    dead_letters=None,
    window=900.0,
    measured={
        "oldest_age": Figure(7.0, AT),
        "calls": Figure(240.0, AT),
        "errors": Figure(0.0, AT),
        "throttles": Figure(0.0, AT),
        "p95": Figure(0.12, AT),
        "writes": Figure(1234.0, AT),
        "write_throttles": Figure(0.0, AT),
    },
)
BEATS = [
    Heartbeat("BTCUSDT", 1_723_161_255_342, 9757, 20, AT),
    Heartbeat("ETHUSDT", 1_723_161_200_000, 6106, 13, AT),
]
RECORD = ControlRecord(3, "aws", "manual", "drill", "somebody", AT - 60)


class FakeSite:
    """All parts of a site in one. ``answers`` sets the results or errors of methods."""

    def __init__(self, cloud: str = "aws", **answers: Any) -> None:
        self.name = self.cloud = cloud
        self.answers: dict[str, Any] = {
            "check": None,
            "depth": DEPTH,
            "dead_letter_depth": DEAD,
            "figures": FIGURES,
            "heartbeats": BEATS,
            "lags": [],
            "record": RECORD,
            "code": [FunctionCode("processor", hashlib.sha256(build(cloud)).hexdigest())],
            "kept": {},
            "range": [CANDLE],
            "last": None,
        } | answers
        self.is_live = cloud == "aws"
        self.ranges: list[tuple[str, int]] = []

    @property
    def queue(self) -> Any:
        return self

    @property
    def candles(self) -> Any:
        return self

    archive = control = metrics = probe = candles

    def check(self, service: str, timeout: float) -> None:
        self._answer("check", service)

    def code(self, timeout: float) -> Any:
        return self._answer("code")

    def depth(self) -> Any:
        return self._answer("depth")

    def dead_letter_depth(self) -> Any:
        return self._answer("dead_letter_depth")

    def figures(self, window: float) -> Any:
        return self._answer("figures")

    def heartbeats(self) -> Any:
        return self._answer("heartbeats")

    def lags(self) -> Any:
        return self._answer("lags")

    def record(self) -> Any:
        return self._answer("record")

    def kept(self, kind: str) -> Any:
        return self._answer("kept", kind)

    def get(self, kind: str, key: str) -> Any:
        return self._answer("kept", kind).get(key)

    def range(self, symbol: str, start: int, end: int) -> Any:
        self.ranges.append((symbol, start))
        return self._answer("range")

    def last(self, symbol: str) -> Any:
        return self._answer("last")

    def _answer(self, method: str, *arguments: Any) -> Any:
        answer = self.answers[method]
        if isinstance(answer, Exception):
            raise answer
        return answer(*arguments) if callable(answer) else answer


def hang(release: threading.Event) -> Callable[..., None]:
    """Return an answer that does not return before ``release``."""
    return lambda *arguments: (release.wait(60), None)[1]
