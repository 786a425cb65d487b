"""Sets of ids in runs behave as Python's own sets."""

from collections.abc import Iterable
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcloud.market.ids import Ids, Run
from mcloud.market.trade import MAX_ID

RUNS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 8)).map(lambda run: (run[0], run[0] + run[1])),
    max_size=12,
)


def plain(runs: Iterable[Run]) -> set[int]:
    return {each for first, last in runs for each in range(first, last + 1)}


@given(RUNS)
def test_a_set_holds_the_added_ids(runs: list[Run]) -> None:
    ids, expected = Ids(runs), plain(runs)
    assert plain(ids.runs) == expected
    assert ids.count == len(expected)
    assert bool(ids) == bool(expected)
    assert [each for each in range(80) if each in ids] == sorted(expected)


@given(RUNS)
def test_runs_are_maximal_and_sorted(runs: list[Run]) -> None:
    assert all(one[1] + 1 < other[0] for one, other in pairwise(Ids(runs).runs))


@given(RUNS, st.randoms())
def test_the_order_and_repeats_do_not_matter(runs: list[Run], random: Random) -> None:
    again = [*runs, *runs]
    random.shuffle(again)
    assert Ids(again) == Ids(runs)


@given(RUNS, RUNS)
def test_union_and_difference_are_those_of_sets(one: list[Run], other: list[Run]) -> None:
    assert plain(Ids(one).minus(Ids(other)).runs) == plain(one) - plain(other)
    union = Ids(one)
    union.update(Ids(other))
    assert union == Ids([*one, *other])
    assert plain(union.runs) == plain(one) | plain(other)


@given(RUNS, RUNS)
def test_the_intersection_of_two_sets(one: list[Run], other: list[Run]) -> None:
    assert plain(Ids(one).common(Ids(other)).runs) == plain(one) & plain(other)


@given(RUNS, st.integers(0, 70), st.integers(0, 5))
def test_a_set_covers_a_range_if_it_has_all_ids(runs: list[Run], first: int, more: int) -> None:
    wanted = set(range(first, first + more + 1))
    assert Ids(runs).covers(first, first + more) == (wanted <= plain(runs))


@given(RUNS)
def test_holes_are_the_ids_between_the_runs(runs: list[Run]) -> None:
    held = plain(runs)
    between = set(range(min(held), max(held) + 1)) - held if held else set()
    assert plain(Ids(runs).holes()) == between


def test_the_highest_possible_ids_are_handled() -> None:
    ids = Ids([(MAX_ID, MAX_ID), (0, 0)])
    assert MAX_ID in ids
    assert ids.holes() == [(1, MAX_ID - 1)]


def test_a_set_is_not_hashable() -> None:
    with pytest.raises(TypeError):
        hash(Ids())
