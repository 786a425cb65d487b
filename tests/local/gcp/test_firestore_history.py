"""How far back the history of a database reaches, and what a restart keeps of it."""

import pytest

from mcloud.local.gcp import firestore_history
from mcloud.local.gcp.firestore import Firestore
from mcloud.local.gcp.firestore_documents import Documents
from mcloud.local.gcp.firestore_history import KEPT_MICROSECONDS, DocumentChange, DocumentHistory
from mcloud.local.gcp.firestore_protos import Document
from mcloud.local.gcp.rpc import Refusal

START = KEPT_MICROSECONDS * 10
NAME = "projects/p/databases/d/documents/rows/a"


class Written:
    """One document that is written again and again."""

    def __init__(self) -> None:
        self.documents = Documents()
        self.history = DocumentHistory()

    def write(self, text: str, time: int) -> None:
        document = Document(name=NAME)
        document.fields["text"].string_value = text
        change = DocumentChange(time, "rows", "a", self.documents.get("rows", "a"))
        self.documents.put("rows", "a", document)
        self.history.add([change], time)

    def text(self, time: int, now: int) -> str | None:
        document = self.history.at(self.documents, time, now).get("rows", "a")
        return None if document is None else str(document.fields["text"].string_value)


def test_each_version_of_the_past_hour() -> None:
    written = Written()
    for number in range(5):
        written.write(str(number), START + number * 10)
    now = START + KEPT_MICROSECONDS
    assert [written.text(START + at, now) for at in (0, 9, 10, 40)] == ["0", "0", "1", "4"]
    with pytest.raises(Refusal, match="too old"):
        written.text(START - 1, now)
    with pytest.raises(Refusal, match="too old"):
        written.text(START, now + 1)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firestore_history, "KEPT_BYTES", 10_000)
    written = Written()
    for number in range(100):
        written.write(f"{number:01000}", START + number)
    now = START + 100
    assert sum(change.size() for change in written.history._changes) <= 10_000
    assert written.text(START + 95, now) == f"{95:01000}"
    with pytest.raises(Refusal, match="too old"):
        written.text(START + 50, now)


def test_the_history_before_a_restart_is_unknown() -> None:
    nanoseconds = START * 1_000
    before = Firestore(lambda: nanoseconds)
    database = before._database("projects/p/databases/d")
    document = Document(name=NAME)
    database.documents.put("rows", "a", document)
    before._last_time = START
    after = Firestore(lambda: nanoseconds)
    after.load(before.dump())
    history = after._database("projects/p/databases/d").history
    assert history.has(START, START)
    assert not history.has(START - 1, START)
