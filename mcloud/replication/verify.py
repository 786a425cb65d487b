"""Compares sites with each other, and each site's candles with the raw trades.

First every site says of each hour in a few bytes what candles it has, and its listing which raw
trades. Only hours that differ are read again, candle by candle. What is off at the first look and
not at a second one, a moment later, was on its way and is not reported.
"""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from heapq import merge as merged
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from mcloud.clouds.ports import Site, Stored
from mcloud.market.archive import HOUR, parse_key
from mcloud.market.candle import MINUTE, Candle, Disagreement, by_minute, fold, merge
from mcloud.market.trade import Trade
from mcloud.replication import digest, raw
from mcloud.replication.candles import stream
from mcloud.replication.digest import ALL_TIME, NOTHING, Digest, Window
from mcloud.replication.ids import Ids, Run
from mcloud.replication.report import Finding, Report, Tally, confirmed
from mcloud.replication.scope import Scope
from mcloud.replication.workers import Workers

THREADS = 8
AT_ONCE = 2  # symbols whose raw trades are gone through: an hour of a busy one takes 100 MB
PAUSE = 3.0  # seconds before the second look

Hour = tuple[str, int]
"""A symbol and the start of an hour, ms."""


class Held(NamedTuple):
    """The raw objects of one symbol and hour at a site."""

    ids: Ids
    objects: int
    bytes: int


NO_RAW = Held(Ids(), 0, 0)


def verify(
    sites: Mapping[str, Site],
    scope: Scope,
    window: Window = ALL_TIME,
    *,
    deep: bool = False,
    pause: float = PAUSE,
    tell: Callable[[str], None] = lambda words: None,
) -> Report:
    """Say what is not as it should be.

    Args:
        deep: also read all raw trades, and make every candle again from them.
        pause: seconds between two looks at what is off.
        tell: hears a few words about what goes on.

    Raises:
        Unavailable, Refused: a site cannot be read; then nothing is known of it.
    """
    look = Look(sites, scope, window, deep, tell)
    symbols = AT_ONCE if deep else THREADS
    with closing(Workers(THREADS)) as readers, closing(Workers(symbols)) as walkers:
        look.read_all(readers, walkers)
        findings = look.findings(readers)
        if findings:
            tell("looking again at what is off")
            time.sleep(pause)
            findings = confirmed(findings, look.again(findings, readers, walkers))
    return Report(
        tuple(sorted(scope.what)),
        window,
        deep,
        look.symbols,
        look.tallies,
        tuple(sorted(findings, key=lambda f: (f.symbol, f.start, f.kind, f.site, f.key))),
    )


