"""The run of the demo: send trades, wait, and judge the result."""

import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from mcloud.clouds.ports import DeadLetter, Queue, Site
from mcloud.clouds.resources import Cloud
from mcloud.cost.run import RunCost, run_cost
from mcloud.deadline import gather
from mcloud.errors import McloudError
from mcloud.local import meter
from mcloud.market.archive import prefix, unpack
from mcloud.market.block import is_index_key
from mcloud.market.envelope import Message
from mcloud.market.trade import MAX_TIME, Trade
from mcloud.producer.pack import BATCH
from mcloud.producer.produce import FeedReader, ProducerProgress, produce
from mcloud.producer.spool import Spool
from mcloud.rehearsal import faults
from mcloud.rehearsal.oracle import Row, digest, expected_rows
from mcloud.rehearsal.steps import Walk

Key = TypeVar("Key")
Value = TypeVar("Value")

# Trades per message of each producer, so that the two producers split the trades differently
BATCHES = (97, 250)
PATIENCE = 60.0  # seconds without any change at a site, after which it is judged as it is
POLL = 0.25  # seconds
LONGEST = 3600.0  # maximum seconds for which a site may keep changing
METERS_QUIET = meter.SAVE_SECONDS + 0.5  # seconds without a change, after which all is written
METERS_PATIENCE = 10.0  # seconds
READERS = 8  # threads that read the raw archive of a site

ALL_TIME = (0, MAX_TIME)  # ms


@dataclass(frozen=True)
class SiteProof:
    candles: int
    exact: bool
    """Whether the candles equal those of the oracle, with none missing and none added."""
    digest: str
    archived: int
    """Number of distinct trade ids in the raw archive."""
    archive_complete: bool
    dead_letters: int
    only_poison: bool
    """Whether the dead-letter queue has all of the poison and nothing else."""

    @property
    def ok(self) -> bool:
        return self.exact and self.archive_complete and self.only_poison


@dataclass(frozen=True)
class Proof:
    trades: int
    candles: int
    """Number of candles that the oracle expects, as for ``digest``."""
    digest: str
    poison: int
    sites: dict[str, SiteProof]

    @property
    def ok(self) -> bool:
        return all(site.ok for site in self.sites.values())


@dataclass(frozen=True)
class Sent:
    """The data that was sent to the sites, and has to be found there."""

    trades: Sequence[Trade]
    poison: Sequence[Message]
    expected: Sequence[Row]

    @property
    def symbols(self) -> list[str]:
        return sorted({trade.symbol for trade in self.trades})


def run(
    trades: Sequence[Trade], sites: Mapping[str, Site], *, seed: int, scratch: Path | None = None
) -> Proof:
    """Send ``trades`` through two unruly producers to every site, and judge the result; see
    ``store`` and ``prove``.
    """
    return prove(store(trades, sites, seed=seed, scratch=scratch), sites)


def store(
    trades: Sequence[Trade],
    sites: Mapping[str, Site],
    *,
    seed: int,
    scratch: Path | None = None,
    walk: Walk | None = None,
) -> Sent:
    """Send ``trades`` through two unruly producers to every site, and wait for their candles.

    The producers' spools are in ``scratch`` meanwhile, by default in the system's folder. The
    function returns when the candles are exact, or a site has not changed for a while. It does not
    wait for the dead letters.

    Raises:
        McloudError: a queue refused messages.
    """
    walk = walk or Walk()
    sent = Sent(trades, faults.poison(trades), expected_rows(trades))
    walk.wait_for("two producers repeat, reorder and split the trades")
    _send(faults.two_producers(trades, seed), list(sent.poison), sites, scratch)
    walk.wait_for("the functions fold the trades into candles")
    arrived = _at_once({name: partial(_await, sites[name], sent, walk) for name in sites})
    count = len({(trade.symbol, trade.id) for trade in trades})
    walk.reach("stored", f"{count:,} trades in, in any order, some twice")
    if missing := [name for name, is_exact in arrived.items() if not is_exact]:
        walk.fail("exact", f"NOT exact: the candles of {' and '.join(missing)}")
    else:
        walk.reach("exact", f"exact: {len(sent.expected)} candles as plain arithmetic has them")
    walk.clear()
    return sent


def prove(sent: Sent, sites: Mapping[str, Site]) -> Proof:
    """Compare everything that the sites have with what was sent. Wait for the dead letters."""
    ids = {(trade.symbol, trade.id) for trade in sent.trades}
    proofs = _at_once({name: partial(_judge, sites[name], sent, ids) for name in sites})
    expected = sent.expected
    return Proof(len(ids), len(expected), digest(expected), len(sent.poison), proofs)


