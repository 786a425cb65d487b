"""Mends what ``verify`` found: from other sites, from the raw trades, from the exchange by id.

Every step adds what is missing or puts right what is proven wrong; none takes a trade away. After
an end at any moment the rest is found and mended by the next run.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

from mcloud.clouds.ports import Candles, Site, Stored
from mcloud.errors import McloudError
from mcloud.market.archive import HOUR, pack, parse_key
from mcloud.market.candle import MINUTE, Candle, Folded, by_minute, fold, merge, to_timestamp
from mcloud.market.trade import Trade
from mcloud.processor.ingest import ingest
from mcloud.replication import raw
from mcloud.replication.candles import merge_into
from mcloud.replication.copier import Copier
from mcloud.replication.ids import Ids
from mcloud.replication.report import Finding, Report
from mcloud.replication.workers import Workers

THREADS = 8
PAGE = 1000  # trades that an exchange gives in one answer

Fetch = Callable[[str, int, int], list[Trade]]
"""The trades of a symbol with ids from one on, so many at most, from the exchange."""


@dataclass(frozen=True)
class Copy:
    source: str
    target: str
    objects: tuple[Stored, ...]


@dataclass(frozen=True)
class Wanted:
    """Trades that are nowhere but at the exchange, and the sites that lack them."""

    symbol: str
    ids: Ids
    sites: tuple[str, ...]
    since: int
    """They are not older than this, ms."""

    @property
    def requests(self) -> int:
        return sum(-(-(last - first + 1) // PAGE) for first, last in self.ids.runs)


@dataclass
class Plan:
    replace: list[Finding] = field(default_factory=list)
    """Damaged objects, to be written anew."""
    copy: list[Copy] = field(default_factory=list)
    fetch: list[Wanted] = field(default_factory=list)
    fold: list[Finding] = field(default_factory=list)
    """Raw trades to be folded into the candles of all sites."""
    merge: list[Finding] = field(default_factory=list)
    """Candles to get what other sites have of them."""
    rewrite: list[tuple[str, int]] = field(default_factory=list)
    """Candles (symbol and start) to be made again from all raw trades."""
    beyond: list[str] = field(default_factory=list)
    """What this cannot mend, and who can."""

    @property
    def is_empty(self) -> bool:
        steps = (self.replace, self.copy, self.fetch, self.fold, self.merge, self.rewrite)
        return not any(steps)

    def to_json(self) -> dict[str, Any]:
        objects = [each for copy in self.copy for each in copy.objects]
        return {
            "candles_to_merge": len(self.merge),
            "candles_to_rewrite": len(self.rewrite),
            "objects_to_copy": len(objects),
            "bytes_to_copy": sum(each.size for each in objects),
            "objects_to_replace": len(self.replace),
            "trades_to_fold": sum(each.trades for each in self.fold),
            "trades_to_fetch": sum(each.ids.count for each in self.fetch),
            "exchange_requests": sum(each.requests for each in self.fetch),
            "beyond_repair": self.beyond,
        }


@dataclass
class Repaired:
    """What was done."""

    merged: int = 0
    """Candles that a site got, or has more of."""
    rewritten: int = 0
    copied: int = 0
    """Raw objects."""
    bytes: int = 0
    replaced: int = 0
    folded: int = 0
    """Trades."""
    fetched: int = 0
    """Trades."""
    problems: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def plan(report: Report, sites: Mapping[str, Site], *, has_exchange: bool) -> Plan:
    """What would mend the findings; it only reads."""
    made = Plan()
    rewrite: set[tuple[str, int]] = set()
    for each in report.findings:
        if each.kind in ("missing", "different"):
            made.merge.append(each)
        elif each.kind in ("disputed", "wrong"):
            rewrite.add((each.symbol, each.start))
        elif each.kind == "orphaned":
            made.fold.append(each)
        elif each.kind == "incomplete":
            made.fetch.append(Wanted(each.symbol, Ids(each.runs), tuple(sites), each.start - HOUR))
        elif each.kind == "unarchived":
            _plan_copies(made, each, sites)
        elif each.key:
            made.replace.append(each)
        else:
            made.beyond.append(f"{each.site}: {each.why}: delete it there, and repair again")
    made.rewrite = sorted(rewrite)
    if not has_exchange:
        for wanted in made.fetch:
            made.beyond.append(f"{_name(wanted)} can only come from the exchange")
        made.fetch = []
    return made


def _plan_copies(made: Plan, finding: Finding, sites: Mapping[str, Site]) -> None:
    left = Ids(finding.runs)
    target = sites[finding.site].archive
    for name in finding.elsewhere:
        archive = sites[name].archive
        useful = []
        for stored in raw.lacking(archive, target, finding.symbol, finding.start):
            held = raw.coverage(archive, stored)
            if held.common(left):
                useful.append(stored)
                left = left.minus(held)
        if useful:
            made.copy.append(Copy(name, finding.site, tuple(useful)))
    if left:
        made.fetch.append(Wanted(finding.symbol, left, (finding.site,), finding.start))


def repair(
    made: Plan,
    sites: Mapping[str, Site],
    fetch: Fetch | None = None,
    *,
    tell: Callable[[str], None] = lambda words: None,
) -> Repaired:
    """Do what was planned; what fails is told and holds up nothing else."""
    with closing(Workers(THREADS)) as workers:
        work = _Work(sites, fetch, workers)
        steps: list[tuple[str, Callable[[Any], None], Sequence[Any]]] = [
            ("replacing damaged objects", work.replace, made.replace),
            ("copying raw trades", work.copy, made.copy),
            ("asking the exchange", work.fetch, made.fetch),
            ("folding raw trades", work.fold, made.fold),
            ("merging candles", work.merge, made.merge),
            ("making candles again", work.rewrite, made.rewrite),
        ]
        for words, step, items in steps:
            if items:
                tell(words)
                step(items)
        return work.done


class _Work:
    def __init__(self, sites: Mapping[str, Site], fetch: Fetch | None, workers: Workers) -> None:
        self._sites = sites
        self._fetch = fetch
        self._workers = workers
        self.done = Repaired()

    def replace(self, damaged: Sequence[Finding]) -> None:
        for each, problem in zip(damaged, self._tried(self._replace, damaged), strict=True):
            if not problem:
                self.done.replaced += 1
            else:
                self.done.problems.append(f"{each.site} {each.key}: {problem}")

    def copy(self, copies: Sequence[Copy]) -> None:
        for each in copies:
            copier = Copier(self._sites[each.source], self._sites[each.target], self._workers)
            try:
                copied = copier.copy(each.objects)
            except McloudError as error:
                self.done.problems.append(f"{each.source} to {each.target}: {error}")
                continue
            self.done.copied += copied.objects
            self.done.bytes += copied.bytes
            self.done.problems += [f"{each.source} {key} is damaged" for key in copied.damaged]

    def fetch(self, missing: Sequence[Wanted]) -> None:
        for each in missing:
            try:
                trades = self._from_exchange(each.symbol, each.ids)
                if any(trade.time < each.since for trade in trades):
                    raise McloudError("the exchange has other trades under these ids")
                for name in each.sites if trades else ():
                    ingest(trades, self._sites[name].archive, self._sites[name].candles)
            except McloudError as error:
                self.done.problems.append(f"{_name(each)}: {error}")
                continue
            self.done.fetched += len(trades)
            lost = each.ids.minus(raw.ids_of(trades))
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

    def rewrite(self, candles: Sequence[tuple[str, int]]) -> None:
        for (symbol, start), problem in zip(
            candles, self._tried(self._rewrite, candles), strict=True
        ):
            if not problem:
                self.done.rewritten += 1
            else:
                self.done.problems.append(f"{symbol} {to_timestamp(start)}: {problem}")

    def _tried(self, call: Callable[[Any], None], items: Iterable[Any]) -> list[str]:
        """Why each call failed, or an empty text."""

        def one(item: Any) -> str:
            try:
                call(item)
            except McloudError as error:
                return str(error)
            return ""

        return self._workers.map(one, items)

    def _replace(self, damaged: Finding) -> None:
        """Put the trades that a key promises under it, from wherever they are."""
        holding = parse_key(damaged.key)
        assert holding is not None
        ids = Ids([(holding.first_id, holding.last_id)])
        for trades in self._sources(damaged, ids):
            of_hour = [each for each in trades if _hour(each) == holding.hour]
            for item in pack(of_hour):
                if item.key == damaged.key:
                    self._sites[damaged.site].archive.replace(item)
                    return
        raise McloudError("nobody has the trades that it should hold")

    def _sources(self, damaged: Finding, ids: Ids) -> Iterator[list[Trade]]:
        for site in self._sites.values():
            if any(each.key == damaged.key for each in site.archive.list(damaged.key)):
                yield raw.read(site.archive, damaged.key) or []
        yield list(self._archived(damaged.symbol, damaged.start, ids))
        if self._fetch:
            yield self._from_exchange(damaged.symbol, ids)

    def _archived(self, symbol: str, hour: int, ids: Ids) -> set[Trade]:
        """All that the archives have of these ids in an hour."""
        found: set[Trade] = set()
        seen: set[str] = set()
        for site in self._sites.values():
            for stored in raw.holdings(site.archive, symbol, hour):
                holding = parse_key(stored.key)
                assert holding is not None
                if stored.key in seen or not ids.common(Ids([(holding.first_id, holding.last_id)])):
                    continue
                trades = raw.read(site.archive, stored.key)
                if trades is not None:
                    seen.add(stored.key)
                    found.update(each for each in trades if each.id in ids)
        return found

    def _from_exchange(self, symbol: str, ids: Ids) -> list[Trade]:
        assert self._fetch is not None
        found: list[Trade] = []
        for first, last in ids.runs:
            while first <= last:
                page = self._fetch(symbol, first, min(PAGE, last - first + 1))
                found += [each for each in page if each.id <= last]
                if not page:
                    break
                first = page[-1].id + 1
        return found

    def _fold(self, orphans: Finding) -> None:
        trades = self._archived(orphans.symbol, orphans.start, Ids(orphans.runs))
        for site in self._sites.values():
            for (symbol, start), group in by_minute(trades).items():
                site.candles.update(symbol, start, partial(_folded, group))

    def _merge(self, lacking: Finding) -> None:
        whole = Candle(lacking.symbol, lacking.start)
        for name in lacking.elsewhere:
            for candle in _minute(self._sites[name].candles, lacking.symbol, lacking.start):
                whole = merge(whole, candle).candle
        merge_into(self._sites[lacking.site].candles, whole)

    def _rewrite(self, which: tuple[str, int]) -> None:
        symbol, start = which
        held = {
            name: candle
            for name, site in self._sites.items()
            for candle in _minute(site.candles, symbol, start)
        }
        ids = Ids(run for candle in held.values() for run in candle.runs)
        found = self._archived(symbol, start // HOUR * HOUR, ids)
        trades = [each for each in found if start <= each.time < start + MINUTE]
        if len({each.id for each in trades}) < len(trades):
            raise McloudError("the raw archives hold different trades under one id")
        if ids.minus(raw.ids_of(trades)):
            raise McloudError("the raw archives lack some of its trades")
        made = fold(Candle(symbol, start), trades).candle
        for name, candle in held.items():
            if candle != made:
                self._sites[name].candles.update(symbol, start, partial(_made_again, made))


def _made_again(made: Candle, stored: Candle) -> Folded:
    """The candle made of raw trades, if no trade of the stored one, which may grow, is lost."""
    if Ids(stored.runs).minus(Ids(made.runs)):
        raise McloudError("it changed meanwhile")
    return Folded(made, ())


def _folded(trades: list[Trade], candle: Candle) -> Folded:
    return fold(candle, trades)


def _minute(candles: Candles, symbol: str, start: int) -> list[Candle]:
    return list(candles.range(symbol, start, start + MINUTE))


def _hour(trade: Trade) -> int:
    return trade.time // HOUR * HOUR


def _name(wanted: Wanted) -> str:
    runs = [str(a) if a == b else f"{a} to {b}" for a, b in wanted.ids.runs]
    return f"{wanted.symbol} {', '.join(runs)}"
