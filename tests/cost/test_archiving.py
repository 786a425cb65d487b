"""The work of archiving in the estimate is that of a real compaction."""

from collections import Counter
from decimal import Decimal

import pytest
from failover.sites import START
from replication.memory import Faults, MemoryArchive

from mcloud.archive.compact import compact
from mcloud.cost.archiving import compaction, staged_objects
from mcloud.market.archive import HOUR
from mcloud.market.block import BLOCK
from mcloud.market.envelope import encode_all
from mcloud.market.staged import LARGEST
from mcloud.market.trade import Trade
from mcloud.processor.compaction import staged_view


@pytest.mark.parametrize(
    ("symbols", "first", "ids"),
    [
        (3, 500, 1_000),  # blocks that were begun before
        (1, BLOCK // 2, BLOCK),  # a block that was begun before, and one that begins
    ],
)
def test_the_requests_of_an_hour_are_those_of_a_compaction(
    symbols: int, first: int, ids: int
) -> None:
    faults = Faults()
    proper, staging = MemoryArchive(faults), MemoryArchive(faults)
    for hour in (0, 1):
        begin = first + hour * ids
        for part in range(12):
            made = [
                Trade(f"{name}USDT", id_, Decimal(7), Decimal(2), START + hour * HOUR, True)
                for name in "ABC"[:symbols]
                for id_ in range(begin + part * ids // 12, begin + (part + 1) * ids // 12, 100)
            ]
            bodies = [message.body.encode() for message in encode_all(made)]
            staging.objects[f"staged/{hour}/{part:02}"] = b"\n".join(bodies)
        calls = counted(proper, staging, (START + (hour + 3) * HOUR) / 1000)
        assert staging.objects == {}
    expected = compaction([ids / 3600] * symbols, staged=0.2, fills=1, months=0.5)
    # The estimate has the average of hours in which a block begins and of others.
    tolerance = 4 * symbols * (ids % BLOCK) / BLOCK
    assert calls["list"] + calls["symbols"] == expected.lists
    assert calls["get"] + calls["stat"] == pytest.approx(expected.reads, abs=tolerance)
    assert calls["put"] + calls["swap"] + calls["replace"] == pytest.approx(
        expected.writes, abs=tolerance
    )


def counted(proper: MemoryArchive, staging: MemoryArchive, now: float) -> Counter[str]:
    """Compact, and return the number of calls by name."""
    calls: Counter[str] = Counter()
    proper.faults.before = lambda call: calls.update([call])
    compact(staged_view(proper, staging, lambda: now), clock=lambda: now)
    return calls


def test_exports_depend_on_the_time_or_on_the_size() -> None:
    assert staged_objects(0, 0) == 0
    assert staged_objects(0.01, 100) == 0.01  # a message every hundred minutes
    assert staged_objects(600, 1_000_000) == 0.2
    assert staged_objects(600, 2 * LARGEST) == 2
