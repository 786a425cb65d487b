"""Reading of the positions of followers of changes, which they store as JSON."""

from typing import TypeVar

from mcloud.documents import Damaged, read_text
from mcloud.errors import DamagedData

Position = TypeVar("Position")


def parse_position(form: type[Position], text: str, place: str) -> Position:
    """Parse a position in a place such as ``a DynamoDB stream``.

    Raises:
        errors.DamagedData: the text is not such a position.
    """
    position = read_text(form, text, "the position")
    if isinstance(position, Damaged):
        raise DamagedData(f"not a position in {place}: {position.what}")
    return position
