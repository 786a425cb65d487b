"""A message of the spool, in its forms for writing, storing and sending."""

import json
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple, Self

from mcloud.market.envelope import Message


@dataclass(frozen=True, slots=True)
class SpoolEntry:
    """A message to write, with its sites."""

    message: Message
    symbol: str
    first_id: int
    last_id: int
    count: int
    """Number of trades."""
    received_at: int
    """Time when the first of its trades was received, in ms since 1970."""
    sites: frozenset[str]

    @classmethod
    def of(cls, message: Message, *, received_at: int, sites: Collection[str]) -> Self:
        """Return the entry of a message of ``mcloud.market.envelope.encode``."""
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
    """Number of trades."""
    received_at: int
    """Time when the first of its trades was received, in ms since 1970."""


class MessageRow(NamedTuple):
    id: int
    """Id that ascends in the order of writing as long as the file is open."""
    symbol: str
    first_id: int
    last_id: int
    trades: int
    received_at: int
    attributes: str
    """Attributes as JSON."""
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
        """Return the digest of all fields."""
        return zlib.crc32(self.body, zlib.crc32(ascii(self[:-1]).encode()))
