"""Dead letters: none is lost on the way, and none is redriven forever."""

import base64
import json
import resource
from collections.abc import Sequence
from pathlib import Path

import pytest

from mcloud import documents
from mcloud.clouds.ports import DeadLetter, Depth, LogLine, Unsent
from mcloud.errors import McloudError, Unavailable
from mcloud.feed.simulate import Simulate
from mcloud.market.envelope import Message, encode
from mcloud.replication.deadletters import MARK, drop, explain, read, redrive

GOOD = encode(list(Simulate(["BTCUSDT"], seed=1, start_time=1_735_775_880_000, count=5)))


class Letters:
    """A dead-letter queue that hides taken letters, and a queue that may refuse messages."""

    def __init__(self, *messages: Message, bounce: bool = False) -> None:
        self.visible: dict[str, DeadLetter] = {}
        self.hidden: dict[str, DeadLetter] = {}
        self.sent: list[Message] = []
        self.refuses: list[Unsent] = []
        self.breaks: Exception | None = None
        self._bounce = bounce
        for message in messages:
            self._bury(message)

    def _bury(self, message: Message) -> None:
        name = f"m{len(self.visible) + len(self.hidden) + len(self.sent)}"
        self.visible[name] = DeadLetter(
            name, f"receipt-{name}", message.body.encode(), message.attributes, 3
        )

    def send(self, messages: Sequence[Message]) -> list[Unsent]:
        if self.breaks:
            raise self.breaks
        refused = {each.index for each in self.refuses}
        taken = [each for index, each in enumerate(messages) if index not in refused]
        self.sent += taken
        for message in taken if self._bounce else ():
            self._bury(message)
        return self.refuses

    def depth(self) -> Depth:
        return Depth(0, 0, 0.0)

    def dead_letter_depth(self) -> Depth:
        return Depth(len(self.visible), len(self.hidden), 0.0)

    def dead_letters(self, limit: int) -> list[DeadLetter]:
        return list(self.visible.values())[:limit]

    def take_dead_letters(self, limit: int) -> list[DeadLetter]:
        taken = self.dead_letters(limit)
        for letter in taken:
            self.hidden[letter.id] = self.visible.pop(letter.id)
        return taken

    def delete_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        for letter in letters:
            del self.hidden[letter.id]

    def release_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        for letter in letters:
            self.visible[letter.id] = self.hidden.pop(letter.id)


def test_a_letter_shows_its_trades_or_its_error() -> None:
    queue = Letters(GOOD, Message("junk"))
    good, bad = map(read, queue.dead_letters(10))
    assert (good.reason, len(good.envelope.trades if good.envelope else ())) == ("", 5)
    assert bad.reason == "neither JSON nor base64 of zlib"
    assert good.document.trades == 5
    assert bad.document.symbol is None


def test_programs_get_everything_of_a_letter() -> None:
    letter = DeadLetter("m0", "r0", GOOD.body.encode("ascii"), GOOD.attributes, 5)
    assert json.dumps(documents.encode(read(letter).document)) == json.dumps(
        {
            "id": "m0",
            "symbol": "BTCUSDT",
            "first_id": 2_085_380_345,
            "last_id": 2_085_380_349,
            "symbols": ["BTCUSDT"],
            "trades": 5,
            "bytes": len(GOOD.body),
            "deliveries": 5,
            "has_come_back": False,
            "readable": True,
            "reason": "",
            "attributes": GOOD.attributes,
        }
    )


def test_redrive_sends_what_can_be_read_and_leaves_the_rest_visible() -> None:
    queue = Letters(GOOD, Message("junk"), GOOD)
    done = redrive(queue)
    assert (done.sent, done.unreadable) == (["m0", "m2"], ["m1"])
    assert [message.body for message in queue.sent] == [GOOD.body] * 2
    assert (list(queue.visible), queue.hidden) == (["m1"], {})


def test_redrive_keeps_the_messages_own_attributes() -> None:
    (letter,) = Letters(GOOD).visible.values()
    queue = Letters()
    added = {"CloudPubSubDeadLetterSourceDeliveryCount": "5"}
    queue.visible["m0"] = DeadLetter("m0", "r", letter.body, {**GOOD.attributes, **added}, 5)
    redrive(queue)
    (sent,) = queue.sent
    assert {k: v for k, v in sent.attributes.items() if k != MARK} == GOOD.attributes


