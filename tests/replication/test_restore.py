"""A site restored from another one is complete in the end, after any number of interruptions."""

import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import cast

import pytest

from mcloud.clouds.ports import Depth, Site, Unsent
from mcloud.documents import encode
from mcloud.errors import McloudError, Unavailable
from mcloud.market.archive import HOUR
from mcloud.market.block import is_index_key
from mcloud.market.envelope import Message, decode
from mcloud.market.trade import Trade
from mcloud.replication.hour_digest import ALL_TIME, HourWindow
from mcloud.replication.restore import Restore, Restored, envelopes
from mcloud.replication.restore_estimate import RestoreEstimate
from mcloud.replication.scope import Scope

from .memory import MemorySite
from .rig import Killed, check_equal, compacted, feed
from .test_verify import HOUR_START, SYMBOL, TRADES, check, fill, made

IDENTITIES = {"aws": "a", "gcp": "b"}


class Functions:
    """A queue whose messages the site's function processes at once while it runs."""

    def __init__(self, site: MemorySite, run: bool = True) -> None:
        self._site = site
        self.run = run
        self.sent = 0

    def send(self, messages: Sequence[Message]) -> list[Unsent]:
        self.sent += len(messages)
        for message in messages:
            if self.run:
                feed(self._site, list(decode(message.body, message.attributes).trades))
        return []

    def depth(self) -> Depth:
        return Depth(0, 0, time.time())


class FailsOnce(Functions):
    """A queue whose first messages fail, and stay hidden for the visibility timeout, as in SQS."""

    HIDDEN = 0.7  # seconds

    def send(self, messages: Sequence[Message]) -> list[Unsent]:
        if self.run:
            return super().send(messages)
        self.run = True
        threading.Timer(self.HIDDEN, super().send, [messages]).start()
        return []

    def depth(self) -> Depth:
        return replace(super().depth(), redelivery=self.HIDDEN)


@pytest.fixture
def aws() -> MemorySite:
    return MemorySite("aws")


@pytest.fixture
def gcp() -> MemorySite:
    site = MemorySite("gcp")
    fill(TRADES, site)
    feed(site, made(200, "ETHUSDT"))
    for each in (site,):
        each.cloud = "gcp"
    return site


@pytest.fixture
def restore(tmp_path: Path, aws: MemorySite, gcp: MemorySite) -> Callable[..., Restore]:
    aws.cloud, gcp.cloud = "aws", "gcp"

    def open_(source: MemorySite = gcp, target: MemorySite = aws, **choices: object) -> Restore:
        return Restore(
            cast(Site, source),
            cast(Site, target),
            cast(Scope, choices.pop("scope", Scope())),
            tmp_path,
            identities=IDENTITIES,
            **choices,  # type: ignore[arg-type]
        )

    return open_


def run(job: Restore) -> Restored:
    with job.locked():
        return job.run(None if job.unfinished() else job.survey())


def all_trades() -> list[Trade]:
    return TRADES + made(200, "ETHUSDT")


@pytest.mark.parametrize("count", [101, 2])
def test_an_empty_site_gets_everything(
    restore: Callable[..., Restore], aws: MemorySite, gcp: MemorySite, count: int
) -> None:
    if count == 2:  # a block for each symbol
        compacted(gcp)
        for key in list(filter(is_index_key, gcp.archive.objects)):
            del gcp.archive.objects[key]
    before = dict(gcp.archive.objects), dict(gcp.candles.stored)
    done = run(restore())
    assert (done.candles, done.objects, done.left) == (205, count, 0)
    assert check(aws, gcp).ok
    check_equal((aws, gcp), all_trades())
    assert aws.archive.objects == gcp.archive.objects
    assert (gcp.archive.objects, gcp.candles.stored) == before
    again = run(restore())
    assert (again.hours, again.candles, again.objects) == (0, 0, 0)


def test_a_site_that_has_a_part_keeps_it_and_gets_the_rest(
    restore: Callable[..., Restore], aws: MemorySite, gcp: MemorySite
) -> None:
    mine = TRADES[2_000:2_500]
    fill(mine, aws, batch=33)
    before = dict(aws.archive.objects)
    run(restore())
    assert check(aws, gcp).ok
    check_equal((aws, gcp), all_trades())
    assert before.items() <= aws.archive.objects.items()


def test_a_restoration_interrupted_at_every_step_continues(tmp_path: Path) -> None:
    """Each restoration is interrupted five times, at different steps."""
    trades = made(600, every=30_000)  # five hours
    source = MemorySite("gcp")
    fill(trades, source, batch=60)
    source.cloud = "gcp"
    longest = 0
    for shift in range(12):
        target = MemorySite("aws")
        target.cloud = "aws"
        cuts, begun = 0, 0
        while True:
            job = Restore(
                cast(Site, source),
                cast(Site, target),
                Scope(),
                tmp_path / str(shift),
                identities=IDENTITIES,
                workers=1,
            )
            target.faults.before = target.faults.after = (
                killing(shift + 5 * cuts) if cuts < 5 else lambda call: None
            )
            try:
                with job.locked():
                    begun += bool(job.unfinished())
                    estimate = None if job.unfinished() else job.survey()
                    job.run(estimate)
                break
            except Killed:
                cuts += 1
        assert cuts == 5
        longest = max(longest, begun)
        check_equal((source, target), trades)
        assert check(source, target).ok
        assert not list((tmp_path / str(shift)).glob("*.jsonl"))
    assert longest == 5  # each run continued where the one before it was interrupted


