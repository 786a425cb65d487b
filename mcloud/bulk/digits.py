"""Rows of a CSV file as Binance writes it, all at once.

The rows of a usual file have the same columns and points at the same places, so that the positions
of all commas, line feeds and points form a table. Eight digits are one word then, and three
multiplications make a number of it, for all rows at once. This takes half of the time of a general
parser. A text that has anything unusual is left to ``read_csv``, which is able to read it.

The trick with three multiplications is Daniel Lemire's and Johnny Lee's:
https://kholdstare.github.io/technical/2020/05/26/faster-integer-parsing.html
"""

from typing import Any, NamedTuple

import numpy as np

from mcloud.bulk.columns import Integers, Truths, Unsigned

PLACES = 8
"""Digits behind the point of the numbers that are returned; a text with more is not usual."""

_COMMA, _POINT, _LINE_FEED = map(ord, ",.\n")
_WORD = 8  # bytes, and digits
_LONGEST_WHOLE = 10  # digits before the point, so that the number fits into 63 bits

_ZEROS = np.uint64(0x3030303030303030)
_ABOVE_NINE = np.uint64(0x7676767676767676)  # 127 - 9 in each byte
_HIGH_BITS = 0x8080808080808080
_TRUE, _FALSE = (int.from_bytes(word, "little") for word in (b"true", b"false"))
_CAPITAL = np.uint64(0x20)  # the difference between t and T


class UsualRows(NamedTuple):
    ids: Integers
    price: Integers
    """In units of 10**-PLACES, as the quantity."""
    quantity: Integers
    times: Integers
    """Milliseconds or microseconds, unchanged from the text."""
    makers: Truths


class _Unusual(Exception):
    pass


def usual_rows(text: bytes, columns: int, time: int) -> UsualRows | None:
    """Return the rows of a text, or None if one of them is not usual.

    Args:
        text: whole lines in ASCII.
        columns: number of columns. The first three are id, price and quantity.
        time: index of the column with the time. The maker is in the next one.
    """
    if not text.endswith(b"\n"):
        text += b"\n"
    # A word may begin before the first field, and end behind the last.
    padded = np.empty(len(text) + 4 * _WORD, np.uint8)
    padded[: 2 * _WORD] = padded[-2 * _WORD :] = 0
    padded[2 * _WORD : -2 * _WORD] = np.frombuffer(text, np.uint8)
    try:
        return _parse(_Text(padded), columns, time)
    except _Unusual:
        return None


class _Text:
    """A text with room for two words on both sides."""

    def __init__(self, padded: "np.ndarray[Any, np.dtype[np.uint8]]") -> None:
        self.bytes = padded
        # One word for each position, from its byte on.
        self._words = np.ndarray((len(padded) - _WORD + 1,), "<u8", padded, strides=(1,))

    def words(self, begins: Integers) -> Unsigned:
        found: Unsigned = self._words[begins]
        return found


def _parse(text: _Text, columns: int, time: int) -> UsualRows:
    # Of all characters up to the comma, only the line feed may be in a text as well.
    low = np.flatnonzero(text.bytes[2 * _WORD : -2 * _WORD] <= _COMMA) + 2 * _WORD
    rows, rest = divmod(len(low), columns)
    if rest or not rows:
        raise _Unusual
    ends = low.reshape(rows, columns)
    found = text.bytes[low].reshape(rows, columns)
    if (found[:, :-1] != _COMMA).any() or (found[:, -1] != _LINE_FEED).any():
        raise _Unusual
    end = [np.ascontiguousarray(ends[:, n]) for n in range(columns)]
    begin = [np.append(2 * _WORD, end[-1][:-1] + 1), *(each + 1 for each in end[:-1])]
    points = np.flatnonzero(text.bytes == _POINT)
    width, rest = divmod(len(points), rows)
    if rest:
        raise _Unusual
    point = points.reshape(rows, width)
    return UsualRows(
        _whole(text, begin[0], end[0], 2 * _WORD),
        _number(text, begin[1], end[1], point),
        _number(text, begin[2], end[2], point),
        _whole(text, begin[time], end[time], 2 * _WORD),
        _truths(text, begin[time + 1], end[time + 1]),
    )


def _number(text: _Text, begin: Integers, end: Integers, points: Integers) -> Integers:
    """Return the numbers in a column, in units of 10**-PLACES."""
    inside = [n for n, at in enumerate(points[0]) if begin[0] <= at < end[0]]
    if not inside:
        # A point in another row would be in the place of one in another column.
        units: Integers = _whole(text, begin, end, _LONGEST_WHOLE) * 10**PLACES
        return units
    point = np.ascontiguousarray(points[:, inside[0]])
    if not ((begin < point) & (point < end - 1)).all():
        raise _Unusual
    whole = _whole(text, begin, point, _LONGEST_WHOLE)
    behind = end - point - 1
    shortest, longest = int(behind.min()), int(behind.max())
    if longest > PLACES:
        raise _Unusual
    digits = text.words(point + 1) ^ _ZEROS
    if shortest < PLACES:
        shift = _bits(PLACES - behind)
        digits = (digits << shift) >> shift
    units = whole * 10**PLACES
    units += _value(digits)
    return units


def _whole(text: _Text, begin: Integers, end: Integers, most: int) -> Integers:
    """Return the whole numbers in a column, of up to ``most`` digits."""
    length = end - begin
    shortest, longest = int(length.min()), int(length.max())
    if shortest < 1 or longest > most:
        raise _Unusual
    value = _value(_last(text.words(end - _WORD) ^ _ZEROS, length, shortest))
    if longest > _WORD:
        upper = _last(text.words(end - 2 * _WORD) ^ _ZEROS, length - _WORD, shortest - _WORD)
        value += _value(upper) * 10**_WORD
    return value


def _last(digits: Unsigned, length: Integers, shortest: int) -> Unsigned:
    """Return words with only their last ``length`` digits, and 0 before them."""
    if shortest >= _WORD:
        return digits
    shift = _bits(np.clip(_WORD - length, 0, _WORD))
    return (digits >> shift) << shift


def _bits(digits: Integers) -> Unsigned:
    return (digits << 3).view(np.uint64)


def _value(digits: Unsigned) -> Integers:
    """Return the numbers of words with a digit from 0 to 9 in each byte, the first one lowest."""
    # A byte above 9 gets its highest bit set by the sum, or has it set.
    if int(np.bitwise_or.reduce((digits + _ABOVE_NINE) | digits)) & _HIGH_BITS:
        raise _Unusual
    digits = (digits * np.uint64(2561)) >> np.uint64(8)
    digits = ((digits & np.uint64(0x00FF00FF00FF00FF)) * np.uint64(6553601)) >> np.uint64(16)
    digits = (digits & np.uint64(0x0000FFFF0000FFFF)) * np.uint64(42949672960001)
    return (digits >> np.uint64(32)).view(np.int64)


def _truths(text: _Text, begin: Integers, end: Integers) -> Truths:
    length = end - begin
    words = text.words(begin) | _CAPITAL
    is_true: Truths = (length == 4) & ((words & np.uint64(2**32 - 1)) == _TRUE)
    is_false = (length == 5) & ((words & np.uint64(2**40 - 1)) == _FALSE)
    if not (is_true | is_false).all():
        raise _Unusual
    return is_true
