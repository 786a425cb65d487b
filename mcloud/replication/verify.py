"""Compare sites with each other, and each site's candles with the raw trades.

First a digest is made of each hour of candles at every site, and the raw archives are listed. Only
hours that differ are read again, candle by candle. A difference that a second survey a moment later
does not confirm was data still in transit, and is not reported.

A trade id belongs to one trade, and a trade to one minute. Some ids are therefore checked one by
one with their raw trades, even without ``deep``: ids in two hours, in two minutes of an hour, or in
two raw objects with equal ids and different digests.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from heapq import merge as merged
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from mcloud.archive import blocks, raw
from mcloud.archive.raw import Piece
from mcloud.clouds.ports import Site
from mcloud.market.archive import HOUR, Holding, parse_key, strays
from mcloud.market.candle import (
    MINUTE,
    Candle,
    Disagreement,
    fold,
    merge,
    to_timestamp,
)
from mcloud.market.ids import Ids, Run, shared
from mcloud.replication import hour_digest
from mcloud.replication.candle_streams import stream
from mcloud.replication.hour_digest import ALL_TIME, NOTHING, HourDigest, HourWindow
from mcloud.replication.id_contents import IdContents, describe, gather
from mcloud.replication.raw_trades import OneByOne, RawHour, raw_reader
from mcloud.replication.scope import Scope
from mcloud.replication.verify_report import (
    Finding,
    FindingKind,
    Tally,
    VerifyReport,
    confirmed,
)
from mcloud.workers import Workers

THREADS = 8
AT_ONCE = 2  # symbols whose raw trades are read at once: an hour of a busy symbol takes 100 MB
PAUSE = 3.0  # seconds before the second survey

Hour = tuple[str, int]
"""A symbol and the start of an hour, in ms since 1970."""
_Place = tuple[FindingKind, str, int]
"""Kind, site and start of a finding."""


class HeldObjects(NamedTuple):
    """The raw objects of one symbol and hour at a site."""

    ids: Ids
    objects: int
    bytes: int


NO_RAW = HeldObjects(Ids(), 0, 0)


def verify(
    sites: Mapping[str, Site],
    scope: Scope,
    window: HourWindow = ALL_TIME,
    *,
    deep: bool = False,
    pause: float = PAUSE,
    tell: Callable[[str], None] = lambda words: None,
) -> VerifyReport:
    """Compare sites, and report the differences and errors.

    Args:
        deep: also read all raw trades, and make every candle again from them.
        pause: seconds before the survey that confirms the findings.
        tell: called with a short progress message.

    Raises:
        Unavailable, Refused: a site cannot be read, so that there is no report.
    """
    look = Survey(sites, scope, window, deep, tell)
    symbols = AT_ONCE if deep else THREADS
    with closing(Workers(THREADS)) as readers, closing(Workers(symbols)) as walkers:
        look.read_all(readers, walkers)
        findings = look.findings(readers)
        if findings:
            tell("checking the findings again")
            time.sleep(pause)
            findings = confirmed(findings, look.again(findings, readers, walkers))
    look.tally_exporting()
    return VerifyReport(
        tuple(sorted(scope.what)),
        window,
        deep,
        look.symbols,
        look.tallies,
        tuple(sorted(findings, key=lambda f: (f.symbol, f.start, f.kind, f.site, f.key))),
    )


class Survey:
    """The candles and raw trades of every symbol and hour, by site, and their errors."""

    def __init__(
        self,
        sites: Mapping[str, Site],
        scope: Scope,
        window: HourWindow,
        deep: bool,
        tell: Callable[[str], None],
    ) -> None:
        self._sites = sites
        self._scope = scope
        self._window = window
        self._deep = deep
        self._tell = tell
        self._raw = raw_reader() if deep else OneByOne()
        self.candles: defaultdict[Hour, dict[str, HourDigest]] = defaultdict(dict)
        self.raw: defaultdict[Hour, dict[str, HeldObjects]] = defaultdict(dict)
        self._edges: defaultdict[str, Ids] = defaultdict(Ids)
        """Ids of the candles next to the window, since the ids of two minutes may interleave."""
        self.found: list[Finding] = []
        """Findings that were made while reading."""
        self._suspects: defaultdict[Hour, Ids] = defaultdict(Ids)
        """Ids that may also be in another minute, or have another content."""
        self._exporting: dict[tuple[str, Hour], dict[int, Ids]] = {}
        """Ids at a site that the export service has yet to write, by start of the minute."""
        self._odd: set[Hour] = set()
        """Hours whose listing shows that their raw objects contradict each other."""
        self._changing = threading.Lock()
        self.symbols: tuple[str, ...] = ()
        self.tallies = {name: Tally() for name in sites}

    def read_all(self, readers: Workers, walkers: Workers) -> None:
        names = readers.map(
            lambda site: hour_digest.symbols(site, self._scope), self._sites.values()
        )
        self.symbols = tuple(sorted(set[str]().union(*names)))
        self._read(readers, walkers, [(symbol, self._window) for symbol in self.symbols])
        if self._scope.candles:
            readers.map(self._read_edges, self.symbols)
        for held in self.candles.values():
            for name, state in held.items():
                self.tallies[name].candles += state.candles
                self.tallies[name].trades += state.trades
                self.tallies[name].voids += state.voids

    def read_candles(self, readers: Workers, symbol: str) -> None:
        """Read only the candles of one symbol."""
        self.symbols = (symbol,)
        readers.map(lambda name: self._digest(name, symbol, self._window), self._sites)

    def findings(self, readers: Workers) -> list[Finding]:
        return self._judge(readers, {*self.candles, *self.raw})

    def again(
        self, findings: Sequence[Finding], readers: Workers, walkers: Workers
    ) -> list[Finding]:
        """Read the hours of these findings again, and return the new findings."""
        hours = {(each.symbol, each.start // HOUR * HOUR) for each in findings}
        tallies, self.tallies = self.tallies, {name: Tally() for name in self._sites}
        for hour in hours:
            self.candles.pop(hour, None)
            self.raw.pop(hour, None)
            self._suspects.pop(hour, None)
            self._odd.discard(hour)
        self.found = []
        self._read(
            readers, walkers, [(name, HourWindow(at, at + HOUR)) for name, at in sorted(hours)]
        )
        self.tallies = tallies
        return self._judge(readers, hours)

    # Reading

    def _read(
        self, readers: Workers, walkers: Workers, parts: Sequence[tuple[str, HourWindow]]
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

    def _digest(self, name: str, symbol: str, window: HourWindow) -> None:
        found = hour_digest.digests(self._stream(name, symbol, window))
        with self._changing:
            for hour, state in found.items():
                self.candles[symbol, hour][name] = state

    def _stream(self, name: str, symbol: str, window: HourWindow) -> Iterator[Candle]:
        def reporting(kind: FindingKind) -> Callable[[int, str], None]:
            return lambda start, why: self._report(Finding(kind, symbol, name, start, why=why))

        candles = self._sites[name].candles
        return stream(candles, symbol, *window, reporting("damaged"), reporting("unmarked"))

    def _read_edges(self, symbol: str) -> None:
        start, end = self._window
        edges = [start - MINUTE] * (start > ALL_TIME.start) + [end] * (end < ALL_TIME.end)
        for name in self._sites:
            for edge in edges:
                for candle in self._stream(name, symbol, HourWindow(edge, edge + MINUTE)):
                    with self._changing:
                        self._edges[symbol].update(Ids(candle.runs))

    def _walk(self, readers: Workers, symbol: str, window: HourWindow) -> None:
        """Survey the raw archives of all sites in parallel, an hour at a time."""

        def listed(name: str) -> Iterator[tuple[int, str, list[Piece]]]:
            tally = self.tallies[name]

            def foreign(key: str) -> None:
                with self._changing:
                    tally.foreign += 1

            archive = self._sites[name].archive
            for hour, pieces in hour_digest.by_hour(archive, symbol, window, foreign):
                held = _held(pieces, Ids())
                with self._changing:
                    tally.objects += held.objects
                    tally.bytes += held.bytes
                    tally.blocks += sum(each.block is not None and each.is_first for each in pieces)
                    if blocks.is_settled(hour):
                        pending = sum(each.block is None for each in pieces)
                        tally.pending += pending
                        if pending and tally.pending_since is None:
                            tally.pending_since = hour
                yield hour, name, pieces

        everything = merged(*map(listed, self._sites), key=itemgetter(0))
        for hour, group in groupby(everything, key=itemgetter(0)):
            pieces = {name: held for _, name, held in group}
            self._look_into(readers, symbol, hour, pieces, self._deep)

    def _look_into(
        self, readers: Workers, symbol: str, hour: int, held: Mapping[str, list[Piece]], deep: bool
    ) -> None:
        """Find the ids in the objects of an hour, and read objects whose listing is not enough."""
        copies: defaultdict[Hashable, list[tuple[str, Piece]]] = defaultdict(list)
        contents: defaultdict[str, set[Hashable]] = defaultdict(set)
        for name, pieces in held.items():
            for piece in pieces:
                # Without an MD5, copies at different sites cannot be known to be equal.
                content = (piece.key, piece.stored.md5 or name)
                copies[content].append((name, piece))
                contents[piece.key].add(content)
        wanted: list[list[tuple[str, Piece]]] = []
        found: defaultdict[str, Ids] = defaultdict(Ids)
        for same in copies.values():
            piece = same[0][1]
            # Blocks with the same name usually differ, and their indexes show in which ids.
            differs = len(contents[piece.key]) > 1 and piece.block is None
            if deep or piece.ids is None or differs:
                wanted.append(same)
            else:
                for name, _ in same:
                    found[name].update(piece.ids)

        def read(same: list[tuple[str, Piece]]) -> Any:
            name, piece = same[0]
            return self._raw.read(self._sites[name].archive, piece, symbol)

        archived: list[Any] = []
        for same, read_trades in zip(wanted, readers.map(read, wanted), strict=True):
            ids = None if read_trades is None else self._raw.ids(read_trades)
            for name, piece in same:
                if ids is not None:
                    found[name].update(ids)
                elif not self._report_unreadable(name, symbol, piece.key, hour):
                    found[name].update(piece.ids or Ids())
            if deep and read_trades is not None:
                archived.append(read_trades)
        with self._changing:
            for name, pieces in held.items():
                self.raw[symbol, hour][name] = _held(pieces, found[name])
            if _contradict(piece for same in copies.values() for _, piece in same):
                self._odd.add((symbol, hour))
        if deep:
            self._recompute(symbol, hour, self._raw.hour(symbol, archived))

    def _report_unreadable(self, name: str, symbol: str, key: str, hour: int) -> bool:
        """Report a damaged or misfiled object. Return whether only its folder is wrong."""
        found = strays(key, self._sites[name].archive.get(key))
        if found is None:
            why = "the content of the object does not match its name"
            self._report(Finding("damaged", symbol, name, hour, key=key, why=why))
            return False
        first = found[0]
        where = f"{first.symbol} {to_timestamp(first.time // HOUR * HOUR)}"
        why = f"its name and its trades belong to {where}"
        runs = tuple(raw.ids_of(found).runs)
        self._report(Finding("misfiled", symbol, name, hour, runs, key=key, why=why))
        return True

    def _recompute(self, symbol: str, hour: int, archived: RawHour) -> None:
        """Compare every candle of an hour with the raw trades of all sites."""
        disputed = archived.disputed
        suspects, traded = Ids(disputed.runs), Ids()
        voids: list[tuple[str, int, Ids]] = []
        for name in self._sites:
            for candle in self._stream(name, symbol, HourWindow(hour, hour + HOUR)):
                if candle == archived.candles.get(candle.start):
                    # An id that is not disputed is in one minute only.
                    traded.update(_traded(candle))
                    continue
                known = archived.minute(candle.start)
                others = archived.everything.minus(raw.ids_of(known))
                suspects.update(others.common(Ids(candle.runs)))
                folded = fold(candle, [trade for trade in known if trade.id not in disputed])
                traded.update(_traded(candle))
                if filled := Ids(candle.runs).common(_traded(folded.candle)).minus(_traded(candle)):
                    voids.append((name, candle.start, filled))
                if folded.disagreements:
                    runs = Ids((each.first_id, each.last_id) for each in folded.disagreements).runs
                    why = str(folded.disagreements[0])
                    self._report(Finding("wrong", symbol, name, candle.start, tuple(runs), why=why))
        # If the candle of another site has the trade, the comparison of candles finds it.
        for name, start, filled in voids:
            if unknown := filled.minus(traded):
                why = f"{symbol} {unknown.runs[0][0]}: a void here, a trade in the archive"
                self._report(Finding("wrong", symbol, name, start, tuple(unknown.runs), why=why))
        if suspects:
            with self._changing:
                self._suspects[symbol, hour].update(suspects)

    def _report(self, finding: Finding) -> None:
        with self._changing:
            if finding not in self.found:
                self.found.append(finding)

    # Evaluation

    def _judge(self, readers: Workers, hours: Iterable[Hour]) -> list[Finding]:
        self._tell("comparing")
        hours = sorted(hours)
        symbols = sorted({symbol for symbol, _ in hours})
        differing = [hour for hour in hours if self._differs(self.candles.get(hour, {}))]
        compared = readers.map(lambda hour: self._compare(*hour), differing)
        findings = [each for found in compared for each in found]
        if self._scope.raw and not self._deep:
            off = {(f.symbol, f.start // HOUR * HOUR) for f in findings if f.kind == "disputed"}
            off |= {hour for hour in hours if self._is_odd(*hour)}
            for hour in sorted(off):
                self._look_deeply(readers, *hour)
        contradicted = {symbol: self.contradicted(symbol) for symbol in symbols}
        for symbol in symbols:
            self._judge_contents(symbol, contradicted[symbol])
        if self._scope.raw:
            findings += [each for hour in hours for each in self._hold_against(*hour)]
        for symbol in symbols:
            findings += self._incomplete(symbol)
        # A contradiction is not reported as data that one site has and another one lacks.
        doubtful = {symbol: _sum(of.values()) for symbol, of in contradicted.items()}
        findings = [
            kept for each in findings for kept in _without(each, doubtful.get(each.symbol, Ids()))
        ]
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

    def _differs(self, held: Mapping[str, HourDigest]) -> bool:
        return len({held.get(name, NOTHING).state for name in self._sites}) > 1

    def _is_odd(self, symbol: str, hour: int) -> bool:
        digests = self.candles.get((symbol, hour), {}).values()
        return (symbol, hour) in self._odd or any(each.is_odd for each in digests)

    def _compare(self, symbol: str, hour: int) -> list[Finding]:
        window = HourWindow(hour, hour + HOUR)
        states = {
            name: {each.start: each for each in self._stream(name, symbol, window)}
            for name in self._sites
        }
        return list(compare(symbol, states))

    def _look_deeply(self, readers: Workers, symbol: str, hour: int) -> None:
        """Read all raw objects of an hour, as ``deep`` does for every hour."""
        held = {
            name: raw.holdings(site.archive, symbol, hour) for name, site in self._sites.items()
        }
        self._look_into(readers, symbol, hour, held, deep=True)

    def doubtful(self, readers: Workers) -> dict[str, Ids]:
        """Return the ids that are in two places or have two contents, by symbol.

        They are found from keys, from candles and from the raw trades of hours that look wrong.
        """
        for hour in sorted({*self.candles, *self.raw}):
            if self._scope.raw and self._is_odd(*hour):
                self._look_deeply(readers, *hour)
        found = {name: _sum(self.contradicted(name).values()) for name in self.symbols}
        return {name: ids for name, ids in found.items() if ids}

    def contradicted(self, symbol: str) -> dict[int, Ids]:
        """Return the ids of a symbol that are in two places or have two contents, by hour."""
        hours: dict[int, Ids] = {}
        for (name, hour), digests in self.candles.items():
            if name == symbol:
                hours[hour] = _sum(each.ids for each in digests.values())
        for (name, hour), archived in self.raw.items():
            if name == symbol:
                ids = (each.ids for each in archived.values())
                hours[hour] = _sum((hours.get(hour, Ids()), *ids))
        found = shared(hours)
        for (name, hour), suspects in self._suspects.items():
            if name == symbol:
                found[hour] = _sum((found.get(hour, Ids()), suspects))
        for hour in hours:
            held = self.candles.get((symbol, hour), {})
            if (len(held) > 1 and self._differs(held)) or self._is_odd(symbol, hour):
                within = self._in_two_minutes(symbol, hour)
                if within:
                    found[hour] = _sum((found.get(hour, Ids()), within))
        return found

    def _in_two_minutes(self, symbol: str, hour: int) -> Ids:
        """Return the ids that two candles of an hour hold, at one site or at two sites."""
        minutes: defaultdict[int, Ids] = defaultdict(Ids)
        for name in self._sites:
            for candle in self._stream(name, symbol, HourWindow(hour, hour + HOUR)):
                minutes[candle.start].update(Ids(candle.runs))
        return _sum(shared(minutes).values())

    def _judge_contents(self, symbol: str, hours: Mapping[int, Ids]) -> None:
        """Report which of these ids are disputed, and which candles they prove wrong."""

        def unreadable(name: str, key: str, hour: int) -> None:
            self._report_unreadable(name, symbol, key, hour)

        first: dict[_Place, IdContents] = {}
        ids: defaultdict[_Place, Ids] = defaultdict(Ids)
        standing: defaultdict[_Place, set[int]] = defaultdict(set)
        for each in gather(self._sites, symbol, hours, unreadable):
            places: list[_Place] = []
            if each.is_disputed:
                places.append(("disputed", "", each.earliest // HOUR * HOUR))
            if self._scope.candles:
                places += [
                    ("misplaced", name, start)
                    for start, names in each.misplaced.items()
                    for name in sorted(names)
                ]
            for place in places:
                first.setdefault(place, each)
                ids[place].add(each.id, each.id)
                standing[place].update(each.hours)
        for (kind, name, start), each in first.items():
            runs, contents = tuple(ids[kind, name, start].runs), tuple(each.described())
            why = f"{each.id} is {', or '.join(contents)}"
            if each.proven is not None:
                why = f"{each.id} is {describe(each.proven)}"
            self._report(
                Finding(
                    kind,
                    symbol,
                    name,
                    start,
                    runs,
                    why=why,
                    contents=contents,
                    hours=tuple(sorted(standing[kind, name, start])),
                )
            )

    def _hold_against(self, symbol: str, hour: int) -> Iterator[Finding]:
        """Compare the archives of an hour with each other and with the candles."""
        archived = {name: held.ids for name, held in self.raw.get((symbol, hour), {}).items()}
        in_raw = _sum(archived.values())
        in_candles = _sum(each.ids for each in self.candles.get((symbol, hour), {}).values())
        everything = _sum((in_raw, in_candles))
        for name in self._sites:
            lacks = everything.minus(archived.get(name, Ids()))
            lacks = lacks.minus(self._find_exporting(name, symbol, hour, lacks))
            if lacks:
                there = tuple(other for other, ids in archived.items() if ids.common(lacks))
                lost = lacks.minus(in_raw).count
                why = f"no archive has {lost:,} of them" if lost else ""
                yield Finding(
                    "unarchived", symbol, name, hour, tuple(lacks.runs), elsewhere=there, why=why
                )
        orphans = in_raw.minus(in_candles) if self._scope.candles else Ids()
        if orphans:
            there = tuple(name for name, ids in archived.items() if ids.common(orphans))
            yield Finding("orphaned", symbol, "", hour, tuple(orphans.runs), elsewhere=there)

    def _find_exporting(self, name: str, symbol: str, hour: int, lacks: Ids) -> Ids:
        """Return the ids in recent candles of a site that its archive does not have yet."""
        found: dict[int, Ids] = {}
        delay = self._sites[name].archive.delay
        begin = max(hour, int((time.time() - delay) * 1000) // MINUTE * MINUTE)
        if lacks and delay and begin < hour + HOUR:
            for candle in self._stream(name, symbol, HourWindow(begin, hour + HOUR)):
                if ids := lacks.common(Ids(candle.runs)):
                    found[candle.start] = ids
        self._exporting[name, (symbol, hour)] = found
        return _sum(found.values())

    def tally_exporting(self) -> None:
        """Add the trades that export services have yet to write to the tallies."""
        for (name, _), found in self._exporting.items():
            tally = self.tallies[name]
            tally.exporting += sum(ids.count for ids in found.values())
            starts = [*found, *([tally.exporting_since] if tally.exporting_since else [])]
            tally.exporting_since = min(starts, default=None)

    def _incomplete(self, symbol: str) -> Iterator[Finding]:
        """Report the holes in the union of all ids at all sites.

        The union is needed since the ids of neighbouring minutes may interleave.
        """
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
    """Compare the candles of one symbol, which are given by site and start (in ms)."""
    for start in sorted(set[int]().union(*states.values())):
        held = {name: of[start] for name, of in states.items() if start in of}
        ids = {name: Ids(candle.runs) for name, candle in held.items()}
        whole = Candle(symbol, start)
        disputed: list[Disagreement] = []
        for candle in held.values():
            whole, disagreements = merge(whole, candle)
            disputed += disagreements
        traded = {name: _traded(candle) for name, candle in held.items()}
        for name in states:
            lacks = Ids(whole.runs).minus(ids.get(name, Ids()))
            # If another site has a trade with the id, a void is not enough.
            lacks.update(_traded(whole).minus(traded.get(name, Ids())))
            if lacks:
                there = tuple(
                    other
                    for other in held
                    if ids[other].common(lacks).minus(ids.get(name, Ids()))
                    or traded[other].common(lacks)
                )
                kind: FindingKind = "different" if name in held else "missing"
                yield Finding(kind, symbol, name, start, tuple(lacks.runs), elsewhere=there)
        if disputed:
            runs = Ids((each.first_id, each.last_id) for each in disputed).runs
            why = str(disputed[0])
            yield Finding(
                "disputed", symbol, "", start, tuple(runs), elsewhere=tuple(held), why=why
            )


def _traded(candle: Candle) -> Ids:
    """Return the ids in a candle that are not void."""
    return Ids(candle.runs).minus(
        Ids((id_, id_) for each in candle.fragments for id_ in each.voids)
    )


def _without(finding: Finding, ids: Ids) -> list[Finding]:
    """Return a finding without these ids, which have findings of their own.

    The list is empty if no ids are left.
    """
    held = Ids(finding.runs)
    if not held.common(ids):
        return [finding]
    # the finding names whole blocks, and some of these ids are in them
    if finding.kind == "disputed":
        return []
    runs = tuple(held.minus(ids).runs)
    return [replace(finding, runs=runs)] if runs else []


def _held(pieces: Iterable[Piece], ids: Ids) -> HeldObjects:
    pieces = list(pieces)
    return HeldObjects(
        ids,
        sum(piece.is_first for piece in pieces),
        round(sum(piece.stored.size * piece.share for piece in pieces)),
    )


def _contradict(pieces: Iterable[Piece]) -> bool:
    """Return whether the listing shows that an id has two contents in these pieces.

    The pieces are of one hour. Two of them contradict each other if they hold the same ids, but not
    the same lines.
    """
    objects: dict[str, Holding] = {}
    parts: dict[tuple[Run, ...], set[str]] = {}
    for piece in pieces:
        if piece.has_repeats:
            return True
        if piece.block is not None and piece.ids is not None:
            parts.setdefault(tuple(piece.ids.runs), set()).add(piece.digest)
        elif (holding := parse_key(piece.key)) and holding.is_dense:
            objects[piece.key] = holding
    return len(set(objects.values())) < len(objects) or any(
        len(each) > 1 for each in parts.values()
    )


def _sum(several: Iterable[Ids]) -> Ids:
    everything = Ids()
    for ids in several:
        everything.update(ids)
    return everything