def test_redrive_ends_if_letters_return_as_fast_as_they_are_sent() -> None:
    queue = Letters(GOOD, GOOD, bounce=True)
    done = redrive(queue)
    assert len(done.sent) == 2
    assert len(done.came_back) == 2
    assert len(queue.visible) == 2
    assert all(read(letter).has_come_back for letter in queue.visible.values())


def test_another_redrive_sends_them_again() -> None:
    queue = Letters(GOOD, bounce=True)
    redrive(queue)
    assert len(redrive(queue).sent) == 1


def test_a_limit_is_kept() -> None:
    queue = Letters(*[GOOD] * 250)
    assert len(redrive(queue, limit=120).sent) == 120
    assert (len(queue.visible), len(queue.hidden)) == (130, 0)


def test_letters_that_the_queue_refuses_stay() -> None:
    queue = Letters(GOOD, GOOD)
    queue.refuses = [Unsent(1, "InternalError", permanent=False)]
    done = redrive(queue)
    assert (done.sent, done.refused) == (["m0"], {"m1": "InternalError"})
    assert list(queue.visible) == ["m1"]


def test_nothing_is_lost_if_the_queue_does_not_answer() -> None:
    queue = Letters(GOOD, GOOD)
    queue.breaks = Unavailable("SQS: no answer")
    with pytest.raises(Unavailable):
        redrive(queue)
    assert sorted(queue.visible) == ["m0", "m1"]


def test_drop_writes_first_and_deletes_no_more_than_was_counted(tmp_path: Path) -> None:
    queue = Letters(GOOD, Message("junk"), GOOD)
    path = tmp_path / "dropped" / "aws.jsonl"
    assert drop(queue, 2, path) == 2
    assert list(queue.visible) == ["m2"]
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [base64.b64decode(row["body_base64"]).decode() for row in rows] == [GOOD.body, "junk"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_drop_returns_the_number_of_deleted_letters(tmp_path: Path) -> None:
    assert drop(Letters(GOOD), 5, tmp_path / "dropped.jsonl") == 1


def test_only_written_letters_are_dropped(tmp_path: Path) -> None:
    queue = Letters(GOOD)
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(McloudError, match="cannot be written"):
        drop(queue, 1, full)
    assert list(queue.visible) == ["m0"]


def test_a_dead_letter_that_was_written_incompletely_is_not_deleted(tmp_path: Path) -> None:
    """A disk that becomes full accepts the first part of a line without an error."""
    queue = Letters(GOOD)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, hard))
    try:
        with pytest.raises(McloudError, match="cannot be written"):
            drop(queue, 1, tmp_path / "dropped.jsonl")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(queue.visible) == ["m0"]


class Log:
    """The function's log. ``find`` returns all lines or fails."""

    def __init__(self, *lines: LogLine | McloudError) -> None:
        self._lines = lines

    def find(self, symbol: str, trade_id: int, start: float, end: float) -> list[LogLine]:
        assert (symbol, end) == ("BTCUSDT", 1_000_000.0)
        for line in self._lines:
            if isinstance(line, McloudError):
                raise line
        return [line for line in self._lines if isinstance(line, LogLine)]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (
            [LogLine(1.0, "refused a message", {"reason": "volumes beyond 38 digits"})],
            "the function refused it: volumes beyond 38 digits",
        ),
        ([LogLine(1.0, "stored", {})], "the function stored its trades"),
        ([], "ran out of time or memory, or the function was unavailable"),
        ([Unavailable("no answer")], "the function's log cannot be read: no answer"),
    ],
)
def test_the_reason_of_a_readable_dead_letter_comes_from_the_log(
    lines: list[LogLine | McloudError], reason: str
) -> None:
    letters = [read(each) for each in Letters(GOOD, Message("junk")).dead_letters(10)]
    good, bad = explain(letters, Log(*lines), now=1_000_000.0)
    assert reason in good.document.reason
    assert bad.document.reason == "neither JSON nor base64 of zlib"
    assert (good.document.readable, bad.document.readable) == (True, False)


def test_a_letter_of_several_symbols_names_them_all() -> None:
    trades = [
        *Simulate(["BTCUSDT.um"], seed=1, start_time=1_735_775_880_000, count=5),
        *Simulate(["ETHUSDT"], seed=1, start_time=1_735_775_880_000, count=2),
    ]
    (letter,) = map(read, Letters(encode(trades)).dead_letters(10))
    shown = letter.document
    assert (shown.symbol, shown.symbols) == (None, ("BTCUSDT.um", "ETHUSDT"))
    assert shown.trades == 7
