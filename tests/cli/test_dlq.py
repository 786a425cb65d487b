"""Dead letters on both embedded clouds, from the refusal to the exact candle."""

import base64
import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mcloud.clouds.aws.client import make_client
from mcloud.clouds.factory import open_site
from mcloud.clouds.gcp.client import make_firestore
from mcloud.documents import encode
from mcloud.feed.simulate import Simulate
from mcloud.local.state import State
from mcloud.market.envelope import Message, encode_all
from mcloud.rehearsal.demo import stored_rows
from mcloud.rehearsal.oracle import expected_rows
from mcloud.replication.deadletters import read

from .conftest import Terminal

START = 1_735_775_880_000  # 2025-01-01T23:58:00Z
PATIENCE = 120.0  # seconds
SITES = ("aws", "gcp")
TRADES = list(Simulate(["DEADUSDT"], seed=3, start_time=START, count=200))
EXPECTED = expected_rows(TRADES)
POISON = "\x9b31mnot an envelope"  # it would turn a terminal red


@pytest.fixture(scope="module")
def buried(embedded: State) -> None:
    """Dead letters on both sites: poison, and good messages that met a damaged candle."""
    for name, resources in embedded.resources().items():
        put_damaged_candle(embedded, name)
        queue = open_site(name, resources).queue
        assert queue.send([*encode_all(TRADES), Message(POISON)]) == []


def test_letters_held_by_another_reader_are_reported(mcloud_up: Terminal, embedded: State) -> None:
    to = embedded.resources()["gcp"]
    reader = open_site("gcp", to).queue
    buried = replace(to, topic=to.dlq_topic)  # type: ignore[arg-type]
    assert open_site("gcp", buried).queue.send([Message(POISON)] * 2) == []
    held = reader.take_dead_letters(100)
    try:
        done = mcloud_up.run("dlq", "list", "gcp")
        assert done.returncode == 0
        assert re.search(
            r"^warning: gcp had \d+ dead letters .* ago, and \d+ of them could be read: another"
            r" reader holds the others",
            done.stderr,
            re.MULTILINE,
        ), done.stderr
    finally:
        ours = [letter for letter in held if letter.body == POISON.encode()]
        reader.delete_dead_letters(ours[:2])
        reader.release_dead_letters([letter for letter in held if letter not in ours[:2]])


@pytest.mark.slow
def test_a_refused_message_becomes_a_candle_after_redrive(
    mcloud_up: Terminal, embedded: State, buried: None
) -> None:
    for site in SITES:
        await_letters(embedded, site, 2)
        poison, good = sorted(mine(listed(mcloud_up, site)), key=lambda row: row["readable"])
        assert (good["trades"], good["first_id"], good["last_id"]) == (
            *(200, TRADES[0].id, TRADES[-1].id),
        )
        assert "neither JSON nor base64" in poison["reason"]
        # The function's log has the real reason, since the message itself is valid.
        assert "the function refused it: " in good["reason"]
        assert "damaged" in good["reason"]
        mend_candle(embedded, site)
        done = mcloud_up.run("dlq", "redrive", site, "--yes", "-o", "json")
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert good["id"] in answer["sent"]
        assert poison["id"] in answer["unreadable"]
        opened = open_site(site, embedded.resources()[site])
        eventually(lambda opened=opened: stored_rows(opened, ["DEADUSDT"]) == EXPECTED)
        await_letters(embedded, site, 1)


@pytest.mark.slow
def test_control_characters_of_a_letter_do_not_reach_the_terminal(
    mcloud_up: Terminal, embedded: State, buried: None
) -> None:
    await_letters(embedded, "aws", 1)
    poison = next(row for row in mine(listed(mcloud_up, "aws")) if not row["readable"])
    shown = mcloud_up.run("dlq", "show", "aws", poison["id"])
    assert shown.returncode == 0
    assert r"\xc2\x9b31mnot an envelope" in shown.stdout
    assert "\x9b" not in shown.stdout + mcloud_up.run("dlq", "list", "aws").stdout


@pytest.mark.slow
def test_nothing_is_sent_or_deleted_without_a_confirmation(
    mcloud_up: Terminal, embedded: State, buried: None
) -> None:
    await_letters(embedded, "aws", 1)
    asked = mcloud_up.run("dlq", "redrive", "aws", "--all")
    assert (asked.returncode, asked.stdout) == (2, "")
    assert "--yes" in asked.stderr
    wrong = mcloud_up.run("dlq", "drop", "aws", "--confirm", 9_999)
    assert wrong.returncode == 2
    assert "nothing was deleted" in wrong.stderr
    before = mcloud_up.run("dlq", "redrive", "aws", "--all", "--dry-run", "-o", "json")
    assert json.loads(before.stdout)["would_send"] >= 1
    await_letters(embedded, "aws", 1)


@pytest.mark.slow
def test_drop_keeps_a_copy(mcloud_up: Terminal, embedded: State, buried: None) -> None:
    for site in SITES:
        await_letters(embedded, site, 1)
        count = len(listed(mcloud_up, site))
        done = mcloud_up.run("dlq", "drop", site, "--confirm", count, "-o", "json")
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert answer["dropped"] == count
        with open(answer["file"]) as file:
            bodies = [base64.b64decode(json.loads(line)["body_base64"]) for line in file]
        assert len(bodies) == count
        assert POISON.encode() in bodies
        await_letters(embedded, site, 0)


def listed(terminal: Terminal, site: str) -> list[dict[str, Any]]:
    done = terminal.run("dlq", "list", site, "-o", "json")
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def mine(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return only the letters of this test, since other tests use the same queues."""
    return [
        row
        for row in rows
        if row["symbol"] == "DEADUSDT"
        or (row["symbol"] is None and row["bytes"] == len(POISON.encode()))
    ]


def await_letters(state: State, site: str, count: int) -> None:
    queue = open_site(site, state.resources()[site]).queue
    eventually(
        lambda: (
            len(mine([encode(read(each).document) for each in queue.dead_letters(1000)])) == count
        )
    )


def put_damaged_candle(state: State, site: str) -> None:
    to = state.outputs[site]
    record = {"symbol": "DEADUSDT", "timestamp": "2025-01-01T23:58:00Z", "fragments": "junk"}
    if site == "aws":
        item = {name: {"S": value} for name, value in record.items()} | {"version": {"N": "1"}}
        make_client("dynamodb", to["region"], to["endpoint_url"]).put_item(
            TableName=to["candles_table"], Item=item
        )
    else:
        firestore_candle(to).set(record)


def mend_candle(state: State, site: str) -> None:
    to = state.outputs[site]
    if site == "aws":
        key = {"symbol": {"S": "DEADUSDT"}, "timestamp": {"S": "2025-01-01T23:58:00Z"}}
        make_client("dynamodb", to["region"], to["endpoint_url"]).delete_item(
            TableName=to["candles_table"], Key=key
        )
    else:
        firestore_candle(to).delete()


def firestore_candle(to: dict[str, str]) -> Any:
    client = make_firestore(to["project"], to["database"], to["firestore_endpoint"])
    return client.collection(to["candles_collection"]).document("DEADUSDT_2025-01-01T23:58:00Z")


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.5)
