"""The scope of a replication: candles, raw trades or both, of all symbols or some."""

from dataclasses import dataclass

from mcloud.errors import UsageError
from mcloud.market.shard import WHOLE, Shard
from mcloud.market.trade import capitals, is_reserved

WHAT = ("candles", "raw")


@dataclass(frozen=True)
class Scope:
    """The data and the symbols that a command copies or compares."""

    what: frozenset[str] = frozenset(WHAT)
    symbols: frozenset[str] | None = None
    """Symbols in the scope; None stands for all."""
    shard: Shard = WHOLE

    @classmethod
    def parse(cls, what: str, symbols: str | None, shard: str | None) -> "Scope":
        """Parse the options of a command line.

        Raises:
            UsageError: an option is invalid.
        """
        wanted = frozenset(what.replace(",", " ").split())
        if not wanted or wanted - set(WHAT):
            raise UsageError(
                f"unknown kind of data {what!r:.100}; choose from {', '.join(WHAT)}, or use"
                f" {','.join(WHAT)} for both"
            )
        names = frozenset(map(capitals, symbols.replace(",", " ").split())) if symbols else None
        if symbols and not names:
            raise UsageError(f"no symbol in {symbols!r}; separate symbols with commas")
        try:
            return cls(wanted, names, Shard.parse(shard) if shard else WHOLE)
        except ValueError as error:
            raise UsageError(str(error)) from None

    @property
    def candles(self) -> bool:
        return "candles" in self.what

    @property
    def raw(self) -> bool:
        return "raw" in self.what

    @property
    def part(self) -> str:
        """The shard as text: ``all``, or for example ``2/4``."""
        return "all" if self.shard.of == 1 else str(self.shard)

    def has(self, symbol: str) -> bool:
        is_named = self.symbols is None or symbol in self.symbols
        if is_reserved(symbol):
            return False
        return is_named and self.shard.has(symbol)

    def __str__(self) -> str:
        names = "all symbols" if self.symbols is None else " ".join(sorted(self.symbols))
        return f"{' '.join(sorted(self.what))} of {names}, shard {self.part}"
