"""Helpers of benchmarks with many candles."""

import gc
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from mcloud.__main__ import COLLECT
from mcloud.clouds.aws.candles import _encode
from mcloud.clouds.ports import Site
from mcloud.market.candle import Candle


@contextmanager
def as_in_a_command() -> Iterator[None]:
    """Run garbage collection as rarely as ``mcloud`` does, for all sides of a comparison."""
    before = gc.get_threshold()
    gc.set_threshold(*COLLECT)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def fill(site: Site, candles: Sequence[Candle]) -> None:
    """Write to a site on AWS without conditions, in DynamoDB's batches of 25."""
    client, table = site.candles._client, site.candles._table  # type: ignore[attr-defined]

    def put(some: Sequence[Candle]) -> None:
        requests = [{"PutRequest": {"Item": _encode(each, 1)}} for each in some]
        client.batch_write_item(RequestItems={table: requests})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, [candles[n : n + 25] for n in range(0, len(candles), 25)]))
