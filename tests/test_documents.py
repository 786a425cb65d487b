"""Decoding any stored document of any kind gives a dataclass or the reason why it cannot."""

import json
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from damage import damaged, texts
from hypothesis import given
from hypothesis import strategies as st
from states import GUARD, PRODUCER, REPLICATOR, WATCHER

from mcloud import documents
from mcloud.alerts.watch import FiringAlert
from mcloud.clouds.anomalies import ANOMALIES
from mcloud.clouds.aws.shards import ShardPosition
from mcloud.clouds.gcp.changes import QueryPosition
from mcloud.clouds.ports import ControlRecord, Heartbeat, Lag
from mcloud.clouds.positions import parse_position
from mcloud.documents import Damaged, decode, encode, load, parse, plain, read_file, set_aside
from mcloud.errors import McloudError
from mcloud.failover import debts, pause
from mcloud.failover.audit import ENTRIES, AuditEntry
from mcloud.failover.history import Kept as GuardDecision
from mcloud.failover.journal import Journal, MoveOrder, MoveProgress, read_journal
from mcloud.failover.statement import SiteStatement
from mcloud.local.outage import Outage
from mcloud.local.state import READY, Home, ServiceState
from mcloud.local.state import State as LocalState
from mcloud.notify.memory import SentMemory, read_told
from mcloud.producer.cursor import Hole, Position
from mcloud.producer.reported_state import ProducerState
from mcloud.producer.sender import SiteDelivery
from mcloud.replication.pair_state import Checkpoint
from mcloud.replication.progress import PairProgress
from mcloud.run_states import STATES

AT = 1_786_000_000.5
RECORD = ControlRecord(7, "aws", "manual", "why", "me", AT)
ORDER = MoveOrder("id", "gcp", "manual", "why", "me", AT, 6, "aws", forced=("lag",), lost=1.5)
RECORDED = {
    "record": asdict(RECORD),
    "begun": 0.1,
    "epoch": 7,
    "before": "aws",
    "is_moved": True,
    "is_ours": True,
    "away": {"aws": "it does not answer"},
}
JOURNAL = {
    "order": asdict(ORDER),
    "done": {
        "recovery": {
            "site": "gcp",
            "ok": True,
            "reason": "",
            "candles": 1,
            "objects": 2,
            "ids_missing": 0,
            "missing": {"BTCUSDT": [[1, 2]]},
            "seconds": 1.5,
        },
        "record": RECORDED,
        "debt": {"owed": ["aws"]},
        "arrival": {"arrived": 1.5, "follow": {"default": None}, "problem": ""},
    },
}
TOLD = {"oncall": {"k": {"state": "firing", "severity": "warning", "happened": AT, "at": AT}}}
ANOMALY = {
    "symbol": "BTCUSDT",
    "timestamp": "2024-08-08T23:54:00Z",
    "kind": "drift",
    "value": "1.5",
    "usual": "1",
    "change": "0.5",
    "score": "-9",
    "trades": 7,
    "complete": True,
}

EXAMPLES: dict[str, tuple[Any, Any]] = {
    "record": (ControlRecord, asdict(RECORD)),
    "heartbeat": (Heartbeat, asdict(Heartbeat("BTCUSDT", 1_723_161_255_342, 5, 1, AT))),
    "lag": (Lag, asdict(Lag("aws", "gcp", "1/2", 1.5, 3, None, 0, AT))),
    "pause": (
        pause.Pause,
        {"paused": True, "by": "me", "why": "", "at": AT, "written": 3},
    ),
    "debt": (
        debts.DebtNote,
        {
            "site": "gcp",
            "epoch": 4,
            "since": AT,
            "paid": False,
            "may_return": True,
            "over": False,
            "at": AT,
            "written": 1,
        },
    ),
    "audit": (ENTRIES.shape, asdict(AuditEntry("id", "move", "me", "why", AT, {}, {"record": {}}))),
    "anomaly": (ANOMALIES.shape, ANOMALY),
    "producer": (STATES["producer"], PRODUCER),
    "replicator": (STATES["replicator"], REPLICATOR),
    "guard": (STATES["guard"], GUARD),
    "watcher": (STATES["watcher"], WATCHER),
    "checkpoint": (Checkpoint, {"position": "p", "as_of": AT, "is_compared": True}),
    "positions": (
        tuple[Position, ...],
        [["BTCUSDT", 1, 9, [["BTCUSDT", 3, 4, 1_723_161_255_342, 1, "why"]]]],
    ),
    "outages": (tuple[Outage, ...], [asdict(Outage("aws", None, "hang", AT, None))]),
    "embedded clouds": (
        LocalState,
        asdict(LocalState(7, services={"aws": ServiceState("h:1")}, outputs={"aws": {"a": "b"}})),
    ),
}

KINDS = pytest.mark.parametrize("kind", EXAMPLES)


@KINDS
def test_written_documents_are_read_unchanged(kind: str) -> None:
    shape, example = EXAMPLES[kind]
    stored = json.loads(json.dumps(example))
    found = decode(shape, stored, "it")
    assert not isinstance(found, Damaged), found
    # Unknown fields of the same version are ignored.
    if isinstance(stored, dict):
        assert decode(shape, {**stored, "more": [1], "version": 1}, "it") == found


