"""Documents that all sites agree on, while another process writes at the same moment."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import cast

import pytest

from mcloud.clouds.ports import Site
from mcloud.documents import Kind
from mcloud.errors import Contention, Unavailable
from mcloud.failover import shared_notes

from .sites import LiveSite


@dataclass(frozen=True)
class Words(shared_notes.Note):
    words: tuple[str, ...]


KIND = Kind("debt", Words)


class Pair:
    def __init__(self) -> None:
        self.aws, self.gcp = LiveSite("aws"), LiveSite("gcp")
        self.sites = {"aws": cast(Site, self.aws), "gcp": cast(Site, self.gcp)}

    def add(self, word: str) -> dict[str, str]:
        """Write a document that adds this word to those of the document before."""

        def change(before: Words | None) -> Words:
            return Words(words=tuple(sorted({*(before.words if before else ()), word})), at=1.0)

        return shared_notes.write(self.sites, KIND, "x", change, 1.0)

    def words(self) -> list[list[str]]:
        return [list(site.control.kept(KIND.name)["x"]["words"]) for site in (self.aws, self.gcp)]


def once(do: Callable[[], object]) -> Callable[[str], None]:
    """Return a hook that calls ``do`` once, before the first write."""
    left = [do]

    def before(call: str) -> None:
        if call in ("add", "replace") and left:
            left.pop()()

    return before


def test_two_concurrent_writes_are_both_kept() -> None:
    pair = Pair()
    for word, other in (("a", "b"), ("c", "d")):
        pair.aws.control.faults.before = once(partial(pair.add, other))
        assert pair.add(word) == {}
    assert pair.words() == [["a", "b", "c", "d"]] * 2
    assert pair.aws.control.documents == pair.gcp.control.documents


def test_concurrent_writes_that_start_at_different_sites_are_both_kept() -> None:
    pair = Pair()
    pair.add("first")

    def other() -> None:
        kept = pair.gcp.control.kept(KIND.name)["x"]
        document = {**kept, "words": ["first", "other"], "written": 2, "at": 9.0}
        assert pair.gcp.control.replace(KIND.name, "x", document, kept)

    # By then our document is on one site, and the other document on the other site.
    pair.gcp.control.faults.before = once(other)
    pair.add("ours")
    assert pair.words() == [["first", "other", "ours"]] * 2
    assert pair.aws.control.documents == pair.gcp.control.documents


def test_losing_every_race_raises_contention() -> None:
    pair = Pair()
    pair.add("first")

    def wins(call: str) -> None:
        if call == "replace":
            kept = pair.aws.control.documents[KIND.name, "x"]
            pair.aws.control.documents[KIND.name, "x"] = {**kept, "written": kept["written"] + 1}

    pair.aws.control.faults.before = wins
    with pytest.raises(Contention, match="the debt x changed under each of 12 attempts"):
        pair.add("ours")


def test_a_site_that_is_away_is_reported() -> None:
    pair = Pair()
    pair.aws.die()
    assert list(pair.add("first")) == ["aws"]
    pair.gcp.die()
    with pytest.raises(Unavailable, match=r"no site could report its notes: aws: .*; gcp: "):
        pair.add("second")


def test_copying_notes_does_not_restore_old_ones() -> None:
    """The document of a site may be outdated by the time it gets that of another site."""
    pair = Pair()
    pair.add("first")
    kept = {n: shared_notes.notes_of(s, KIND) for n, s in pair.sites.items()}
    kept["aws"] = {}
    del pair.aws.control.documents[KIND.name, "x"]
    shared_notes.level(pair.sites, KIND, kept, 1.0)
    assert pair.words() == [["first"]] * 2
    pair.add("second")
    newer = {**kept["gcp"]["x"].document, "written": 9}
    stale = {"aws": kept["gcp"], "gcp": KIND.read_all({"x": newer})}
    shared_notes.level(pair.sites, KIND, stale, 1.0)
    assert pair.words() == [["first", "second"]] * 2