@contextmanager
def watching_poison(sites: Mapping[str, Site], count: int, walk: Walk) -> Iterator[None]:
    """Note when the dead-letter queue of every site has the poison, while the block runs."""
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(2 * POLL):
            # A site may be out just now.
            with suppress(McloudError):
                if all(site.queue.dead_letter_depth().ready == count for site in sites.values()):
                    walk.reach("refused")
                    return

    thread = threading.Thread(target=look, name="poison", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(PATIENCE)


_OURS = ("fragments", "void_count")
"""Fields of a record that a usual candle does not have."""


def demo_cost(home: Path, clouds: Mapping[str, Cloud]) -> dict[str, RunCost]:
    """Return the cost of the embedded clouds in ``home`` by site, after their meters have stopped
    changing."""
    deadline = time.monotonic() + METERS_PATIENCE
    counted = meter.read(home)
    changed = time.monotonic()
    while time.monotonic() - changed < METERS_QUIET and time.monotonic() < deadline:
        time.sleep(POLL)
        newer = meter.read(home)
        if newer != counted:
            counted, changed = newer, time.monotonic()
    return run_cost({site: counted[site] for site in clouds}, clouds)


def stored_rows(site: Site, symbols: Iterable[str]) -> list[Row]:
    """Return the stored candles in the format of the oracle."""
    return [
        {name: str(value) for name, value in candle.to_record().items() if name not in _OURS}
        for symbol in symbols
        for candle in site.candles.range(symbol, *ALL_TIME)
        if candle.has_trades
    ]


def archived_ids(site: Site, symbols: Iterable[str]) -> set[tuple[str, int]]:
    """Return the distinct trades in the raw archive."""

    def read(keys: list[str]) -> set[tuple[str, int]]:
        return {(t.symbol, t.id) for key in keys for t in unpack(site.archive.get(key))}

    keys = [
        item.key
        for symbol in symbols
        for item in site.archive.list(prefix(symbol))
        if not is_index_key(item.key)
    ]
    shares = _at_once({n: partial(read, keys[n::READERS]) for n in range(READERS)})
    return set().union(*shares.values())


def await_archived(
    site: Site, symbols: Sequence[str], ids: set[tuple[str, int]]
) -> set[tuple[str, int]]:
    """Return the distinct trades in the raw archive, once they include ``ids``, or once none has
    been added for ``PATIENCE`` and for twice the usual delay of the archive.
    """
    found = archived_ids(site, symbols)
    changed = time.monotonic()
    patience = max(PATIENCE, 2 * site.archive.delay)
    while not found >= ids and time.monotonic() - changed < patience:
        time.sleep(POLL)
        newer = archived_ids(site, symbols)
        if newer != found:
            found, changed = newer, time.monotonic()
    return found


def _at_once(calls: Mapping[Key, Callable[[], Value]]) -> dict[Key, Value]:
    """Return every answer, or raise the first error."""
    answers: dict[Key, Value] = {}
    # A thread pool would not end after an interrupt, because its threads wait for messages.
    for key, answer in gather(calls, LONGEST).items():
        if isinstance(answer, Exception):
            raise answer
        answers[key] = answer
    return answers


def _send(
    streams: Sequence[list[Trade]],
    poison: list[Message],
    sites: Mapping[str, Site],
    scratch: Path | None,
) -> None:
    queues = {name: site.queue for name, site in sites.items()}
    for queue in queues.values():
        unsent = queue.send(poison)
        if unsent:
            raise McloudError(f"a queue refused the poison: {unsent[0].reason}")
    stop = threading.Event()
    with ThreadPoolExecutor(len(streams)) as pool:
        runs = [
            pool.submit(deliver, stream, queues, batch=batch, scratch=scratch, stop=stop)
            for stream, batch in zip(streams, BATCHES, strict=True)
        ]
        try:
            for each in runs:
                for name, delivery in each.result().sites.items():
                    if delivery.refused:
                        raise McloudError(f"{name} refused messages: {delivery.error}")
        finally:
            stop.set()


def deliver(
    trades: Iterable[Trade],
    queues: Mapping[str, Queue],
    *,
    batch: int = BATCH,
    scratch: Path | None = None,
    stop: threading.Event | None = None,
) -> ProducerProgress:
    """Produce the given trades through a temporary spool."""
    with (
        tempfile.TemporaryDirectory(prefix="mcloud-spool-", dir=scratch) as folder,
        Spool.open(Path(folder) / "spool.sqlite", list(queues)) as spool,
    ):
        return produce(FeedReader(trades), queues, spool, batch=batch, drain=0, stop=stop)


def _await(site: Site, sent: Sent, walk: Walk) -> bool:
    """Wait until the site has exactly the expected candles, or has not changed for a while. Return
    whether it has them.
    """
    wanted = sum(int(row["trade_count"]) for row in sent.expected)
    seen, changed = -1, time.monotonic()
    while time.monotonic() - changed < PATIENCE:
        rows = stored_rows(site, sent.symbols)
        folded = sum(int(row["trade_count"]) for row in rows)
        walk.fill(site.name, folded, wanted)
        if rows == sent.expected:
            return True
        if folded != seen:
            seen, changed = folded, time.monotonic()
        time.sleep(POLL)
    return False


def _judge(site: Site, sent: Sent, ids: set[tuple[str, int]]) -> SiteProof:
    poison = sorted(message.body.encode() for message in sent.poison)
    rows = stored_rows(site, sent.symbols)
    archived = await_archived(site, sent.symbols, ids)
    letters = _dead_letters(site, poison)
    return SiteProof(
        candles=len(rows),
        exact=rows == sent.expected,
        digest=digest(rows),
        archived=len(archived),
        archive_complete=archived == ids,
        dead_letters=len(letters),
        only_poison=sorted(letter.body for letter in letters) == poison,
    )


def _dead_letters(site: Site, poison: list[bytes]) -> list[DeadLetter]:
    """Return the messages in the dead-letter queue. Wait some time for them to arrive."""
    deadline = time.monotonic() + PATIENCE
    while True:
        letters = site.queue.dead_letters(limit=100)
        if len(letters) >= len(poison) or time.monotonic() > deadline:
            return letters
        time.sleep(POLL)
