"""The speed at which a feed is played: without waiting, in real time, or N times as fast."""

import re
from collections.abc import Callable, Iterable, Iterator

from mcloud.errors import UsageError
from mcloud.market.trade import Trade

_FACTOR = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)x")


def parse_speed(text: str) -> float | None:
    """Read ``max`` (None), ``realtime`` (1.0) or a factor such as ``10x`` or ``0.5x``.

    Raises:
        UsageError: anything else, zero included.
    """
    if text == "max":
        return None
    if text == "realtime":
        return 1.0
    match = _FACTOR.fullmatch(text)
    if not match or not (factor := float(match[1])):
        raise UsageError(
            f"invalid speed {text!r:.60}", remedy="use max, realtime or a factor such as 10x"
        )
    return factor


def pace(
    trades: Iterable[Trade],
    speed: float | None,
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], object],
) -> Iterator[Trade]:
    """Yield the trades no earlier than at their own times, played ``speed`` times as fast.

    Times count from the first trade. A reader that is behind gets the trades without waiting until
    it has caught up. A trade that is older than the previous one is also returned without waiting.

    Args:
        speed: None for no waiting at all.
        clock: seconds, such as ``time.monotonic``.
        sleep: waits for the seconds given.
    """
    if speed is None:
        yield from trades
        return
    start: tuple[float, int] | None = None
    for trade in trades:
        if start is None:
            start = clock(), trade.time
        started, first_time = start
        wait = started + (trade.time - first_time) / 1000 / speed - clock()
        if wait > 0:
            sleep(wait)
        yield trade
