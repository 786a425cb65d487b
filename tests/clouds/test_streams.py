"""Following a DynamoDB stream through splits, closed shards, expired iterators and trimming.

The embedded AWS has one shard that never closes, so a model simulates the rest.
"""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcloud.clouds.aws import changes as module
from mcloud.clouds.aws.changes import DynamoChanges
from mcloud.clouds.aws.shards import FINISHED, ShardPosition, StreamShard, begin, follow, readable
from mcloud.clouds.ports import Changes
from mcloud.clouds.positions import parse_position
from mcloud.errors import Refused, Trimmed

from .stream import DAY, Stream

KEYS = 4


@pytest.fixture(autouse=True)
def _no_waiting() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "REFRESH_FOR_CHILDREN", 0.0)
        patch.setattr(module, "PAGE", 3)
        yield


def reader(stream: Stream) -> DynamoChanges:
    return DynamoChanges(stream, lambda: stream, "candles", lambda image: image)  # type: ignore[arg-type, return-value]


def drain(changes: DynamoChanges, position: str, seen: dict[str, int]) -> str:
    """Read until nothing is waiting, and check that the versions of each key come in order."""
    while True:
        page = changes.changes(position)
        take(page, seen)
        position = page.position
        if page.is_last:
            return position


def take(page: Changes, seen: dict[str, int]) -> None:
    for image in page.candles:
        assert image["version"] >= seen.get(image["key"], 0)  # type: ignore[index]
        seen[image["key"]] = image["version"]  # type: ignore[index]


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, KEYS - 1)),
        st.tuples(st.sampled_from(["roll", "split"]), st.integers(0, KEYS - 1)),
        st.tuples(st.sampled_from(["poll", "restart", "expire", "relist"]), st.just(0)),
        st.tuples(st.just("age"), st.integers(1, 30)),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(ACTIONS, st.integers(0, 3), st.integers(1, 3))
def test_every_change_is_seen_or_the_loss_is_reported(
    actions: list[tuple[str, int]], empty: int, page: int
) -> None:
    stream = Stream(KEYS, empty=empty, page=page)
    stream.write("k0")
    changes = reader(stream)
    position = changes.tip()
    before = dict(stream.versions)
    seen: dict[str, int] = {}
    try:
        for action, number in actions:
            key = f"k{number % KEYS}"
            if action == "write":
                stream.write(key)
            elif action in ("roll", "split"):
                stream.roll(key, split=action == "split")
            elif action == "poll":
                page_ = changes.changes(position)
                take(page_, seen)
                position = page_.position
            elif action == "restart":
                changes = reader(stream)
            elif action == "expire":
                stream.expire()
            elif action == "relist":
                changes._listing = None
            else:
                stream.age(number * 3600)
        drain(changes, position, seen)
    except Trimmed:
        assert any(action == "age" for action, _ in actions)
        return
    for key, version in stream.versions.items():
        assert version in (seen.get(key), before[key])


def test_a_parent_is_read_to_its_end_before_its_children() -> None:
    stream = Stream(2, empty=1, page=10)
    changes = reader(stream)
    position = changes.tip()
    for _ in range(10):
        stream.write("k0")
        stream.write("k1")
        stream.roll("k0", split=True)
    seen: dict[str, int] = {}
    drain(changes, position, seen)  # this checks the order
    assert seen == {"k0": 10, "k1": 10}


def test_the_tip_skips_closed_shards() -> None:
    stream = Stream(1, empty=0, page=10)
    for _ in range(50):
        stream.write("k0")
    stream.roll("k0", split=False)
    changes = reader(stream)
    position = changes.tip()
    calls = stream.calls
    seen: dict[str, int] = {}
    drain(changes, position, seen)
    assert seen == {}
    assert stream.calls - calls <= module.EMPTY


def test_a_poll_without_changes_takes_one_call_for_each_shard() -> None:
    stream = Stream(3, empty=0, page=10)
    changes = reader(stream)
    position = drain(changes, changes.tip(), {})
    for _ in range(5):
        calls = stream.calls
        page = changes.changes(position)
        position = page.position
        assert (page.is_last, stream.calls - calls) == (True, 3)


