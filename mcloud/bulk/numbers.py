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
    places: int
    lower: Unsigned
    """The lower 64 bits of the numbers in units of 10**-PLACES."""
    upper: Integers
    """Their upper 64 bits."""

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
        return Numbers(values, self.places, self.lower[rows], self.upper[rows])


def numbers(column: pa.Array) -> Numbers:
    """Return the numbers of a column of ``columns.NUMBER``; none of them is negative."""
    lower, upper = halves(column)
    if not upper.any() and not (lower >> np.uint64(63)).any():
        return Numbers(*_reduced(lower.astype(np.int64), PLACES), lower, upper)
    # Binance has 8 places. With more of them, such large numbers hardly ever fit.
    for places in (8, 0):
        divided = _divided(lower, upper, 10**4, (PLACES - places) // 4)
        if divided is not None:
            return Numbers(*_reduced(divided, places), lower, upper)
    return Numbers(None, PLACES, lower, upper)


def _reduced(values: Integers, places: int) -> tuple[Integers, int]:
    """Return numbers in the largest power of ten that all are multiples of, and its places."""
    zeros = _trailing_zeros(values[:_SAMPLE], places)
    while zeros:
        shorter = values // 10**zeros
        differing = values != shorter * 10**zeros
        if not differing.any():
            return shorter, places - zeros
        zeros = _trailing_zeros(values[differing][:_SAMPLE], zeros - 1)
    return values, places


def _trailing_zeros(values: Integers, most: int) -> int:
    zeros = most
    while zeros and (values % 10**zeros).any():
        zeros -= 1
    return zeros


def _divided(lower: Unsigned, upper: Integers, by: int, times: int) -> Integers | None:
    """Divide numbers that do not fit into 63 bits; None if they do not fit then, or have a rest."""
    words = upper.view(np.uint64), lower
    limbs = [limb for word in words for limb in (word >> _SHIFT, word & _LOW)]
    for _ in range(times):
        rest = np.zeros(len(lower), np.uint64)
        for n, limb in enumerate(limbs):
            whole = (rest << _SHIFT) | limb
            limbs[n] = whole // np.uint64(by)
            rest = whole - limbs[n] * np.uint64(by)
        if rest.any():
            return None
    if limbs[0].any() or limbs[1].any() or (limbs[2] >> np.uint64(31)).any():
        return None
    return ((limbs[2] << _SHIFT) | limbs[3]).view(np.int64)


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