class Look:
    """What is known of every hour of every symbol, by site."""

    def __init__(
        self,
        sites: Mapping[str, Site],
        scope: Scope,
        window: Window,
        deep: bool,
        tell: Callable[[str], None],
    ) -> None:
        self._sites = sites
        self._scope = scope
        self._window = window
        self._deep = deep
        self._tell = tell
        self.candles: defaultdict[Hour, dict[str, Digest]] = defaultdict(dict)
        self.raw: defaultdict[Hour, dict[str, Held]] = defaultdict(dict)
        self._edges: defaultdict[str, Ids] = defaultdict(Ids)
        """Ids of candles right outside of the window: those of two minutes may interleave."""
        self.found: list[Finding] = []
        """What is seen where it is read."""
        self._changing = threading.Lock()
        self.symbols: tuple[str, ...] = ()
        self.tallies = {name: Tally() for name in sites}

    def read_all(self, readers: Workers, walkers: Workers) -> None:
        names = readers.map(lambda site: digest.symbols(site, self._scope), self._sites.values())
        self.symbols = tuple(sorted(set[str]().union(*names)))
        self._read(readers, walkers, [(symbol, self._window) for symbol in self.symbols])
        if self._scope.candles:
            readers.map(self._read_edges, self.symbols)
        for held in self.candles.values():
            for name, state in held.items():
                self.tallies[name].candles += state.candles

    def findings(self, readers: Workers) -> list[Finding]:
        return self._judge(readers, {*self.candles, *self.raw})

    def again(
        self, findings: Sequence[Finding], readers: Workers, walkers: Workers
    ) -> list[Finding]:
        """The same for the hours that these are of, and what was known of them is forgotten."""
        hours = {(each.symbol, each.start // HOUR * HOUR) for each in findings}
        tallies, self.tallies = self.tallies, {name: Tally() for name in self._sites}
        for hour in hours:
            self.candles.pop(hour, None)
            self.raw.pop(hour, None)
        self.found = []
        self._read(readers, walkers, [(name, Window(at, at + HOUR)) for name, at in sorted(hours)])
        self.tallies = tallies
        return self._judge(readers, hours)

    # Reading

    def _read(
        self, readers: Workers, walkers: Workers, parts: Sequence[tuple[str, Window]]
    ) -> None:
        if self._scope.candles:
            self._tell("reading candles")
            readers.map(
                lambda job: self._digest(*job),
                [(name, *part) for part in parts for name in self._sites],
            )
        if self._scope.raw:
            self._tell("listing raw trades")
            walkers.map(lambda part: self._walk(readers, *part), parts)

    def _digest(self, name: str, symbol: str, window: Window) -> None:
        found = digest.digests(self._stream(name, symbol, window))
        with self._changing:
            for hour, state in found.items():
                self.candles[symbol, hour][name] = state

    def _stream(self, name: str, symbol: str, window: Window) -> Iterator[Candle]:
        def damaged(start: int, why: str) -> None:
            self._report(Finding("damaged", symbol, name, start, why=why))

        return stream(self._sites[name].candles, symbol, *window, damaged)

    def _read_edges(self, symbol: str) -> None:
        start, end = self._window
        edges = [start - MINUTE] * (start > ALL_TIME.start) + [end] * (end < ALL_TIME.end)
        for name in self._sites:
            for edge in edges:
                for candle in self._stream(name, symbol, Window(edge, edge + MINUTE)):
                    with self._changing:
                        self._edges[symbol].update(Ids(candle.runs))

    def _walk(self, readers: Workers, symbol: str, window: Window) -> None:
        """Go through the raw archives of all sites side by side, an hour at a time."""

        def listed(name: str) -> Iterator[tuple[int, str, list[Stored]]]:
            tally = self.tallies[name]

            def foreign(key: str) -> None:
                with self._changing:
                    tally.foreign += 1

            archive = self._sites[name].archive
            for hour, objects in digest.archived(archive, symbol, window, foreign):
                with self._changing:
                    tally.objects += len(objects)
                    tally.bytes += sum(each.size for each in objects)
                yield hour, name, objects

        everything = merged(*map(listed, self._sites), key=itemgetter(0))
        for hour, group in groupby(everything, key=itemgetter(0)):
            self._look_into(readers, symbol, hour, {name: held for _, name, held in group})

    def _look_into(
        self, readers: Workers, symbol: str, hour: int, held: Mapping[str, list[Stored]]
    ) -> None:
        """Tell the ids in an hour's objects; read those of which the listing says too little."""
        copies: defaultdict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for name, objects in held.items():
            for each in objects:
                # Without a digest of the bytes each copy is one of its own.
                copies[each.key][each.md5 or name].append(name)
        wanted = [
            (key, names)
            for key, contents in copies.items()
            for names in contents.values()
            if self._deep or len(contents) > 1 or not _is_dense(key)
        ]
        contents = readers.map(lambda job: raw.read(self._sites[job[1][0]].archive, job[0]), wanted)
        known: dict[str, Ids] = {}
        trades: set[Trade] = set()
        for (key, names), content in zip(wanted, contents, strict=True):
            if content is None:
                for name in names:
                    why = "the object does not hold what its name says"
                    self._report(Finding("damaged", symbol, name, hour, key=key, why=why))
                continue
            known[key] = raw.ids_of(content)
            if self._deep:
                trades.update(content)
        ids = {
            name: _sum(known.get(each.key) or _promised(each.key) for each in objects)
            for name, objects in held.items()
        }
        with self._changing:
            for name, objects in held.items():
                size = sum(each.size for each in objects)
                self.raw[symbol, hour][name] = Held(ids[name], len(objects), size)
        if self._deep:
            self._recompute(symbol, hour, trades)

    def _recompute(self, symbol: str, hour: int, trades: Iterable[Trade]) -> None:
        """Hold every candle of an hour against the raw trades of all sites."""
        counts = Counter(trade.id for trade in trades)
        disputed = Ids((id_, id_) for id_, count in counts.items() if count > 1)
        if disputed:
            why = "the raw archives hold different trades under one id"
            self._report(Finding("disputed", symbol, "", hour, tuple(disputed.runs), why=why))
        minutes = by_minute(trades)
        for name in self._sites:
            for candle in self._stream(name, symbol, Window(hour, hour + HOUR)):
                known = minutes.get((symbol, candle.start), [])
                folded = fold(candle, [trade for trade in known if trade.id not in disputed])
                if folded.disagreements:
                    runs = Ids((each.first_id, each.last_id) for each in folded.disagreements).runs
                    why = str(folded.disagreements[0])
                    self._report(Finding("wrong", symbol, name, candle.start, tuple(runs), why=why))

    def _report(self, finding: Finding) -> None:
        with self._changing:
            if finding not in self.found:
                self.found.append(finding)

    # Judging

    def _judge(self, readers: Workers, hours: Iterable[Hour]) -> list[Finding]:
        self._tell("comparing")
        hours = sorted(hours)
        differing = [hour for hour in hours if self._differs(self.candles.get(hour, {}))]
        compared = readers.map(lambda hour: self._compare(*hour), differing)
        findings = [each for found in compared for each in found]
        if self._scope.raw:
            findings += [each for hour in hours for each in self._hold_against(*hour)]
        for symbol in sorted({symbol for symbol, _ in hours}):
            findings += self._incomplete(symbol)
        proven = {(each.symbol, each.start) for each in self.found if each.kind == "wrong"}
        unread = {
            (each.symbol, each.start, each.site) for each in self.found if each.kind == "damaged"
        }
        return self.found + [
            each
            for each in findings
            if not (each.kind == "disputed" and (each.symbol, each.start) in proven)
            and not (each.kind == "missing" and (each.symbol, each.start, each.site) in unread)
        ]

    def _differs(self, held: Mapping[str, Digest]) -> bool:
        return len({held.get(name, NOTHING).state for name in self._sites}) > 1

    def _compare(self, symbol: str, hour: int) -> list[Finding]:
        window = Window(hour, hour + HOUR)
        return list(
            compare(
                symbol,
                {
                    name: {each.start: each for each in self._stream(name, symbol, window)}
                    for name in self._sites
                },
            )
        )

    def _hold_against(self, symbol: str, hour: int) -> Iterator[Finding]:
        """Hold the archives of an hour against each other and against the candles."""
        archived = {name: held.ids for name, held in self.raw.get((symbol, hour), {}).items()}
        in_raw = _sum(archived.values())
        in_candles = _sum(each.ids for each in self.candles.get((symbol, hour), {}).values())
        everything = _sum((in_raw, in_candles))
        for name in self._sites:
            lacks = everything.minus(archived.get(name, Ids()))
            if lacks:
                there = tuple(other for other, ids in archived.items() if ids.common(lacks))
                lost = lacks.minus(in_raw).count
                why = f"{lost:,} of them are in no archive" if lost else ""
                yield Finding(
                    "unarchived", symbol, name, hour, tuple(lacks.runs), elsewhere=there, why=why
                )
        orphans = in_raw.minus(in_candles) if self._scope.candles else Ids()
        if orphans:
            there = tuple(name for name, ids in archived.items() if ids.common(orphans))
            yield Finding("orphaned", symbol, "", hour, tuple(orphans.runs), elsewhere=there)

    def _incomplete(self, symbol: str) -> Iterator[Finding]:
        """Name the holes in all that all sites have: never in less, as minutes may interleave."""
        hours: dict[int, Ids] = {}
        for (name, hour), held in self.candles.items():
            if name == symbol:
                hours[hour] = _sum(each.ids for each in held.values())
        for (name, hour), archived in self.raw.items():
            if name == symbol:
                ids = (each.ids for each in archived.values())
                hours[hour] = _sum((hours.get(hour, Ids()), *ids))
        holes: defaultdict[int, list[Run]] = defaultdict(list)
        for first, last in _sum((self._edges[symbol], *hours.values())).holes():
            before = (hour for hour, ids in sorted(hours.items()) if first - 1 in ids)
            holes[next(before, self._window.start)].append((first, last))
        for hour, runs in holes.items():
            yield Finding("incomplete", symbol, "", hour, tuple(runs))


def compare(symbol: str, states: Mapping[str, Mapping[int, Candle]]) -> Iterator[Finding]:
    """Compare candles of the sites, by site and start."""
    for start in sorted(set[int]().union(*states.values())):
        held = {name: of[start] for name, of in states.items() if start in of}
        ids = {name: Ids(candle.runs) for name, candle in held.items()}
        whole = Candle(symbol, start)
        disputed: list[Disagreement] = []
        for candle in held.values():
            whole, disagreements = merge(whole, candle)
            disputed += disagreements
        for name in states:
            lacks = Ids(whole.runs).minus(ids.get(name, Ids()))
            if lacks:
                there = tuple(other for other in held if ids[other].common(lacks))
                kind = "different" if name in held else "missing"
                yield Finding(kind, symbol, name, start, tuple(lacks.runs), elsewhere=there)
        if disputed:
            runs = Ids((each.first_id, each.last_id) for each in disputed).runs
            why = str(disputed[0])
            yield Finding(
                "disputed", symbol, "", start, tuple(runs), elsewhere=tuple(held), why=why
            )


def _is_dense(key: str) -> bool:
    holding = parse_key(key)
    return holding is not None and holding.is_dense


def _promised(key: str) -> Ids:
    """The ids that a key names, without a look at the object."""
    holding = parse_key(key)
    if holding is None or not holding.is_dense:
        return Ids()
    return Ids([(holding.first_id, holding.last_id)])


def _sum(several: Iterable[Ids]) -> Ids:
    everything = Ids()
    for ids in several:
        everything.update(ids)
    return everything
