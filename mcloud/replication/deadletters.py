"""Dead letters: what could not be processed, why, and what becomes of it."""

import base64
import errno
import json
import os
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from mcloud.clouds.ports import DeadLetter, Logs, Queue
from mcloud.errors import McloudError
from mcloud.files import make_private
from mcloud.market.envelope import Envelope, Malformed, Message, decode

BATCH = 100  # letters taken at a time

EXPLAINED = 20  # letters that the log is searched for
AT_ONCE = 5  # searches
LOGGED = 4 * 86_400.0  # seconds of the log that are searched; a letter dies within hours
REFUSED = "refused a message"  # as the functions write it

# Which run of `redrive` sent a message: a letter that has it has come back.
MARK = "redriven"
# What Pub/Sub adds to a letter; it is not the message's own.
_FOREIGN = "CloudPubSub"


@dataclass(frozen=True)
class Letter:
    """A dead letter, and what its body says."""

    letter: DeadLetter
    envelope: Envelope | None
    reason: str
    """Why it can never be processed; empty where it can be read, and something else went wrong."""
    refusal: str = ""
    """Reason in the function's log, for a message that can be read; see ``explain``."""

    @property
    def has_come_back(self) -> bool:
        """True where it was sent to the queue again before."""
        return MARK in self.letter.attributes

    def to_json(self) -> dict[str, Any]:
        streams = dict(self.envelope.by_symbol) if self.envelope else {}
        only = next(iter(streams.items())) if len(streams) == 1 else None
        return {
            "id": self.letter.id,
            "symbol": only[0] if only else None,
            "first_id": only[1][0].id if only else None,
            "last_id": only[1][-1].id if only else None,
            "symbols": list(streams),
            "trades": sum(map(len, streams.values())),
            "bytes": len(self.letter.body),
            "deliveries": self.letter.deliveries,
            "has_come_back": self.has_come_back,
            "readable": self.envelope is not None,
            "reason": self.reason or self.refusal,
            "attributes": self.letter.attributes,
        }


@dataclass
class Redriven:
    sent: list[str] = field(default_factory=list)
    """Ids of the letters that are in the queue again."""
    unreadable: list[str] = field(default_factory=list)
    """Left where they were, since they would only come back."""
    came_back: list[str] = field(default_factory=list)
    """Sent by this very run, and dead again."""
    refused: dict[str, str] = field(default_factory=dict)
    """By id: why the queue did not take it; it stays a dead letter."""


def read(letter: DeadLetter) -> Letter:
    """Tell whether a letter can be processed, in the words of the function that refused it."""
    try:
        return Letter(letter, decode(letter.body, letter.attributes), "")
    except Malformed as error:
        return Letter(letter, None, str(error))


def explain(letters: Sequence[Letter], logs: Logs, *, now: float) -> list[Letter]:
    """Add to letters that can be read what the function's log of the last days says of them.

    At most ``EXPLAINED`` are looked for, side by side. The others stay as they are.
    """
    readable = [each for each in letters if each.envelope is not None][:EXPLAINED]
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        refusals = pool.map(partial(_refusal, logs=logs, now=now), readable)
        said = {each.letter.id: why for each, why in zip(readable, refusals, strict=True)}
    return [replace(each, refusal=said.get(each.letter.id, "")) for each in letters]


def _refusal(letter: Letter, logs: Logs, now: float) -> str:
    assert letter.envelope is not None
    first = letter.envelope.trades[0]
    try:
        lines = logs.find(first.symbol, first.id, now - LOGGED, now)
    except McloudError as error:
        return f"the function's log cannot be read: {error}"
    if lines and lines[-1].message == REFUSED:
        return f"the function refused it: {lines[-1].fields.get('reason', 'no reason is given')}"
    if lines:
        return "the function has stored its trades, and did not get to say so to the queue"
    return (
        "the function's log does not name it: each try ran out of time or memory, or the function"
        " was away"
    )


def redrive(
    queue: Queue,
    *,
    limit: int | None = None,
    unreadable: bool = False,
    tell: Callable[[int], None] = lambda sent: None,
) -> Redriven:
    """Send dead letters to the queue again.

    A letter is deleted after the queue took its message. A crash in between leaves both: the letter
    shows up again after its hold, and its trades, sent twice, change nothing.

    Args:
        limit: send no more than so many.
        unreadable: also those that cannot be processed as they are.
        tell: called with the number sent so far.
    """
    run = uuid.uuid4().hex[:8]
    done = Redriven()
    held: list[DeadLetter] = []
    try:
        while limit is None or len(done.sent) < limit:
            wanted = BATCH if limit is None else min(BATCH, limit - len(done.sent))
            taken = queue.take_dead_letters(wanted)
            if not taken:
                break
            held += taken
            chosen = []
            for letter in map(read, taken):
                if letter.letter.attributes.get(MARK) == run:
                    done.came_back.append(letter.letter.id)
                elif letter.reason and not unreadable:
                    done.unreadable.append(letter.letter.id)
                else:
                    chosen.append(letter.letter)
            sent = _send(queue, chosen, run, done)
            queue.delete_dead_letters(sent)
            gone = {letter.receipt for letter in sent}
            held = [letter for letter in held if letter.receipt not in gone]
            tell(len(done.sent))
    finally:
        # Those that stay were hidden all the while, so that none was taken twice.
        queue.release_dead_letters(held)
    return done


def drop(queue: Queue, count: int, path: Path) -> int:
    """Delete up to ``count`` dead letters, after writing them to ``path`` as JSON lines.

    Returns how many there were. What the file holds is on the disk before anything is deleted.
    """
    dropped = 0
    make_private(path.parent)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    # Unbuffered: what a full disk refused must not be tried again when the file is closed.
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        while dropped < count:
            taken = queue.take_dead_letters(min(BATCH, count - dropped))
            if not taken:
                break
            try:
                for letter in taken:
                    line = f"{json.dumps(_saved(letter))}\n".encode()
                    if file.write(line) < len(line):  # the last bytes of a full disk
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(descriptor)
            except OSError as error:
                queue.release_dead_letters(taken)
                raise McloudError(
                    f"{path} cannot be written: {error}; {dropped} letters are in it and deleted, "
                    "the others are where they were"
                ) from error
            queue.delete_dead_letters(taken)
            dropped += len(taken)
    return dropped


def _send(
    queue: Queue, letters: Sequence[DeadLetter], run: str, done: Redriven
) -> list[DeadLetter]:
    """Send, and say which are in the queue now."""
    messages = []
    sendable = []
    for letter in letters:
        try:
            messages.append(Message(letter.body.decode("ascii"), _attributes(letter, run)))
        except UnicodeDecodeError:
            done.refused[letter.id] = "its body is no text that a queue takes; drop it"
            continue
        sendable.append(letter)
    refused = {each.index: each.reason for each in queue.send(messages)} if messages else {}
    sent = [letter for index, letter in enumerate(sendable) if index not in refused]
    done.refused |= {sendable[index].id: reason for index, reason in refused.items()}
    done.sent += [letter.id for letter in sent]
    return sent


def _attributes(letter: DeadLetter, run: str) -> dict[str, str]:
    own = {k: v for k, v in letter.attributes.items() if not k.startswith(_FOREIGN)}
    return {**own, MARK: run}


def _saved(letter: DeadLetter) -> dict[str, Any]:
    body = base64.b64encode(letter.body).decode("ascii")
    return {"id": letter.id, "attributes": letter.attributes, "body_base64": body}
