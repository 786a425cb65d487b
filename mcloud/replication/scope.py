"""The scope of a replication: candles, raw trades or both, of all symbols or some."""

import zlib
from dataclasses import dataclass

from mcloud.errors import UsageError
from mcloud.market.trade import capitals, is_reserved

WHAT = ("candles", "raw")


@dataclass(frozen=True)
class Scope:
    what: frozenset[str] = frozenset(WHAT)
    symbols: frozenset[str] | None = None
    """Symbols in the scope; None stands for all."""
    shard: tuple[int, int] = (0, 1)
    """Number of the shard, from 0, and number of shards. A hash of the symbol assigns symbols to
    shards, as in producers."""

    @classmethod
    def parse(cls, what: str, symbols: str | None, shard: str | None) -> "Scope":
        """Parse the options of a command line.

        Raises:
            UsageError: an option is invalid.
        """
        wanted = frozenset(what.replace(",", " ").split())
        if not wanted or wanted - set(WHAT):
            raise UsageError(f"cannot replicate {what!r}; choose from {', '.join(WHAT)}")
        names = frozenset(map(capitals, symbols.replace(",", " ").split())) if symbols else None
        if symbols and not names:
            raise UsageError(f"no symbol in {symbols!r}; separate symbols with commas")
        number, _, of = (shard or "1/1").partition("/")
        if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise UsageError(f"invalid shard {shard!r}; use one such as 2/4, the second of four")
        return cls(wanted, names, (int(number) - 1, int(of)))

    @property
    def candles(self) -> bool:
        return "candles" in self.what

    @property
    def raw(self) -> bool:
        return "raw" in self.what

    @property
    def part(self) -> str:
        """The shard as text: ``all``, or for example ``2/4``."""
        number, of = self.shard
        return "all" if of == 1 else f"{number + 1}/{of}"

    def has(self, symbol: str) -> bool:
        number, of = self.shard
        is_named = self.symbols is None or symbol in self.symbols
        if is_reserved(symbol):
            return False
        return is_named and zlib.crc32(symbol.encode()) % of == number

    def __str__(self) -> str:
        names = "all symbols" if self.symbols is None else " ".join(sorted(self.symbols))
        return f"{' '.join(sorted(self.what))} of {names}, shard {self.part}"