@KINDS
def test_read_documents_are_written_unchanged(kind: str) -> None:
    shape, example = EXAMPLES[kind]
    stored = json.loads(json.dumps(example))
    again = json.loads(json.dumps(encode(decode(shape, stored, "it"))))
    if isinstance(stored, dict):
        assert {name: again[name] for name in stored} == stored
        assert encode(decode(shape, again, "it")) == again
    else:
        assert decode(shape, again, "it") == decode(shape, stored, "it")


def test_the_document_of_a_journal_is_the_one_that_was_read(tmp_path: Path) -> None:
    path = tmp_path / "manual.json"
    for document in (JOURNAL, {**JOURNAL, "done": {**JOURNAL["done"], "recovery": {}}}):
        path.write_text(json.dumps(document))
        found = read_journal(path)
        assert isinstance(found, MoveProgress)
        assert json.loads(json.dumps(encode(found.document))) == json.loads(json.dumps(document))
        assert found.finished == frozenset(JOURNAL["done"])


@KINDS
@given(data=st.data())
def test_decoding_a_damaged_document_never_raises(kind: str, data: st.DataObject) -> None:
    shape, example = EXAMPLES[kind]
    broken = data.draw(damaged(json.loads(json.dumps(example))))
    found = decode(shape, broken, "the place")
    if isinstance(found, Damaged):
        assert str(found).startswith("the place ")
        assert str(found).isprintable()
        assert len(str(found)) < 300
    else:
        # Every document that is accepted can be written again by a site.
        again = json.loads(json.dumps([found], default=_plain, allow_nan=False))[0]
        assert decode(shape, again, "it") == found


@KINDS
def test_each_field_that_is_missing_or_of_another_type_is_named(kind: str) -> None:
    shape, example = EXAMPLES[kind]
    if not isinstance(example, dict):
        return
    needed = [name for name in example if _is_needed(shape, example, name)]
    assert needed
    for name in needed:
        rest = {key: each for key, each in example.items() if key != name}
        found = decode(shape, rest, "it")
        assert isinstance(found, Damaged)
        assert found.what == f"{name} is missing"
        found = decode(shape, {**example, name: b"x"}, "it")
        assert isinstance(found, Damaged)
        assert found.what.startswith(f"{name} is bytes, not ")


@KINDS
def test_a_newer_version_is_distinguished_from_damage(kind: str) -> None:
    shape, example = EXAMPLES[kind]
    if isinstance(example, dict):
        found = decode(shape, {**example, "version": documents.VERSION + 1}, "it")
        assert isinstance(found, Damaged)
        assert found.is_newer
        what = "version 2, and this one reads 1"
        assert str(found) == f"it was written by a newer mcloud ({what}); upgrade this mcloud"


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"epoch": 10**30}, f"epoch is {10**30}, which is beyond 64 bits"),
        ({"epoch": 2**53 + 1}, "epoch is 9007199254740993, not from 0 to 9007199254740992"),
        ({"epoch": 10**5000}, "epoch is a number of very many digits, which is beyond 64 bits"),
        ({"epoch": True}, "epoch is True, not a whole number"),
        ({"epoch": "7"}, "epoch is '7', not a whole number"),
        ({"at": float("nan")}, "at is nan, not a finite number"),
        ({"at": 1e15}, "at is 1000000000000000.0, not from 0 to 253402300799"),
        ({"by": "\ud800"}, r"by is '\ud800', not a text in Unicode"),
        ({"by": None}, "by is null, not a text"),
        ({1: 2}, "it has a field that is called 1"),
    ],
)
def test_the_message_names_the_problem(changes: dict[Any, Any], what: str) -> None:
    found = decode(ControlRecord, {**asdict(RECORD), **changes}, "it")
    assert isinstance(found, Damaged)
    assert found.what == what


@given(text=texts(EXAMPLES["audit"][1]))
def test_no_text_raises(text: bytes) -> None:
    found = parse(text, "it")
    assert isinstance(found, dict | Damaged)
    if isinstance(found, Damaged):
        assert isinstance(str(found), str)


@given(text=texts(PRODUCER))
def test_values_without_an_annotation_are_plain_json(text: bytes) -> None:
    document = parse(text, "it")
    if isinstance(document, dict):
        passed = plain(document, "it")
        if not isinstance(passed, Damaged):
            json.dumps(passed, allow_nan=False)
            str(passed).encode()


@given(data=st.data())
def test_a_journal_is_read_completely_or_not_at_all(
    data: st.DataObject, tmp_path_factory: Any
) -> None:
    path = tmp_path_factory.mktemp("journal") / "manual.json"
    path.write_bytes(data.draw(texts(JOURNAL)))
    found = read_journal(path)
    assert isinstance(found, MoveProgress | Damaged)
    if isinstance(found, MoveProgress) and found.done.record is not None:
        assert "record" in found.finished


