"""An exchange that counts the trades of a symbol anew: what comes then looks like a repeat.

Binance's test network does so about once a month, and so may any that is set up again. Nothing can
be made of such trades here, since their ids are those of others; but nobody should have to find out
by himself that nothing is kept any more.
"""

from collections.abc import Sequence

from mcloud.market.trade import Trade

LONG = 60_000  # ms of trade time; repeats come within seconds


class IdReset:
    """Judges what a cursor dropped: a repeat is no newer than the newest trade that was new."""

    def __init__(self) -> None:
        self._newest: dict[str, int] = {}
        """Trade time of the newest trade that was taken, by symbol, ms."""
        self._dropped: dict[str, Trade] = {}
        """The first that was newer and dropped since."""
        self._symbols: set[str] = set()

    @property
    def problem(self) -> str:
        """What is lost and why, or empty."""
        if not self._symbols:
            return ""
        names = ", ".join(sorted(self._symbols))
        return (
            f"trades of {names} are dropped: their ids belong to earlier trades, as if the exchange"
            " had started to count again; start a producer with another --name"
        )

    def look(self, came: Sequence[Trade], taken: Sequence[Trade]) -> None:
        """Of the trades that came a cursor has taken these; the others are dropped."""
        for symbol, time in {trade.symbol: trade.time for trade in taken}.items():
            self._newest[symbol] = max(time, self._newest.get(symbol, 0))
            self._dropped.pop(symbol, None)
            self._symbols.discard(symbol)
        if len(taken) == len(came):
            return
        new = set(taken)
        for trade in came:
            if trade not in new and trade.time > self._newest.get(trade.symbol, 0):
                first = self._dropped.setdefault(trade.symbol, trade)
                if trade.time - first.time >= LONG:
                    self._symbols.add(trade.symbol)