def killing(after: int) -> Callable[[str], None]:
    """Return a hook that kills the process after ``after`` writes to the target."""
    calls = count()

    def reach(call: str) -> None:
        if call in ("put", "write") and next(calls) == after:
            raise Killed(call)

    return reach


def test_finished_hours_are_not_restored_again(
    restore: Callable[..., Restore], aws: MemorySite, gcp: MemorySite
) -> None:
    aws.faults.after = killing(150)
    with pytest.raises(Killed):
        run(restore(workers=1))
    job = restore()
    left = job.unfinished()
    assert 0 < left < 5
    aws.faults.after = lambda call: None
    assert run(job).hours == left
    check_equal((aws, gcp), all_trades())


def test_a_truncated_line_of_the_state_is_ignored(
    restore: Callable[..., Restore], aws: MemorySite, gcp: MemorySite, tmp_path: Path
) -> None:
    job = restore()
    with job.locked():
        estimate = job.survey()
        job._state.begin(estimate.hours)
    (path,) = tmp_path.glob("*.jsonl")
    with path.open("a") as file:
        file.write('["BTCU')
    assert job.unfinished() == len(estimate.hours) == 5
    path.write_text("not a state")
    assert job.unfinished() == 0
    run(restore())
    check_equal((aws, gcp), all_trades())


def test_another_range_is_another_restoration(
    restore: Callable[..., Restore], aws: MemorySite
) -> None:
    job = restore()
    with job.locked():
        job._state.begin(job.survey().hours)
    assert restore().unfinished() == 5
    assert restore(window=HourWindow(HOUR_START, HOUR_START + HOUR)).unfinished() == 0
    assert restore(scope=Scope(symbols=frozenset({"ETHUSDT"}))).unfinished() == 0


