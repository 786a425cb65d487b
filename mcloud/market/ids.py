"""Sets of trade ids, stored as runs: their size depends on the holes, not on the ids."""

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)
Run = tuple[int, int]
"""First and last id of a range without holes, both inclusive."""


class Ids:
    """A set of trade ids."""

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in runs:
            self.add(first, last)

    @property
    def runs(self) -> list[Run]:
        """The runs of the set in ascending order. They are disjoint and not adjacent."""
        return list(zip(self._firsts, self._lasts, strict=True))

    @property
    def count(self) -> int:
        return sum(self._lasts) - sum(self._firsts) + len(self._firsts)

    def add(self, first: int, last: int) -> None:
        """Add the ids from ``first`` to ``last``."""
        # The runs that touch or overlap the new one become part of it.
        begin = bisect_left(self._lasts, first - 1)
        end = bisect_right(self._firsts, last + 1)
        if begin < end:
            first = min(first, self._firsts[begin])
            last = max(last, self._lasts[end - 1])
        self._firsts[begin:end] = [first]
        self._lasts[begin:end] = [last]

    def update(self, other: "Ids") -> None:
        for first, last in other.runs:
            self.add(first, last)

    def covers(self, first: int, last: int) -> bool:
        """Return whether the set has every id from ``first`` to ``last``."""
        at = bisect_right(self._firsts, first) - 1
        return at >= 0 and last <= self._lasts[at]

    def minus(self, other: "Ids") -> "Ids":
        """Return the ids that are not in ``other``."""
        rest = Ids()
        for first, last in self.runs:
            at = bisect_left(other._lasts, first)
            while at < len(other._firsts) and other._firsts[at] <= last:
                if first < other._firsts[at]:
                    rest.add(first, other._firsts[at] - 1)
                first = other._lasts[at] + 1
                at += 1
            if first <= last:
                rest.add(first, last)
        return rest

    def common(self, other: "Ids") -> "Ids":
        """Return the ids that are in both sets."""
        return self.minus(self.minus(other))

    def holes(self) -> list[Run]:
        """Return the runs of ids that are missing between the first and the last id."""
        return [
            (last + 1, first - 1)
            for last, first in zip(self._lasts[:-1], self._firsts[1:], strict=True)
        ]

    def __contains__(self, id_: int) -> bool:
        return self.covers(id_, id_)

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ids) and self.runs == other.runs

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Ids({self.runs})"


def shared(sets: Mapping[Key, Ids]) -> dict[Key, Ids]:
    """Return the ids of each set that another set has as well. Sets without any are left out.

    This makes one pass over all runs in order; memory depends on the runs, not on the ids.
    """
    runs = sorted(
        (first, last, number)
        for number, ids in enumerate(sets.values())
        for first, last in ids.runs
    )
    found: dict[int, Ids] = {}
    reaching: list[tuple[int, int]] = []  # last id and set number of each run that has not ended
    for first, last, number in runs:
        while reaching and reaching[0][0] < first:
            heapq.heappop(reaching)
        for until, other in reaching:
            for each in (number, other):
                found.setdefault(each, Ids()).add(first, min(last, until))
        heapq.heappush(reaching, (last, number))
    keys = list(sets)
    return {keys[number]: ids for number, ids in sorted(found.items())}
