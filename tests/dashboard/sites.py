"""Sites that answer, hang or fail as they are told."""

import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from mcloud.clouds.ports import Depth, Heartbeat, Invocations
from mcloud.market.candle import Candle, fold
from mcloud.market.trade import Trade

AT = 1_723_161_300.0
CANDLE = fold(
    Candle("BTCUSDT", 1_723_161_240_000),
    [Trade("BTCUSDT", 7, Decimal("61837.50"), Decimal("0.5"), 1_723_161_255_342, True)],
).candle
DEPTH = Depth(12, 3, AT)
DEAD = Depth(0, 0, AT)
CALLS = Invocations(240, 0, 900.0, AT)
BEATS = [
    Heartbeat("BTCUSDT", 1_723_161_255_342, 9757, 20, AT),
    Heartbeat("ETHUSDT", 1_723_161_200_000, 6106, 13, AT),
]


class FakeSite:
    """Every part of a site in one; ``answers`` replaces what a method gives, or makes it raise."""

    def __init__(self, cloud: str = "aws", **answers: Any) -> None:
        self.name = self.cloud = cloud
        self._answers: dict[str, Any] = {
            "check": None,
            "depth": DEPTH,
            "dead_letter_depth": DEAD,
            "invocations": CALLS,
            "heartbeats": BEATS,
            "lags": [],
            "last": CANDLE,
        } | answers
        self.last_asked: list[str] = []

    @property
    def queue(self) -> Any:
        return self

    @property
    def candles(self) -> Any:
        return self

    archive = control = metrics = probe = candles

    def check(self, service: str, timeout: float) -> None:
        self._answer("check", service)

    def depth(self) -> Any:
        return self._answer("depth")

    def dead_letter_depth(self) -> Any:
        return self._answer("dead_letter_depth")

    def invocations(self, window: float) -> Any:
        return self._answer("invocations")

    def heartbeats(self) -> Any:
        return self._answer("heartbeats")

    def lags(self) -> Any:
        return self._answer("lags")

    def last(self, symbol: str) -> Any:
        self.last_asked.append(symbol)
        return self._answer("last")

    def _answer(self, method: str, *arguments: Any) -> Any:
        answer = self._answers[method]
        if isinstance(answer, Exception):
            raise answer
        return answer(*arguments) if callable(answer) else answer


def hang(release: threading.Event) -> Callable[..., None]:
    """An answer that does not come before ``release``."""
    return lambda *arguments: (release.wait(60), None)[1]