def test_a_range_and_a_symbol_are_all_that_is_restored(
    restore: Callable[..., Restore], aws: MemorySite, gcp: MemorySite
) -> None:
    window = HourWindow(HOUR_START + HOUR, HOUR_START + 2 * HOUR)
    done = run(restore(window=window, scope=Scope(symbols=frozenset({SYMBOL}))))
    assert (done.hours, done.candles) == (1, 60)
    assert {(symbol, start // HOUR * HOUR) for symbol, start in aws.candles.stored} == {
        (SYMBOL, window.start)
    }
    assert check(aws, gcp, window=window, scope=Scope(symbols=frozenset({SYMBOL}))).ok


def test_an_emptied_site_is_refused_as_a_source(
    restore: Callable[..., Restore], aws: MemorySite, gcp: MemorySite
) -> None:
    before = dict(gcp.archive.objects), dict(gcp.candles.stored)
    words = (
        "aws has less data than gcp: aws has 0 trades in candles and 0 raw trades, gcp has 8,200"
        " trades"
    )
    with pytest.raises(McloudError, match=re.escape(words)):
        restore(aws, gcp).survey()
    fill(TRADES, aws)
    with pytest.raises(McloudError, match="less"):
        restore(aws, gcp).survey()
    assert restore(aws, gcp, scope=Scope(symbols=frozenset({SYMBOL}))).survey().hours == ()
    assert (gcp.archive.objects, gcp.candles.stored) == before


def test_a_site_is_not_restored_from_itself(
    restore: Callable[..., Restore], aws: MemorySite, gcp: MemorySite, tmp_path: Path
) -> None:
    with pytest.raises(McloudError, match="the same site"):
        restore(aws, aws)
    with pytest.raises(McloudError, match="the same site"):
        Restore(
            cast(Site, gcp),
            cast(Site, aws),
            Scope(),
            tmp_path,
            identities={"aws": "same", "gcp": "same"},
        )


def test_a_site_is_restored_by_one_process_at_a_time(restore: Callable[..., Restore]) -> None:
    with restore().locked(), pytest.raises(McloudError, match="already"), restore().locked():
        pass


def test_wrong_content_is_replaced_in_the_target_and_never_taken_from_the_source(
    restore: Callable[..., Restore], aws: MemorySite, gcp: MemorySite
) -> None:
    run(restore())
    first, second, third = sorted(gcp.archive.objects)[:3]
    aws.archive.objects[first] = b"broken"
    run(restore())
    assert aws.archive.objects == gcp.archive.objects
    gcp.archive.objects[second] = b"broken"
    del aws.archive.objects[second], aws.archive.objects[third]
    done = run(restore())
    assert done.damaged == [second]
    assert done.left == 1
    assert second not in aws.archive.objects
    assert aws.archive.objects[third] == gcp.archive.objects[third]


def test_an_unavailable_site_is_reported_and_the_next_run_continues(
    restore: Callable[..., Restore], aws: MemorySite, gcp: MemorySite
) -> None:
    calls = count()

    def throttle(call: str) -> None:
        if call == "put" and next(calls) in range(40, 60):
            raise Unavailable("slow down")

    aws.faults.before = throttle
    with pytest.raises(Unavailable, match="slow down"):
        run(restore())
    while True:
        try:
            run(restore())
            break
        except Unavailable:
            continue
    check_equal((aws, gcp), all_trades())


def test_the_functions_do_the_work(
    restore: Callable[..., Restore], aws: MemorySite, gcp: MemorySite
) -> None:
    aws.queue = queue = Functions(aws)  # type: ignore[attr-defined]
    done = run(restore(engine="functions"))
    assert (done.messages, done.candles, done.objects, done.left) == (queue.sent, 0, 0, 0)
    assert queue.sent == 11  # 8,000 and 200 trades of five hours, 1,000 per message
    assert check(aws, gcp).ok
    check_equal((aws, gcp), all_trades())


def test_trades_without_raw_objects_are_copied_directly(
    restore: Callable[..., Restore], aws: MemorySite, gcp: MemorySite
) -> None:
    key = sorted(gcp.archive.objects)[3]
    del gcp.archive.objects[key]
    aws.queue = Functions(aws)  # type: ignore[attr-defined]
    done = run(restore(engine="functions"))
    assert done.candles == 2
    assert done.left == 0
    assert {each.kind for each in check(aws, gcp).findings} == {"unarchived"}


def test_the_wait_for_idle_functions_is_limited(
    restore: Callable[..., Restore], aws: MemorySite, gcp: MemorySite
) -> None:
    aws.queue = Functions(aws, run=False)  # type: ignore[attr-defined]
    with pytest.raises(Unavailable, match="have not processed") as error:
        run(restore(engine="functions", patience=0.0))
    assert "mcloud dlq list aws" in str(error.value)
    aws.queue = Functions(aws)  # type: ignore[attr-defined]
    run(restore(engine="functions"))
    check_equal((aws, gcp), all_trades())


def test_a_batch_that_failed_is_waited_for_until_the_queue_shows_it_again(
    restore: Callable[..., Restore],
    aws: MemorySite,
    gcp: MemorySite,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The visibility timeout of the queue, six minutes, is longer than the two minutes that a
    restore waits without progress."""
    monkeypatch.setattr("mcloud.replication.restore.POLL", 0.05)
    aws.queue = FailsOnce(aws, run=False)  # type: ignore[attr-defined]
    run(restore(engine="functions", patience=0.3))
    check_equal((aws, gcp), all_trades())


def test_messages_contain_every_trade_even_if_two_disagree() -> None:
    other = [each._replace(price=each.price + 1) for each in TRADES[5:8]]
    messages = envelopes({*TRADES[:2_500], *other})
    trades = [trade for message in messages for trade in decode(message.body).trades]
    assert sorted(trades) == sorted([*TRADES[:2_500], *other])
    assert [int(each.attributes["count"]) for each in messages] == [1000, 1000, 500, 3]


def test_the_estimate_counts_data_requests_and_cost(
    restore: Callable[..., Restore], gcp: MemorySite
) -> None:
    estimate: RestoreEstimate = restore().survey()
    size = sum(map(len, gcp.archive.objects.values()))
    by_hand = (
        Decimal("0.03") * 205 / 100_000  # candles read from Firestore
        + Decimal("0.0004") * 101 / 1000  # objects read from Cloud Storage
        + Decimal("0.12") * (size + 205 * 1200) / 2**30  # and sent out of Google's network
        + Decimal("0.625") * 205 * 2 / 10**6  # candles written to DynamoDB
        + Decimal("0.005") * 101 / 1000  # objects written to S3
    )
    assert abs(estimate.usd - by_hand) < Decimal("1e-12")
    assert encode(estimate.document) == {
        "symbols": ["BTCUSDT", "ETHUSDT"],
        "hours": 5,
        "candles": 205,
        "trades": 8_200,
        "raw_objects": 101,
        "raw_bytes": size,
        "requests": {"gcp": 205 + 101 + 10, "aws": 205 + 101 + 10},
        "usd": round(float(estimate.usd), 6),
        "damaged_objects": 0,
    }
    assert restore(window=ALL_TIME, engine="functions").survey().requests["aws"] == 9 + 10
    # DataSync, in its Enhanced mode: $0.55 a run and $0.015 a GiB.
    served = restore(window=ALL_TIME, engine="transfer-service").survey()
    datasync = Decimal("0.55") + Decimal("0.015") * size / 2**30
    assert abs(served.usd - by_hand - datasync) < Decimal("1e-12")
