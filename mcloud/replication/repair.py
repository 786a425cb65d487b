"""Repair the findings of ``verify`` from other sites, from the raw trades and from the exchange.

Every step adds missing data or corrects data that is proven wrong. Only two things are removed, and
both are backed up first: trades in a candle of the wrong minute, and objects in the wrong folder.
Disputed trades are not copied to other sites: a person has to choose first. If a repair is
interrupted, the next run finds and repairs the rest.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from mcloud.archive import blocks, raw
from mcloud.clouds.ports import Candles, Site, StoredCandle
from mcloud.errors import McloudError
from mcloud.market.archive import HOUR, ArchiveObject, pack, parse_key, unpack
from mcloud.market.block import BlockKey, pack_block, parse_block_key
from mcloud.market.candle import MINUTE, Candle, Folded, by_minute, fold, merge, to_timestamp
from mcloud.market.ids import Ids
from mcloud.market.trade import Trade, id_count
from mcloud.processor.ingest import ingest
from mcloud.replication.backup import Backup
from mcloud.replication.candle_streams import merge_into, without
from mcloud.replication.copier import Copier
from mcloud.replication.id_contents import AT_ONCE, gather
from mcloud.replication.settle import ChosenContent, Settlement
from mcloud.replication.verify_report import Finding, VerifyReport
from mcloud.workers import Workers

Item = TypeVar("Item")

THREADS = 8
PAGE = 1000  # maximum number of trades in one response of an exchange
FETCHED = 50_000  # trades that are fetched before they are written

Fetch = Callable[[str, int, int], list[Trade]]
"""Fetches trades from the exchange, by symbol, first id and maximum number of trades."""


@dataclass(frozen=True)
class PlannedCopy:
    """Raw trades to copy from one site to another."""

    source: str
    target: str
    objects: tuple[raw.Whole, ...]
    parts: tuple[ArchiveObject, ...] = ()
    """New objects, made from objects of the source that cannot be copied as they are."""

    @property
    def bytes(self) -> int:
        parts = sum(len(each.body) for each in self.parts)
        return sum(each.stored.size for each in self.objects) + parts


@dataclass(frozen=True)
class MissingTrades:
    """Trades that no site has, to be fetched from the exchange, and the sites that lack them."""

    symbol: str
    ids: Ids
    sites: tuple[str, ...]
    since: int
    """Lower bound for the times of the trades, in ms since 1970."""

    @property
    def requests(self) -> int:
        return sum(-(-id_count(first, last) // PAGE) for first, last in self.ids.runs)


@dataclass
class RepairPlan:
    """The steps that repair the findings of a report."""

    replace: list[Finding] = field(default_factory=list)
    """Damaged objects to be replaced."""
    copy: list[PlannedCopy] = field(default_factory=list)
    fetch: list[MissingTrades] = field(default_factory=list)
    fold: list[Finding] = field(default_factory=list)
    """Raw trades to be folded into the candles of all sites."""
    merge: list[Finding] = field(default_factory=list)
    """Candles to be merged with those of other sites."""
    move: list[Finding] = field(default_factory=list)
    """Objects in wrong folders, to be moved."""
    rebuild: list[Finding] = field(default_factory=list)
    """Damaged candles to be made again."""
    write_again: list[Finding] = field(default_factory=list)
    """Candles without a version or time in the store, to be written again unchanged."""
    settle: list[Finding] = field(default_factory=list)
    """Candles with trades that belong to another minute."""
    remake: list[Finding] = field(default_factory=list)
    """Candles in which some fragments are to be made again from the raw trades."""
    disputed: dict[str, Ids] = field(default_factory=dict)
    """Ids with two contents, by symbol. They are not copied to another site."""
    beyond: list[str] = field(default_factory=list)
    """Findings that this plan cannot repair, with what can repair them."""

    @property
    def is_empty(self) -> bool:
        steps = (self.replace, self.copy, self.fetch, self.fold, self.merge)
        return not any(
            (*steps, self.move, self.rebuild, self.write_again, self.settle, self.remake)
        )


@dataclass
class Repaired:
    """The outcome of a repair."""

    merged: int = 0
    """Number of candles that were created or extended."""
    rewritten: int = 0
    """Number of candles that were corrected or written again."""
    copied: int = 0
    """Number of raw objects copied."""
    bytes: int = 0
    """Size of the raw objects copied."""
    replaced: int = 0
    """Number of damaged objects replaced."""
    moved: int = 0
    """Number of objects moved to their folder."""
    folded: int = 0
    """Number of trades folded into candles."""
    fetched: int = 0
    """Number of trades fetched from the exchange."""
    problems: list[str] = field(default_factory=list)


def plan(report: VerifyReport, sites: Mapping[str, Site], *, has_exchange: bool) -> RepairPlan:
    """Return a plan that repairs the findings. It only reads from the sites."""
    made = RepairPlan()
    disputed: defaultdict[str, Ids] = defaultdict(Ids)
    for each in report.findings:
        if each.kind in ("disputed", "misplaced"):
            disputed[each.symbol].update(Ids(each.runs))
    made.disputed = dict(disputed)
    for each in report.findings:
        if each.kind in ("missing", "different"):
            made.merge.append(each)
        elif each.kind == "misplaced":
            made.settle.append(each)
        elif each.kind == "disputed" and each.hours:
            made.beyond.append(
                f"{each.symbol} {_runs(each.runs)}: nothing proves which of two contents is right;"
                f" run `mcloud resolve {each.symbol} {each.runs[0][0]}` to see both and choose"
            )
        elif each.kind in ("disputed", "wrong"):
            made.remake.append(each)
        elif each.kind == "misfiled":
            made.move.append(each)
        elif each.kind == "unmarked":
            made.write_again.append(each)
        elif each.kind == "orphaned":
            made.fold.append(each)
        elif each.kind == "incomplete":
            made.fetch.append(
                MissingTrades(each.symbol, Ids(each.runs), tuple(sites), each.start - HOUR)
            )
        elif each.kind == "unarchived":
            _plan_copies(made, each, sites)
        elif each.key:
            made.replace.append(each)
        else:
            made.rebuild.append(each)
    if not has_exchange:
        for wanted in made.fetch:
            made.beyond.append(f"{_name(wanted)} can only be fetched from the exchange")
        made.fetch = []
    return made


def _plan_copies(made: RepairPlan, finding: Finding, sites: Mapping[str, Site]) -> None:
    left = Ids(finding.runs)
    disputed = made.disputed.get(finding.symbol, Ids())
    target = sites[finding.site].archive
    for name in finding.elsewhere:
        archive = sites[name].archive
        selected = raw.select(archive, target, finding.symbol, finding.start, lambda: disputed)
        useful, parts = [], []
        for piece in selected.whole:
            held = raw.coverage(archive, piece)
            if held.common(left):
                useful.append(piece.to_copy)
                left = left.minus(held)
        for item in selected.parts:
            held = raw.ids_of(unpack(item.body))
            if held.common(left):
                parts.append(item)
                left = left.minus(held)
        if useful or parts:
            made.copy.append(PlannedCopy(name, finding.site, tuple(useful), tuple(parts)))
    if left:
        made.fetch.append(MissingTrades(finding.symbol, left, (finding.site,), finding.start))


def repair(
    made: RepairPlan,
    sites: Mapping[str, Site],
    fetch: Fetch | None = None,
    *,
    backup: Backup | None = None,
    tell: Callable[[str], None] = lambda words: None,
) -> Repaired:
    """Carry out a plan. A step that fails is reported and does not stop the others.

    Args:
        backup: receives everything that is removed or overwritten. Without a backup, for callers
            that nobody has allowed to remove data, only missing data is added.
        tell: called with a short progress message.
    """
    with closing(Workers(THREADS)) as workers:
        settlement = Settlement(sites, backup) if backup else None
        work = _RepairWork(sites, fetch, workers, settlement, made.disputed)
        steps = [
            _step("moving objects to their folders", work.move, made.move, removes=True),
            _step("replacing damaged objects", work.replace, made.replace),
            _step("rebuilding damaged candles", work.rebuild, made.rebuild, removes=True),
            _step("writing candles again", work.write_again, made.write_again),
            _step("removing trades from wrong candles", work.settle, made.settle, removes=True),
            _step("copying raw trades", work.copy, made.copy),
            _step("fetching trades from the exchange", work.fetch, made.fetch),
            _step("folding raw trades", work.fold, made.fold),
            _step("merging candles", work.merge, made.merge),
            _step("rebuilding candles from raw trades", work.remake, made.remake, removes=True),
        ]
        for step in steps:
            if not step.is_needed:
                continue
            if backup is None and step.removes:
                work.done.problems.append(f"{step.words} was skipped; run `mcloud verify --repair`")
            else:
                tell(step.words)
                step.run()
        return work.done


@dataclass(frozen=True)
class _RepairStep:
    words: str
    run: Callable[[], None]
    is_needed: bool
    removes: bool
    """Whether the step removes or overwrites data, so that it needs a backup."""


def _step(
    words: str,
    work: Callable[[Sequence[Item]], None],
    items: Sequence[Item],
    *,
    removes: bool = False,
) -> _RepairStep:
    return _RepairStep(words, partial(work, items), bool(items), removes)


class _RepairWork:
    def __init__(
        self,
        sites: Mapping[str, Site],
        fetch: Fetch | None,
        workers: Workers,
        settlement: Settlement | None,
        disputed: Mapping[str, Ids],
    ) -> None:
        self._sites = sites
        self._fetch = fetch
        self._workers = workers
        self._may_take = settlement
        self._disputed = disputed
        self.done = Repaired()

    @property
    def _settlement(self) -> Settlement:
        assert self._may_take is not None  # without it, the steps that need it are skipped
        return self._may_take

    def move(self, misfiled: Sequence[Finding]) -> None:
        for each, problem in zip(misfiled, self._tried(self._move, misfiled), strict=True):
            if not problem:
                self.done.moved += 1
            else:
                self.done.problems.append(f"{each.site} {each.key}: {problem}")

    def rebuild(self, damaged: Sequence[Finding]) -> None:
        self._rewritten(damaged, self._tried(self._rebuild, damaged))

    def write_again(self, unmarked: Sequence[Finding]) -> None:
        self._rewritten(unmarked, self._tried(self._write_again, unmarked))

    def remake(self, candles: Sequence[Finding]) -> None:
        self._rewritten(candles, self._tried(self._remake, candles))

    def settle(self, misplaced: Sequence[Finding]) -> None:
        """Move the proven trades to the candles of their minutes, at every site."""
        hours: dict[str, dict[int, Ids]] = {}
        for each in misplaced:
            for hour in (*each.hours, each.start // HOUR * HOUR):
                hours.setdefault(each.symbol, {}).setdefault(hour, Ids()).update(Ids(each.runs))
        problems: list[str] = []
        for symbol, places in hours.items():
            choices: dict[int, ChosenContent] = {}
            for contents in gather(self._sites, symbol, places):
                if contents.proven is not None:
                    choices[contents.id] = ChosenContent.of(contents.proven)
                if len(choices) == AT_ONCE:
                    problems += self._settlement.settle(symbol, places, choices)
                    choices = {}
            problems += self._settlement.settle(symbol, places, choices)
        self.done.problems += problems
        self.done.rewritten += 0 if problems else len(misplaced)

    def _rewritten(self, candles: Sequence[Finding], problems: Sequence[str]) -> None:
        for each, problem in zip(candles, problems, strict=True):
            if not problem:
                self.done.rewritten += 1
            else:
                where = f"{each.site} " if each.site else ""
                at = to_timestamp(each.start)
                self.done.problems.append(f"{where}{each.symbol} {at}: {problem}")

    def replace(self, damaged: Sequence[Finding]) -> None:
        for each, problem in zip(damaged, self._tried(self._replace, damaged), strict=True):
            if not problem:
                self.done.replaced += 1
            else:
                self.done.problems.append(f"{each.site} {each.key}: {problem}")

    def copy(self, copies: Sequence[PlannedCopy]) -> None:
        for each in copies:
            copier = Copier(self._sites[each.source], self._sites[each.target], self._workers)
            try:
                copied = copier.copy(each.objects)
                put = [item for item in each.parts if self._sites[each.target].archive.put(item)]
            except McloudError as error:
                self.done.problems.append(f"{each.source} to {each.target}: {error}")
                continue
            self.done.copied += copied.objects + len(put)
            self.done.bytes += copied.bytes + sum(len(item.body) for item in put)
            self.done.problems += [f"{each.source} {key} is damaged" for key in copied.damaged]

    def fetch(self, missing: Sequence[MissingTrades]) -> None:
        for each in missing:
            fetched = Ids()
            try:
                for trades in self._from_exchange(each.symbol, each.ids):
                    if any(trade.time < each.since for trade in trades):
                        raise McloudError("the exchange has different trades with these ids")
                    for name in each.sites:
                        ingest(trades, self._sites[name].archive, self._sites[name].candles)
                    self.done.fetched += len(trades)
                    fetched.update(raw.ids_of(trades))
            except McloudError as error:
                self.done.problems.append(f"{_name(each)}: {error}")
                continue
            lost = each.ids.minus(fetched)
            if lost:
                left = replace(each, ids=lost)
                self.done.problems.append(f"the exchange does not have {_name(left)}")

    def fold(self, orphans: Sequence[Finding]) -> None:
        for each, problem in zip(orphans, self._tried(self._fold, orphans), strict=True):
            if not problem:
                self.done.folded += each.trades
            else:
                self.done.problems.append(f"{each.symbol} {to_timestamp(each.start)}: {problem}")

    def merge(self, lacking: Sequence[Finding]) -> None:
        for each, problem in zip(lacking, self._tried(self._merge, lacking), strict=True):
            if not problem:
                self.done.merged += 1
            else:
                where = f"{each.site} {each.symbol} {to_timestamp(each.start)}"
                self.done.problems.append(f"{where}: {problem}")

    def _tried(self, call: Callable[[Item], None], items: Iterable[Item]) -> list[str]:
        """Call ``call`` for each item, and return the error of each call, or an empty string."""

        def one(item: Item) -> str:
            try:
                call(item)
            except McloudError as error:
                return str(error)
            return ""

        return self._workers.map(one, items)

    def _replace(self, damaged: Finding) -> None:
        """Replace a damaged object by its trades from other objects, sites or the exchange."""
        if block := parse_block_key(damaged.key):
            self._replace_block(damaged, block)
            return
        holding = parse_key(damaged.key)
        assert holding is not None
        ids = Ids([(holding.first_id, holding.last_id)])
        for trades in self._sources(damaged, ids):
            of_hour = [each for each in trades if _hour(each) == holding.hour]
            for item in pack(of_hour):
                if item.key == damaged.key:
                    self._sites[damaged.site].archive.replace(item)
                    return
        raise McloudError(
            "the trades of this object cannot be found anywhere",
            remedy=f"run `mcloud resolve {damaged.symbol} {damaged.key} --keep nothing` to remove"
            " the object",
        )

    def _replace_block(self, damaged: Finding, key: BlockKey) -> None:
        """Replace a damaged block by the blocks of other sites.

        Trades that no other site's block has are then missing. They are found and repaired later,
        like other missing trades.
        """
        archive = self._sites[damaged.site].archive
        stored = next(each for each in archive.list(damaged.key) if each.key == damaged.key)
        trades: set[Trade] = set()
        for site in self._sites.values():
            for each in site.archive.list(damaged.key):
                block = blocks.read(site.archive, key, each)
                trades.update(block.trades() if block else ())
        if not trades:
            raise McloudError(
                "no other site has this block",
                remedy=f"run `mcloud resolve {damaged.symbol} {damaged.key} --keep nothing` to"
                " remove it, and then `mcloud verify --repair` to restore its trades",
            )
        if not archive.swap(pack_block(trades), stored.version):
            raise McloudError(
                "another process changed the block in the meantime", remedy="run the command again"
            )

    def _sources(self, damaged: Finding, ids: Ids) -> Iterator[list[Trade]]:
        for site in self._sites.values():
            if any(each.key == damaged.key for each in site.archive.list(damaged.key)):
                yield raw.read_object(site.archive, damaged.key) or []
        yield list(self._archived(damaged.symbol, damaged.start, ids))
        if self._fetch:
            yield [each for some in self._from_exchange(damaged.symbol, ids) for each in some]

    def _archived(self, symbol: str, hour: int, ids: Ids) -> set[Trade]:
        """Return all trades with these ids in an hour from all archives."""
        found: set[Trade] = set()
        seen: set[Hashable] = set()
        for site in self._sites.values():
            for piece in raw.holdings(site.archive, symbol, hour):
                if piece.content in seen or not ids.common(piece.range):
                    continue
                trades = raw.read(site.archive, piece)
                if trades is not None:
                    seen.add(piece.content)
                    found.update(each for each in trades if each.id in ids)
        return found

    def _from_exchange(self, symbol: str, ids: Ids) -> Iterator[list[Trade]]:
        """Yield the trades that the exchange has, at most some ``FETCHED`` at a time."""
        assert self._fetch is not None
        found: list[Trade] = []
        for first, last in ids.runs:
            while first <= last:
                page = self._fetch(symbol, first, min(PAGE, id_count(first, last)))
                found += [each for each in page if each.id <= last]
                if not page:
                    break
                first = page[-1].id + 1
                if len(found) >= FETCHED:
                    yield found
                    found = []
        if found:
            yield found

    def _move(self, misfiled: Finding) -> None:
        self._settlement.move(misfiled.site, misfiled.key)

    def _rebuild(self, damaged: Finding) -> None:
        disputed = self._disputed.get(damaged.symbol, Ids())
        self._settlement.rebuild(damaged.site, damaged.symbol, damaged.start, disputed)

    def _write_again(self, unmarked: Finding) -> None:
        candles = self._sites[unmarked.site].candles
        candles.rewrite(unmarked.symbol, unmarked.start, _as_it_is)

    def _remake(self, wrong: Finding) -> None:
        for name in (wrong.site,) if wrong.site else wrong.elsewhere:
            self._settlement.remake(name, wrong.symbol, wrong.start, wrong.runs)

    def _fold(self, orphans: Finding) -> None:
        trades = self._archived(orphans.symbol, orphans.start, Ids(orphans.runs))
        for site in self._sites.values():
            for (symbol, start), group in by_minute(raw.undisputed(trades)).items():
                site.candles.update(symbol, start, partial(_folded, group))

    def _merge(self, lacking: Finding) -> None:
        disputed = self._disputed.get(lacking.symbol, Ids())
        hour = lacking.start // HOUR * HOUR
        whole = Candle(lacking.symbol, lacking.start)
        for name in lacking.elsewhere:
            for candle in _minute(self._sites[name].candles, lacking.symbol, lacking.start):
                sound = without(candle, disputed, partial(self._archived, lacking.symbol, hour))
                whole = merge(whole, sound).candle
        if whole.fragments:
            merge_into(self._sites[lacking.site].candles, whole)


def _as_it_is(stored: StoredCandle) -> Candle:
    if stored.candle is None:
        raise McloudError("the stored candle is damaged")
    return stored.candle


def _folded(trades: list[Trade], candle: Candle) -> Folded:
    return fold(candle, trades)


def _minute(candles: Candles, symbol: str, start: int) -> list[Candle]:
    return list(candles.range(symbol, start, start + MINUTE))


def _hour(trade: Trade) -> int:
    return trade.time // HOUR * HOUR


def _name(wanted: MissingTrades) -> str:
    return f"{wanted.symbol} {_runs(wanted.ids.runs)}"


def _runs(runs: Iterable[tuple[int, int]]) -> str:
    return ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in runs)
