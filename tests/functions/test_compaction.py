"""The compaction functions, called like by their schedules, on both embedded clouds."""

import time
from collections.abc import Callable
from decimal import Decimal

import pytest

from mcloud.clouds.aws.client import make_client
from mcloud.clouds.factory import open_site
from mcloud.clouds.resources import AwsResources, GcpResources
from mcloud.errors import Unavailable
from mcloud.local.schedule import call, url_of
from mcloud.local.scheduled_functions import COMPACT
from mcloud.local.state import State
from mcloud.market.archive import HOUR, pack, parse_key, prefix
from mcloud.market.block import Block, BlockKey, is_index_key
from mcloud.market.trade import Trade
from mcloud.processor.compaction import COMPACTIONS, LAST, LastCompaction, last_compaction

SYMBOL = "FNCOMPACTUSDT"
START = 1_723_161_600_000


def on_aws(to: AwsResources) -> bool:
    """Call the function as EventBridge Scheduler does, and return whether it succeeded."""
    lambda_ = make_client("lambda", to.region, to.endpoint_url)
    return "FunctionError" not in lambda_.invoke(FunctionName=COMPACT.name)


def on_gcp(to: GcpResources) -> bool:
    try:
        call(url_of(to.function_url, "compact"))
    except Unavailable:
        return False
    return True


@pytest.mark.parametrize(("name", "compact"), [("aws", on_aws), ("gcp", on_gcp)])
def test_compacts_the_archive_and_notes_it(
    embedded: State, name: str, compact: Callable[[AwsResources | GcpResources], bool]
) -> None:
    to = embedded.resources()[name]
    site = open_site(name, to)
    trades = [Trade(SYMBOL, n, Decimal(n + 1), Decimal(1), START + n, True) for n in range(50)]
    recent = trades[0]._replace(id=100_000, time=int(time.time() * 1000))
    for part in (trades[:20], trades[20:], [recent]):
        for item in pack(part):
            site.archive.put(item)
    site.control.forget(COMPACTIONS.name, LAST)  # so that this run lists the raw bucket
    begun = time.time()

    succeeded = compact(to)

    last = last_compaction(site.control)
    assert isinstance(last, LastCompaction)
    assert last.at >= int(begun)
    assert last.objects >= 2
    assert last.pending >= 1
    assert last.next_symbol == ""
    # Other tests leave damaged objects, which fail the function.
    assert succeeded == (last.problems == 0)
    keys = [each.key for each in site.archive.list(prefix(SYMBOL))]
    left = [key for key in keys if parse_key(key)]
    (holding,) = map(parse_key, left)
    assert holding is not None
    assert holding.hour == recent.time // HOUR * HOUR
    block = BlockKey(SYMBOL, 0)
    assert Block(block, site.archive.get(str(block))).trades() == trades
    assert len([key for key in keys if is_index_key(key)]) == 1
