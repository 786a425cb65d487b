"""Raw archives, compared by the trades that they hold.

Not by names alone: the Lambda function archives a batch of messages, the Cloud Function each
message, so that two sites with the same trades have them in different objects. A key tells which
ids are inside; only an object with missing ids in between has to be read to know them.
"""

from collections.abc import Iterable
from typing import NamedTuple

from mcloud.clouds.ports import Archive, Stored
from mcloud.errors import Refused
from mcloud.market.archive import (
    ArchiveObject,
    BadArchive,
    is_intact,
    parse_key,
    prefix,
    unpack,
)
from mcloud.market.trade import Trade
from mcloud.replication.ids import Ids


class Copied(NamedTuple):
    objects: int
    bytes: int
    damaged: list[str]
    """Keys of the source whose content is not what they promise; these were not copied."""


def holdings(archive: Archive, symbol: str, hour: int) -> list[Stored]:
    """The objects of one hour (its start in ms) by key.

    Objects that somebody else put there are left out.
    """
    return [each for each in archive.list(prefix(symbol, hour)) if parse_key(each.key)]


def read(archive: Archive, key: str) -> list[Trade] | None:
    """The trades in an object; None where they are not what its key promises.

    The bytes may differ all the same: builds of zlib compress the same lines differently.
    """
    body = archive.get(key)
    try:
        return unpack(body) if is_intact(key, body) else None
    except BadArchive:
        return None


def ids_of(trades: Iterable[Trade]) -> Ids:
    return Ids((trade.id, trade.id) for trade in trades)


def coverage(archive: Archive, stored: Stored) -> Ids:
    """The ids that a key promises; none where its object must be read for that, and is damaged."""
    holding = parse_key(stored.key)
    if holding is None:
        return Ids()
    if holding.is_dense:
        return Ids([(holding.first_id, holding.last_id)])
    return ids_of(read(archive, stored.key) or ())


def covered(archive: Archive, objects: Iterable[Stored]) -> Ids:
    """The ids that some objects promise together."""
    ids = Ids()
    for stored in objects:
        ids.update(coverage(archive, stored))
    return ids


def lacking(source: Archive, target: Archive, symbol: str, hour: int) -> list[Stored]:
    """The source's objects of an hour that hold ids which the target lacks.

    With them come those that must be read for that and are damaged: ``copy`` names them.
    """
    theirs = holdings(source, symbol, hour)
    if not theirs:
        return []
    ours = holdings(target, symbol, hour)
    names = {stored.key for stored in ours}
    candidates = [stored for stored in theirs if stored.key not in names]
    if not candidates:
        return []
    have = covered(target, ours)
    ids = ((stored, coverage(source, stored)) for stored in candidates)
    return [stored for stored, held in ids if not held or held.minus(have)]


def copy(source: Archive, target: Archive, objects: Iterable[Stored]) -> Copied:
    """Copy objects, checked on the way; one that is there already is left alone.

    Raises:
        Refused: one of them, after all others are copied.
        McloudError: at once, where a site is away.
    """
    count = size = 0
    damaged = []
    refused = None
    for stored in objects:
        try:
            body = source.get(stored.key)
            if not is_intact(stored.key, body):
                damaged.append(stored.key)
            elif target.put(ArchiveObject(stored.key, body)):
                count, size = count + 1, size + len(body)
        except Refused as error:
            refused = refused or error
    if refused:
        raise refused
    return Copied(count, size, damaged)
