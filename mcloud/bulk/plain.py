"""Whether the numbers in a text are such that Arrow and mcloud read them alike."""

from typing import Any

import numpy as np

Bytes = np.ndarray[Any, np.dtype[np.uint8]]

_WINDOW = 1 << 18  # bytes that are checked at once, so that they stay in the processor's cache
_OVERLAP = 20  # bytes of the next part, for what begins in one and ends in the next


def numbers_are_plain(text: bytes) -> bool:
    """Return whether each number in an ASCII text is as ``trade.parse_number`` wants it.

    Arrow also reads ``.5``, ``5.``, ``5E3`` and any number of zeros. This looks at runs of digits
    wherever they are: no run may be longer than 16 digits, or 12 behind a point, and a point has
    digits on both sides.
    """
    if len(text) <= _OVERLAP:
        return False
    everything = np.frombuffer(text, np.uint8)
    return all(
        _are_plain(everything[begin : begin + _WINDOW + _OVERLAP])
        for begin in range(0, len(everything) - _OVERLAP, _WINDOW)
    )


def _are_plain(text: Bytes) -> bool:
    digit = (text - np.uint8(ord("0"))) < 10
    dot = text == ord(".")
    letter = text >= ord("A")
    # An exponent. The "e" of "true" and of "false" is behind a letter.
    if (~letter[:-1] & (text[1:] == ord("e"))).any():
        return False
    # A point without a digit on each side, unless it is in a symbol such as BTCUSDT.um.
    if (dot[:-1] & ~(digit | letter)[1:]).any() or (dot[1:] & ~(digit | letter)[:-1]).any():
        return False
    two = digit[1:] & digit[:-1]
    four = two[2:] & two[:-2]
    eight = four[4:] & four[:-4]
    if (dot[: len(eight) - 6] & eight[1:-5] & eight[6:]).any():  # 13 digits behind a point
        return False
    sixteen = eight[8:] & eight[:-8]
    return not (sixteen[1:] & sixteen[:-1]).any()  # 17 digits


def count_line_feeds(text: bytes) -> int:
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == ord("\n")))
