"""Detection of an exchange that restarts the trade ids of a symbol, so that new trades look like
repeats.

The test network of Binance does this about once a month, and any exchange may do it after a
reinstallation. Such trades cannot be stored, because their ids belong to other trades, but the user
is warned that they are dropped.
"""

from collections.abc import Sequence

from mcloud.market.trade import Trade

LONG = 60_000  # ms of trade time; repeats arrive within seconds


class IdReset:
    """Checks the trades that a cursor dropped: a repeat is not newer than the newest admitted
    trade.
    """

    def __init__(self) -> None:
        self._newest: dict[str, int] = {}
        """Trade time of the newest admitted trade, in ms, by symbol."""
        self._dropped: dict[str, Trade] = {}
        """The first newer trade that was dropped, by symbol."""
        self._symbols: set[str] = set()

    @property
    def problem(self) -> str:
        """Return which trades are lost and why, or an empty text."""
        if not self._symbols:
            return ""
        names = ", ".join(sorted(self._symbols))
        return (
            f"trades of {names} are dropped: their ids belong to earlier trades, as if the exchange"
            " had started to count again; start a producer with another --name"
        )

    def compare(self, came: Sequence[Trade], taken: Sequence[Trade]) -> None:
        """Compare the received trades with those that the cursor has admitted."""
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
