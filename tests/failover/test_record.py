"""All sites end with the same record, for any writers and any order of writes."""

import threading
from random import Random
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcloud.clouds.ports import ControlRecord, Site
from mcloud.errors import Unavailable
from mcloud.failover.record import RecordView, advance, read, spread

from .sites import LiveSite


def record(epoch: int, primary: str = "aws", by: str = "me", at: float = 1.0) -> ControlRecord:
    return ControlRecord(epoch, primary, "manual", "a test", by, at)


def pair() -> tuple[LiveSite, LiveSite, dict[str, Site]]:
    aws, gcp = LiveSite("aws"), LiveSite("gcp")
    return aws, gcp, {"aws": cast(Site, aws), "gcp": cast(Site, gcp)}


def wants(primary: str, by: str = "me") -> "object":
    def make(before: ControlRecord | None) -> ControlRecord | None:
        return None if before and before.primary == primary else record(0, primary, by)

    return make


def test_the_first_record_has_the_first_epoch_on_every_site() -> None:
    aws, gcp, sites = pair()
    done = advance(sites, wants("gcp"))  # type: ignore[arg-type]
    assert (done.before, done.is_ours, done.away) == (None, True, {})
    assert aws.control.stored == gcp.control.stored == record(1, "gcp")


def test_a_site_with_a_stale_record_is_outvoted_and_gets_the_right_one() -> None:
    aws, gcp, sites = pair()
    aws.control.stored, gcp.control.stored = record(3, "aws"), record(7, "gcp")
    view = read(sites)
    assert view.record == record(7, "gcp")
    assert view.behind == ["aws"]
    assert spread(sites, view).behind == []
    assert aws.control.stored == record(7, "gcp")


def test_the_known_record_outvotes_an_older_one_of_the_only_answering_site() -> None:
    aws, gcp, sites = pair()
    aws.control.stored = record(3, "aws")
    gcp.die()
    assert read(sites, known=record(7, "gcp")).record == record(7, "gcp")
    done = advance(sites, wants("aws"), known=record(7, "gcp"))  # type: ignore[arg-type]
    assert done.record.epoch == 8
    assert list(done.away) == ["gcp"]


def test_one_epoch_with_two_primaries_ends_in_one_next_epoch() -> None:
    aws, gcp, sites = pair()
    aws.control.stored = record(5, "aws", "one", 1.0)
    gcp.control.stored = record(5, "gcp", "other", 2.0)
    assert read(sites).is_split
    done = advance(sites, lambda before: None)
    assert (done.record.epoch, done.record.primary) == (6, "gcp")
    assert aws.control.stored == gcp.control.stored == done.record


def test_without_any_site_an_error_is_raised_and_nothing_changes() -> None:
    aws, gcp, sites = pair()
    aws.die()
    gcp.die()
    with pytest.raises(Unavailable, match="no site could report the control record"):
        advance(sites, wants("gcp"), seconds=1)  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from("ab"), st.integers(0, 3)), max_size=4))
def test_all_readers_pick_the_same_record(told: list[tuple[int, str, int]]) -> None:
    records = [record(epoch, primary, at=at) for epoch, primary, at in told]
    one = RecordView(dict(enumerate(records)))  # type: ignore[arg-type]
    other = RecordView(dict(enumerate(reversed(records))))  # type: ignore[arg-type]
    assert one.record == other.record
    assert one.is_split == other.is_split


@pytest.mark.parametrize("seed", range(20))
def test_operators_and_guards_at_once_end_in_one_record(seed: int) -> None:
    """The seed delays every call to a site, so that the writers meet at varying points."""
    aws, gcp, sites = pair()
    random = Random(seed)
    pauses = [random.random() / 500 for _ in range(200)]
    turn = threading.Lock()

    def hold(call: str) -> None:
        with turn:
            pause = pauses.pop() if pauses else 0.0
        threading.Event().wait(pause)

    for site in (aws, gcp):
        site.faults.before = hold
    targets = ["gcp", "gcp", "aws", "gcp"]
    done: list[object] = []
    writers = [
        threading.Thread(
            target=lambda target, by: done.append(
                advance(sites, wants(target, by))  # type: ignore[arg-type]
            ),
            args=(target, f"writer {number}"),
        )
        for number, target in enumerate(targets)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(done) == len(targets)
    for site in (aws, gcp):
        site.faults.before = lambda call: None
    view = read(sites)
    assert not view.is_split
    assert view.behind == []
    # Two writers may have written the same record to different sites, which is no disagreement.
    there = [site.control.stored for site in (aws, gcp)]
    assert len({(each.epoch, each.primary) for each in there if each}) == 1
