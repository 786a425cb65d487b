"""Batches of items for requests with a limit on the number of items and on their size."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def batches(
    items: Iterable[Item], size_of: Callable[[Item], int], *, most: int, limit: int
) -> Iterator[list[Item]]:
    """Yield the items in order, at most ``most`` of them at a time.

    The sizes of a batch add up to at most ``limit``. A larger item is a batch of its own.
    """
    batch: list[Item] = []
    size = 0
    for item in items:
        if batch and (len(batch) == most or size + size_of(item) > limit):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += size_of(item)
    if batch:
        yield batch
