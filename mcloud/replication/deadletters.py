"""Read dead letters, explain why they failed, and redrive or drop them."""

import base64
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from mcloud import files
from mcloud.clouds.ports import DeadLetter, Logs, Queue
from mcloud.documents import encode
from mcloud.errors import McloudError
from mcloud.market.envelope import Envelope, Malformed, Message, decode

BATCH = 100  # letters taken at a time

EXPLAINED = 20  # maximum number of letters to search the log for
AT_ONCE = 5  # searches at the same time
SHOWN = 200  # bytes of a body that cannot be read
LOGGED = 4 * 86_400.0  # seconds of the log to search; a message becomes a dead letter within hours
REFUSED = "refused a message"  # the message that the functions log

# Attribute with the id of the `redrive` run that sent a message. A letter with it has failed again.
MARK = "redriven"
# Prefix of the attributes that Pub/Sub adds to a letter.
_FOREIGN = "CloudPubSub"


@dataclass(frozen=True)
class Letter:
    """A dead letter and its decoded body."""

    letter: DeadLetter
    envelope: Envelope | None
    reason: str
    """Reason why the message can never be processed; empty if the message can be read."""
    refusal: str = ""
    """Reason from the function's log, for a message that can be read; see ``explain``."""

    @property
    def has_come_back(self) -> bool:
        """Whether the message was redriven before."""
        return MARK in self.letter.attributes

    @property
    def plain_body(self) -> str:
        """The start of the body, without control characters."""
        return repr(self.letter.body[:SHOWN])[1:]

    @property
    def document(self) -> "LetterDocument":
        streams = dict(self.envelope.by_symbol) if self.envelope else {}
        only = next(iter(streams.items())) if len(streams) == 1 else None
        return LetterDocument(
            id=self.letter.id,
            symbol=only[0] if only else None,
            first_id=only[1][0].id if only else None,
            last_id=only[1][-1].id if only else None,
            symbols=tuple(streams),
            trades=sum(map(len, streams.values())),
            bytes=len(self.letter.body),
            deliveries=self.letter.deliveries,
            has_come_back=self.has_come_back,
            readable=self.envelope is not None,
            reason=self.reason or self.refusal,
            attributes=self.letter.attributes,
        )


@dataclass(frozen=True)
class LetterDocument:
    """A dead letter as JSON."""

    id: str
    symbol: str | None
    """Symbol of its trades. None, as for the ids, if it cannot be read or has several symbols."""
    first_id: int | None
    last_id: int | None
    symbols: tuple[str, ...]
    trades: int
    bytes: int
    """Size of its body."""
    deliveries: int | None
    """Number of deliveries before it became a dead letter. None if the queue does not report it."""
    has_come_back: bool
    readable: bool
    reason: str
    """Known reason why it is a dead letter."""
    attributes: Mapping[str, str]


@dataclass(frozen=True)
class SavedLetter:
    """A line of the file with the dead letters that were dropped."""

    id: str
    attributes: Mapping[str, str]
    body_base64: str


@dataclass
class Redriven:
    sent: list[str] = field(default_factory=list)
    """Ids of the letters that were sent to the queue."""
    unreadable: list[str] = field(default_factory=list)
    """Ids of the letters that were not sent, since they would only fail again."""
    came_back: list[str] = field(default_factory=list)
    """Ids of the letters that this run sent and that became dead letters again."""
    refused: dict[str, str] = field(default_factory=dict)
    """Reasons why the queue refused letters, by id. These stay dead letters."""


def read(letter: DeadLetter) -> Letter:
    """Decode a letter. If it cannot be decoded, its reason is the error of the function."""
    try:
        return Letter(letter, decode(letter.body, letter.attributes), "")
    except Malformed as error:
        return Letter(letter, None, str(error))


def explain(letters: Sequence[Letter], logs: Logs, *, now: float) -> list[Letter]:
    """Add the reasons from the function's log of the last days to letters that can be read.

    The log is searched for the first ``EXPLAINED`` of them, several at a time. The other letters
    are returned unchanged.
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
        return "the function stored its trades, but could not acknowledge the message"
    return (
        "the function's log does not mention it: every attempt ran out of time or memory, or the"
        " function was unavailable"
    )


@dataclass(frozen=True)
class Unseen:
    """Dead letters that the queue or the metrics service counted, and that could not be read."""

    count: int
    as_of: float
    """Time of the count, in seconds since 1970."""


def unseen(queue: Queue, seen: int) -> Unseen | None:
    """Return the dead letters that were not read, or None if there are none or it is unknown.

    Another reader may hold them, or the queue may not have delivered them. Letters that left the
    queue since the count are counted, too.
    """
    depth = queue.dead_letter_depth()
    if depth.ready is None:
        return None
    count = depth.ready + (depth.in_flight or 0) - seen
    return Unseen(count, depth.as_of) if count > 0 else None


def redrive(
    queue: Queue,
    *,
    limit: int | None = None,
    unreadable: bool = False,
    tell: Callable[[int], None] = lambda sent: None,
) -> Redriven:
    """Send dead letters to the queue again.

    A letter is deleted after the queue has accepted its message. A crash in between leaves both:
    the letter becomes visible again later, and sending its trades twice changes nothing.

    Args:
        limit: maximum number of letters to send.
        unreadable: also send letters that cannot be processed as they are.
        tell: called with the number of letters sent so far.
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
        # The remaining letters were hidden until now, so that none was taken twice.
        queue.release_dead_letters(held)
    return done


def drop(queue: Queue, count: int, path: Path) -> int:
    """Delete up to ``count`` dead letters, after writing them to ``path`` as JSON lines.

    Return the number of deleted letters. The file is synced to disk before letters are deleted.
    """
    dropped = 0
    files.make_private(path.parent)
    while dropped < count:
        taken = queue.take_dead_letters(min(BATCH, count - dropped))
        if not taken:
            break
        try:
            files.append(path, "".join(f"{json.dumps(encode(_saved(each)))}\n" for each in taken))
        except McloudError as error:
            queue.release_dead_letters(taken)
            raise McloudError(
                f"{error.message}; {dropped} letters are saved in it and deleted, the others are"
                " still dead letters",
                remedy=error.remedy,
            ) from error
        queue.delete_dead_letters(taken)
        dropped += len(taken)
    return dropped


def _send(
    queue: Queue, letters: Sequence[DeadLetter], run: str, done: Redriven
) -> list[DeadLetter]:
    """Send letters, and return those that the queue accepted."""
    messages = []
    sendable = []
    for letter in letters:
        try:
            messages.append(Message(letter.body.decode("ascii"), _attributes(letter, run)))
        except UnicodeDecodeError:
            done.refused[letter.id] = "its body is not ASCII text, so no queue accepts it; drop it"
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


def _saved(letter: DeadLetter) -> SavedLetter:
    body = base64.b64encode(letter.body).decode("ascii")
    return SavedLetter(letter.id, letter.attributes, body)