def test_a_day_of_absence_is_trimmed() -> None:
    stream = Stream(1, empty=0, page=10)
    changes = reader(stream)
    position = changes.tip()
    for _ in range(2):
        stream.write("k0")
        stream.age(DAY / 2)
    stream.age(DAY / 2)
    # Reading the shard from its beginning does not show it, since its first record is gone.
    with pytest.raises(Trimmed, match="older than the records that DynamoDB keeps"):
        drain(reader(stream), position, {})


def test_a_quiet_site_is_not_trimmed() -> None:
    stream = Stream(1, empty=0, page=10)
    changes = reader(stream)
    stream.write("k0")
    position = drain(changes, changes.tip(), {})
    for hour in range(100):
        stream.age(3600)
        if hour % 4 == 0:
            stream.roll("k0", split=False)
        position = drain(changes, position, {})
    stream.write("k0")
    seen: dict[str, int] = {}
    drain(changes, position, seen)
    assert seen == {"k0": 2}


def test_as_of_is_the_oldest_that_is_not_seen() -> None:
    stream = Stream(1, empty=0, page=10)
    changes = reader(stream)
    position = changes.tip()
    begun = stream.now
    for _ in range(7):
        stream.age(60)
        stream.write("k0")
    stream.age(600)
    pages = []
    while not pages or not pages[-1].is_last:
        pages.append(changes.changes(position))
        position = pages[-1].position
    assert [page.as_of - begun for page in pages] == [180, 360, 420, 1020]


def test_a_stream_without_images_or_switched_off_is_refused() -> None:
    stream = Stream(1, empty=0, page=10)
    changes = reader(stream)
    position = changes.tip()
    stream.write("k0")
    for shard in stream._shards.values():
        for record in shard["records"]:
            del record["dynamodb"]["NewImage"]
    with pytest.raises(Refused, match="does not hold new images; deploy the site again"):
        changes.changes(position)
    stream.status = "DISABLED"
    with pytest.raises(Refused, match="is switched off; deploy the site again"):
        changes.tip()


def test_a_removal_discards_the_image_before_it() -> None:
    stream = Stream(1, empty=0, page=10)
    changes = reader(stream)
    position = changes.tip()
    for _ in range(2):
        stream.write("k0")
    (shard,) = stream._shards.values()
    shard["records"][1]["eventName"] = "REMOVE"
    del shard["records"][1]["dynamodb"]["NewImage"]
    seen: dict[str, int] = {}
    position = drain(changes, position, seen)
    assert seen == {}
    stream.write("k0")
    drain(changes, position, seen)
    assert list(seen) == ["k0"]


class TestShards:
    OLD, OPEN = StreamShard("a", "", True), StreamShard("b", "a", False)

    def test_a_reader_begins_with_the_open_shards(self) -> None:
        assert begin([self.OLD, self.OPEN]) == {"a": FINISHED, "b": ""}

    def test_children_of_finished_or_vanished_shards_are_read(self) -> None:
        listed = [self.OLD, self.OPEN, StreamShard("c", "never listed", False)]
        assert readable({"a": "7", "b": "", "c": ""}, listed) == ["a", "c"]
        assert readable({"a": FINISHED, "b": "", "c": ""}, listed) == ["b", "c"]

    def test_finished_shards_that_no_longer_exist_are_forgotten(self) -> None:
        assert follow({"a": FINISHED, "b": "7"}, [self.OPEN]) == {"b": "7"}

    def test_a_shard_that_vanished_before_its_end_is_reported(self) -> None:
        with pytest.raises(Trimmed, match="has dropped a"):
            follow({"a": "7"}, [self.OPEN])

    def test_a_position_survives_its_text_form(self) -> None:
        stream = Stream(2, empty=0, page=10)
        text = reader(stream).tip()
        assert parse_position(ShardPosition, text, "a stream").to_text() == text
