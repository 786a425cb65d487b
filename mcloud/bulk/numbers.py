"""The exact numbers of a column.

They are integers in one unit: the largest power of ten that all of them are multiples of. The
numbers of most markets fit into 63 bits then. Others stay in units of 10**-PLACES and in two words.
Products that do not fit are limbs of 32 bits in words of 64 bits, so that they can be summed limb
by limb, without a carry.
"""

from decimal import Decimal
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from mcloud.bulk.columns import PLACES, Integers, Truths, Unsigned, halves

LIMIT = 2**63
"""The lowest number that does not fit into a signed word."""

_LIMB = 32  # bits
_LOW = np.uint64(2**_LIMB - 1)
_SHIFT = np.uint64(_LIMB)
_SAMPLE = 1_000  # rows from which the unit of a column is guessed


class Numbers(NamedTuple):
    """Numbers of a column that are not negative."""

    values: Integers | None
    """The numbers in units of 10**-places; None if one of them does not fit."""
    lower: Unsigned
    """The lower 64 bits of the numbers in units of 10**-PLACES."""
    upper: Integers
    """Their upper 64 bits."""
    places: int

    @property
    def highest(self) -> int:
        if self.values is not None:
            return int(self.values.max())
        upper = self.upper.max()
        return (int(upper) << 64) + int(self.lower[self.upper == upper].max())

    @property
    def unit(self) -> Decimal:
        return Decimal((0, (1,), -self.places))

    def at(self, rows: Integers) -> list[int]:
        if self.values is not None:
            found: list[int] = self.values[rows].tolist()
            return found
        pairs = zip(self.upper[rows].tolist(), self.lower[rows].tolist(), strict=True)
        return [(upper << 64) + lower for upper, lower in pairs]

    def limbs(self) -> list[Unsigned]:
        """Return the numbers as limbs of 32 bits, lowest first, without those that are all 0."""
        if self.values is not None:
            words = [self.values.view(np.uint64)]
        else:
            words = [self.lower, self.upper.view(np.uint64)]
        limbs = [limb for word in words for limb in (word & _LOW, word >> _SHIFT)]
        while len(limbs) > 1 and not limbs[-1].any():
            limbs.pop()
        return limbs

    def ranks(self) -> tuple[Integers, Integers]:
        """Return the rank of each number, and for each rank a row that has it."""
        order = np.lexsort((self.lower, self.upper))
        lower, upper = self.lower[order], self.upper[order]
        is_new = np.ones(len(order), bool)
        is_new[1:] = (lower[1:] != lower[:-1]) | (upper[1:] != upper[:-1])
        ranks = np.empty(len(order), np.int64)
        ranks[order] = np.cumsum(is_new) - 1
        return ranks, order[is_new]

    @property
    def are_zero(self) -> Truths:
        zero: Truths = (self.lower == 0) & (self.upper == 0)
        return zero

    def take(self, rows: Integers) -> "Numbers":
        values = None if self.values is None else self.values[rows]
        return Numbers(values, self.lower[rows], self.upper[rows], self.places)


def numbers(column: pa.Array) -> Numbers:
    """Return the numbers of a column of ``columns.NUMBER``; none of them is negative."""
    lower, upper = halves(column)
    fits = not upper.any() and not (lower >> np.uint64(63)).any()
    if fits:
        values, places = _reduced(lower.astype(np.int64))
        return Numbers(values, lower, upper, places)
    reduced = _divided(lower, upper)
    if reduced is None:
        return Numbers(None, lower, upper, PLACES)
    values, places = reduced
    return Numbers(values, lower, upper, places)


def _reduced(values: Integers) -> tuple[Integers, int]:
    """Return numbers in the largest power of ten that all are multiples of, and its places."""
    zeros = _trailing_zeros(values[:_SAMPLE])
    while zeros:
        shorter, rest = np.divmod(values, 10**zeros)
        if not rest.any():
            return shorter, PLACES - zeros
        zeros = min(zeros - 1, _trailing_zeros(values[rest != 0]))
    return values, PLACES


def _trailing_zeros(values: Integers) -> int:
    zeros = PLACES
    while zeros and (values % 10**zeros).any():
        zeros -= 1
    return zeros


def _divided(lower: Unsigned, upper: Integers) -> tuple[Integers, int] | None:
    """Return numbers above 63 bits in a unit in which they fit into 63 bits, and its places; None
    if there is none."""
    found = None
    places = PLACES
    limbs = [
        each for word in (upper.view(np.uint64), lower) for each in (word >> _SHIFT, word & _LOW)
    ]
    while places:
        rest = np.zeros(len(lower), np.uint64)
        shorter = []
        for limb in limbs:
            digit, rest = np.divmod((rest << _SHIFT) | limb, np.uint64(10))
            shorter.append(digit)
        if rest.any():
            break
        limbs = shorter
        places -= 1
        if not (limbs[0].any() or limbs[1].any() or (limbs[2] >> np.uint64(31)).any()):
            found = ((limbs[2] << _SHIFT) | limbs[3]).astype(np.int64), places
    return found


def products(ones: list[Unsigned], others: list[Unsigned]) -> list[Unsigned]:
    """Multiply numbers of limbs. A limb of the result may have a few more than 32 bits."""
    result = [np.zeros(len(ones[0]), np.uint64) for _ in range(len(ones) + len(others))]
    for n, one in enumerate(ones):
        for m, other in enumerate(others):
            product = one * other
            result[n + m] += product & _LOW
            result[n + m + 1] += product >> _SHIFT
    return result


def totals(limbs: list[Unsigned], starts: Integers) -> list[int]:
    """Sum numbers of limbs. Each limb has less than 36 bits, so that 2**28 of them fit."""
    sums = [np.add.reduceat(limb, starts).tolist() for limb in limbs]
    return [
        sum(part << (_LIMB * n) for n, part in enumerate(parts))
        for parts in zip(*sums, strict=True)
    ]
