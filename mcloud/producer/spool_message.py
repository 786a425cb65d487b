"""One message of the spool: as it comes, as it lies there, and as it goes."""

import json
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple, Self

from mcloud.market.envelope import Message


@dataclass(frozen=True, slots=True)
class SpoolEntry:
    """A message to write, and who shall get it."""

    message: Message
    symbol: str
    first_id: int
    last_id: int
    count: int
    """Trades."""
    received_at: int
    """When the first of its trades came, ms since 1970."""
    sites: frozenset[str]

    @classmethod
    def of(cls, message: Message, *, received_at: int, sites: Collection[str]) -> Self:
        """From a message that ``mcloud.market.envelope.encode`` made."""
        attributes = message.attributes
        return cls(
            message,
            attributes["symbol"],
            int(attributes["first_id"]),
            int(attributes["last_id"]),
            int(attributes["count"]),
            received_at,
            frozenset(sites),
        )


@dataclass(frozen=True, slots=True)
class Spooled:
    """A message that was taken for a site, to be settled or released by its id."""

    id: int
    message: Message
    count: int
    """Trades."""
    received_at: int
    """ms since 1970."""


class MessageRow(NamedTuple):
    id: int
    """Ascends in the order of writing for as long as the file is open."""
    symbol: str
    first_id: int
    last_id: int
    trades: int
    received_at: int
    attributes: str
    """JSON."""
    body: bytes

    @classmethod
    def of(cls, id_: int, entry: SpoolEntry) -> Self:
        return cls(
            id_,
            entry.symbol,
            entry.first_id,
            entry.last_id,
            entry.count,
            entry.received_at,
            json.dumps(entry.message.attributes),
            entry.message.body.encode("ascii"),
        )

    def spooled(self) -> Spooled:
        message = Message(self.body.decode("ascii"), json.loads(self.attributes))
        return Spooled(self.id, message, self.trades, self.received_at)

    @property
    def digest(self) -> int:
        """Of all fields."""
        return zlib.crc32(self.body, zlib.crc32(ascii(self[:-1]).encode()))
