"""Which shards of a DynamoDB stream to read, and how far each has been read.

Shards come and go: each is open for some hours, then closed and followed by its children, and stays
listed for a day. An item's changes lie in one shard and go on in its children, so a parent is read
to its end before its children begin. Nothing here talks to AWS.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from mcloud import documents
from mcloud.documents import read_text
from mcloud.errors import Damaged, Trimmed

State = str | None
"""The last sequence number that was read of a shard, BEGINNING, or FINISHED."""

BEGINNING = ""
FINISHED = None


class Shard(NamedTuple):
    id: str
    parent: str
    """Empty where there is none."""
    is_closed: bool


class Position(NamedTuple):
    stream: str
    """Its ARN; a table whose stream is switched off and on again has another one."""
    as_of: float
    """What changed before this moment was read, seconds since 1970."""
    shards: Mapping[str, State]

    def to_text(self) -> str:
        return json.dumps(self._asdict(), separators=(",", ":"))


def parse(text: str) -> Position:
    """The position that ``to_text`` wrote; errors.Damaged for another text."""
    position = read_text(Position, text, "the position")
    if isinstance(position, documents.Damaged):
        raise Damaged(f"not a position in a DynamoDB stream: {position.what}")
    return position


def begin(listed: Sequence[Shard]) -> dict[str, State]:
    """Where to begin so that no change from now on is missed.

    A closed shard gets no more of them. An open one is read whole: where it ends now, nobody tells.
    """
    return {shard.id: FINISHED if shard.is_closed else BEGINNING for shard in listed}


def follow(known: Mapping[str, State], listed: Sequence[Shard]) -> dict[str, State]:
    """The state of every listed shard; new ones are read from their beginning.

    Raises:
        Trimmed: a shard is gone that was not read to its end.
    """
    ids = {shard.id for shard in listed}
    lost = sorted(id_ for id_, state in known.items() if state is not FINISHED and id_ not in ids)
    if lost:
        raise Trimmed(f"the stream has dropped {lost[0]}, which was not read to its end")
    return {id_: known.get(id_, BEGINNING) for id_ in ids}


def readable(states: Mapping[str, State], listed: Iterable[Shard]) -> list[str]:
    """The shards that may be read now, in the order of the list."""
    return [
        shard.id
        for shard in listed
        if states[shard.id] is not FINISHED and states.get(shard.parent, FINISHED) is FINISHED
    ]


def awaits_children(states: Mapping[str, State], listed: Sequence[Shard]) -> bool:
    """Whether a shard was read to its end and what follows it is not listed yet."""
    parents = {shard.parent for shard in listed}
    return any(states[shard.id] is FINISHED and shard.id not in parents for shard in listed)
