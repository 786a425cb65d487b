"""Choice of the shards of a DynamoDB stream to read, and the position in each.

A shard is open for some hours; then it is closed, its children follow it, and it stays listed for
a day. The changes of an item are in one shard and continue in its children, so a parent is read to
its end before its children. This module does not call AWS.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from mcloud.errors import Trimmed

State = str | None
"""Last sequence number read from a shard, or BEGINNING or FINISHED."""

BEGINNING = ""
FINISHED = None


class StreamShard(NamedTuple):
    id: str
    parent: str
    """ID of the parent shard; empty if there is none."""
    is_closed: bool


class ShardPosition(NamedTuple):
    stream: str
    """ARN of the stream. It changes when the stream of a table is switched off and on again."""
    as_of: float
    """Time before which all changes have been read, in seconds since 1970."""
    shards: Mapping[str, State]

    def to_text(self) -> str:
        return json.dumps(self._asdict(), separators=(",", ":"))


def begin(listed: Sequence[StreamShard]) -> dict[str, State]:
    """Return the states to start from so that no later change is missed.

    A closed shard gets no more changes. An open one is read from its beginning, because AWS does
    not report its current end.
    """
    return {shard.id: FINISHED if shard.is_closed else BEGINNING for shard in listed}


def follow(known: Mapping[str, State], listed: Sequence[StreamShard]) -> dict[str, State]:
    """Return the state of every listed shard; new shards are read from their beginning.

    Raises:
        Trimmed: a shard that was not read to its end is no longer listed.
    """
    ids = {shard.id for shard in listed}
    lost = sorted(id_ for id_, state in known.items() if state is not FINISHED and id_ not in ids)
    if lost:
        raise Trimmed(f"the stream has dropped {lost[0]}, which was not read to its end")
    return {id_: known.get(id_, BEGINNING) for id_ in ids}


def readable(states: Mapping[str, State], listed: Iterable[StreamShard]) -> list[str]:
    """Return the shards that can be read now, in the order of the list."""
    return [
        shard.id
        for shard in listed
        if states[shard.id] is not FINISHED and states.get(shard.parent, FINISHED) is FINISHED
    ]


def awaits_children(states: Mapping[str, State], listed: Sequence[StreamShard]) -> bool:
    """Return whether a shard was read to its end and its children are not listed yet."""
    parents = {shard.parent for shard in listed}
    return any(states[shard.id] is FINISHED and shard.id not in parents for shard in listed)
