"""The work of archiving in the estimate is that of a real compaction."""

from collections import Counter
from collections.abc import Callable
from decimal import Decimal

import pytest
from failover.sites import START, LiveSite
from replication.memory import Faults, MemoryArchive

from mcloud.archive import blocks, compact
from mcloud.clouds.cache import Cache
from mcloud.cost import archiving
from mcloud.cost.archiving import FULL_RUN, compaction, listing, moving, staged_objects
from mcloud.market.archive import HOUR, pack
from mcloud.market.block import BLOCK
from mcloud.market.envelope import encode_all
from mcloud.market.staged import LARGEST
from mcloud.market.trade import Trade
from mcloud.processor.compaction import compact_scheduled


@pytest.mark.parametrize(
    ("symbols", "first", "ids"),
    [
        (3, 500, 1_000),  # blocks that were begun before
        (1, BLOCK // 2, BLOCK),  # a block that was begun before, and one that begins
    ],
)
def test_the_requests_of_an_hour_are_those_of_a_compaction(
    symbols: int, first: int, ids: int, forget: Callable[[], None]
) -> None:
    site, faults = LiveSite("aws"), Faults()
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
        forget()
        calls = counted(proper, staging, site, (START + (hour + 3) * HOUR) / 1000)
        assert staging.objects == {}
    expected = moving([ids / 3600] * symbols, staged=0.2, fills=1)
    # The estimate has the average of hours in which a block begins and of others.
    tolerance = 4 * symbols * (ids % BLOCK) / BLOCK
    assert calls["list"] + calls["symbols"] == expected.lists
    assert calls["get"] + calls["stat"] == pytest.approx(expected.reads, abs=tolerance)
    assert calls["put"] + calls["swap"] + calls["replace"] == pytest.approx(
        expected.writes, abs=tolerance
    )


def test_the_estimate_knows_how_many_blocks_are_filled_at_once() -> None:
    assert archiving.FILLED_AT_ONCE == compact.FILLED_AT_ONCE


def test_once_a_day_the_raw_bucket_is_listed(forget: Callable[[], None]) -> None:
    site, faults = LiveSite("aws"), Faults()
    proper, staging = MemoryArchive(faults), MemoryArchive(Faults())
    for name in "ABC":
        proper.put(*pack([Trade(f"{name}USDT", 7, Decimal(7), Decimal(2), START, True)]))
    now = (START + 3 * HOUR) / 1000
    counted(proper, staging, site, now)
    forget()
    calls = counted(proper, staging, site, now + FULL_RUN * 3600)
    assert calls == {"symbols": 1, "list": 6, "get": 3}
    whole = listing([0.001] * 3, 0.5)
    assert (whole.lists, whole.reads) == (7, 3)
    hourly = compaction([0.001] * 3, staged=0.2, fills=1, months=0.5)
    assert hourly.lists == pytest.approx(1 + 7 / FULL_RUN)


@pytest.fixture(autouse=True)
def forget(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Clear the caches, as in a new instance of a function."""

    def again() -> None:
        for name in ("_blocks", "_entries", "_indexes"):
            monkeypatch.setattr(blocks, name, Cache(blocks.REMEMBERED))

    again()
    return again


def counted(
    proper: MemoryArchive, staging: MemoryArchive, site: LiveSite, now: float
) -> Counter[str]:
    """Compact on schedule, and return the number of calls by name."""
    calls: Counter[str] = Counter()
    proper.faults.before = lambda call: calls.update([call])
    compact_scheduled(proper, staging, site.control, 900, lambda: now)
    return calls


def test_exports_depend_on_the_time_or_on_the_size() -> None:
    assert staged_objects(0, 0) == 0
    assert staged_objects(0.01, 100) == 0.01  # a message every hundred minutes
    assert staged_objects(600, 1_000_000) == 0.2
    assert staged_objects(600, 2 * LARGEST) == 2