def test_a_damaged_journal_is_kept_beside_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "manual.json"
    path.write_text('{"order": {')
    journal = Journal(path)
    assert journal.read() is None
    journal.write(MoveProgress(ORDER))
    assert journal.read() == MoveProgress(ORDER)
    (aside,) = tmp_path.glob("manual.json.damaged-*")
    assert aside.read_text() == '{"order": {'


def test_a_journal_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "manual.json"
    path.write_text('{"version": 2}')
    journal = Journal(path)
    journal.write(MoveProgress(ORDER))
    assert journal.read() == MoveProgress(ORDER)  # in memory, so that the move continues
    assert path.read_text() == '{"version": 2}'


@given(data=st.data())
def test_a_damaged_memory_of_channels_starts_empty(
    data: st.DataObject, tmp_path_factory: Any
) -> None:
    path = tmp_path_factory.mktemp("told") / "told.json"
    path.write_bytes(data.draw(texts(TOLD)))
    found = read_told(path)
    memory = SentMemory(path)
    assert (memory.damaged is None) == (not isinstance(found, Damaged))


@pytest.mark.parametrize("form", [ShardPosition, QueryPosition])
@given(text=texts({"stream": "a", "as_of": 1.5, "shards": {"s": "1"}, "stamp": 1, "name": ""}))
def test_an_invalid_position_is_refused(form: Any, text: bytes) -> None:
    words = text.decode(errors="replace")
    found = documents.read_text(form, words, "it")
    if isinstance(found, Damaged):
        with pytest.raises(McloudError, match="not a position in a"):
            parse_position(form, words, "a place")
    else:
        assert parse_position(form, found.to_text(), "a place") == found


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    assert load(path) is None
    assert read_file(path, Hole) is None
    path.mkdir()
    found = load(path)
    assert isinstance(found, Damaged)
    assert found.what == "it cannot be read: Is a directory"
    path.rmdir()
    for number in range(3):
        path.write_text(f"{number}")
        assert set_aside(path).read_text() == f"{number}"
    assert len(list(tmp_path.iterdir())) == 3
    with pytest.raises(McloudError, match="cannot be renamed"):
        set_aside(path)


def test_the_state_of_the_embedded_clouds(tmp_path: Path) -> None:
    home = Home(tmp_path)
    (tmp_path / "state.json").write_text('{"pid": "x"}')
    assert home.read() is None
    assert isinstance(home.found(), Damaged)
    home.write(LocalState(7, phase=READY, outputs={"aws": {}}))
    found = home.found()
    assert isinstance(found, Damaged)
    assert found.what == "outputs.gcp is missing"


def test_annotations_of_all_sorts() -> None:
    class Pair(NamedTuple):
        first: int
        second: str = ""

    @dataclass(frozen=True)
    class All:
        pair: Pair
        fixed: tuple[int, Decimal]
        maybe: dict[str, float | None]
        whatever: Any

    document = {"pair": [1], "fixed": [1, "2.50"], "maybe": {"a": None, "b": 2}, "whatever": [{}]}
    found = decode(All, document, "it")
    assert found == All(Pair(1), (1, Decimal("2.50")), {"a": None, "b": 2.0}, [{}])
    deep: Any = []
    for _ in range(60):
        deep = [deep]
    for changes_, what in (
        ({"fixed": [1]}, "fixed has 1 parts, not 2"),
        ({"fixed": [1, "x"]}, "fixed.1 is 'x', not a decimal number"),
        ({"fixed": [1, "Infinity"]}, "fixed.1 is 'Infinity', not a finite number"),
        ({"maybe": {"a b": "x"}}, "maybe.'a b' is 'x', not a number"),
        ({"whatever": deep}, "whatever has more than 50 levels"),
        ({"pair": 3}, "pair is 3, not an object"),
    ):
        broken = decode(All, {**document, **changes_}, "it")
        assert isinstance(broken, Damaged)
        assert broken.what == what


def _is_needed(shape: Any, example: Any, name: str) -> bool:
    rest = {key: each for key, each in example.items() if key != name}
    return isinstance(decode(shape, rest, "it"), Damaged)


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value)
    return asdict(value)


@pytest.mark.parametrize(
    ("shape", "document", "field"),
    [
        (ControlRecord, asdict(RECORD), "mode"),
        (ProducerState, PRODUCER, "mode"),
        (SiteDelivery, PRODUCER["sites"]["aws"], "breaker"),
        (PairProgress, REPLICATOR["pairs"][0], "phase"),
        (GuardDecision, GUARD["decision"], "action"),
        (SiteStatement, GUARD["sites"]["aws"], "verdict"),
        (FiringAlert, WATCHER["firing"][0], "severity"),
        (LocalState, {"pid": 7}, "phase"),
    ],
)
def test_a_text_of_another_version_damages_no_document(
    shape: Any, document: dict[str, Any], field: str
) -> None:
    """Otherwise an older guard would ignore the control record of a newer one."""
    found = decode(shape, {**document, field: "something new"}, "it")
    assert not isinstance(found, Damaged)
    assert getattr(found, field) == "something new"
    assert encode(found)[field] == "something new"
    assert isinstance(decode(shape, {**document, field: 7}, "it"), Damaged)
