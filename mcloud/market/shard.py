"""A share of the symbols, so that several producers or replicators divide them among themselves."""

import zlib
from typing import NamedTuple, Self


class Shard(NamedTuple):
    """One of several shards. A hash of its name puts each symbol into exactly one of them."""

    number: int = 0
    """Counted from 0."""
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a text such as ``2/4``, the second of four.

        Raises:
            ValueError: the text is not a shard; the message is for the user.
        """
        number, _, of = text.partition("/")
        if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise ValueError(f"invalid shard {text!r}; use one such as 2/4, the second of four")
        return cls(int(number) - 1, int(of))

    def has(self, symbol: str) -> bool:
        """Return whether a symbol belongs to the shard."""
        return zlib.crc32(symbol.encode()) % self.of == self.number

    def __str__(self) -> str:
        return f"{self.number + 1}/{self.of}"


WHOLE = Shard()
"""The only shard of all symbols."""
