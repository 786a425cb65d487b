"""Has all sites hold one content under a trade id: the one that is proven, or that somebody chose.

The chosen trade is written everywhere before another content is taken away, and what is taken away
is backed up first. An end at any moment leaves work that the next run does; doing it again changes
nothing.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter

from mcloud.clouds.ports import Site, StoredCandle
from mcloud.errors import McloudError
from mcloud.market.archive import HOUR, ArchiveObject, pack, parse_key, strays, unpack
from mcloud.market.block import BlockKey
from mcloud.market.candle import MINUTE, Candle, drop, fold, merge, to_timestamp
from mcloud.market.trade import Trade
from mcloud.replication import blocks, raw
from mcloud.replication.backup import Backup
from mcloud.replication.candle_streams import stream
from mcloud.replication.id_contents import minute_of
from mcloud.replication.ids import Ids


@dataclass(frozen=True)
class ChosenContent:
    """The content that is to stand under an id."""

    minute: int
    """Start of the minute that the trade is of, ms."""
    trade: Trade | None
    """None where no raw trade is left, and a candle is all that there is."""

    @classmethod
    def of(cls, trade: Trade) -> "ChosenContent":
        return cls(minute_of(trade), trade)


@dataclass
class _Change:
    """What is to become of one candle of a site."""

    trades: dict[int, Trade] = field(default_factory=dict)
    """Trades of the minute, by id, whose fragments are made again from them."""
    foreign: Ids = field(default_factory=Ids)
    """Ids that belong to another minute."""

    @property
    def chosen(self) -> Ids:
        own = Ids((each, each) for each in self.trades)
        return Ids([*own.runs, *self.foreign.runs])


@dataclass(frozen=True)
class _Plan:
    """A change of one candle that can be carried out."""

    site: str
    start: int
    """Start of the minute, ms."""
    change: _Change
    known: Mapping[int, Trade]
    """The trades that its fragments are made of again, by id."""


class Settlement:
    def __init__(self, sites: Mapping[str, Site], backup: Backup) -> None:
        self._sites = sites
        self._backup = backup

    def settle(
        self, symbol: str, hours: Mapping[int, Ids], choices: Mapping[int, ChosenContent]
    ) -> list[str]:
        """Have these contents stand under their ids, and no others; returns what failed, and why.

        Nothing is changed for an id of which a candle cannot be made again.

        Args:
            hours: which of the ids stand in which hour, by its start, in whatever content.
        """
        choices = dict(choices)
        places = {hour: Ids(ids.runs) for hour, ids in hours.items()}
        for id_, choice in choices.items():
            places.setdefault(choice.minute // HOUR * HOUR, Ids()).add(id_, id_)
        problems: list[str] = []
        while True:
            plans, failing = self._plan(symbol, places, choices, problems)
            if not failing:
                break
            choices = {id_: each for id_, each in choices.items() if id_ not in failing}
        for item in pack(each.trade for each in choices.values() if each.trade is not None):
            for site in self._sites.values():
                self._archive(site, item)
        complete = True
        for plan in plans:
            try:
                self._carry_out(symbol, plan)
            except McloudError as error:
                problems.append(f"{plan.site} {symbol} {to_timestamp(plan.start)}: {error}")
                complete = False
        if complete:  # until then what is taken away may still be wanted for a candle
            for name, site in self._sites.items():
                for hour, ids in sorted(places.items()):
                    self._take_others(name, site, symbol, hour, ids, choices)
        return problems

    def remake(self, site: str, symbol: str, start: int, runs: Iterable[tuple[int, int]]) -> None:
        """Make the fragments of a candle with these ids again from the raw trades.

        Raises:
            McloudError: the archives lack some of them, or hold two trades under one id.
        """
        wanted = Ids(runs)
        trades = self._archived(symbol, start // HOUR * HOUR, wanted)
        mine = {each.id: each for each in trades if minute_of(each) == start}
        lost = wanted.minus(Ids((each, each) for each in mine))
        if lost:
            raise _lacking(lost, symbol, start)
        change = _Change(mine)
        self._carry_out(
            symbol, _Plan(site, start, change, self._known(site, symbol, start, change))
        )

    def rebuild(self, site: str, symbol: str, start: int, disputed: Ids) -> None:
        """Make a damaged candle again, from the raw trades and from what other sites have of it.

        Raises:
            McloudError: nobody has anything of it.
        """
        trades: set[Trade] = set()
        made = Candle(symbol, start)
        for name, other in self._sites.items():
            for piece in raw.holdings(other.archive, symbol, start // HOUR * HOUR):
                content = raw.read(other.archive, piece) or ()
                trades.update(each for each in content if minute_of(each) == start)
            if name != site:
                ignored = stream(other.candles, symbol, start, start + MINUTE, lambda at, why: None)
                for candle in ignored:
                    made = merge(made, drop(candle, disputed.runs)).candle
        known = [each for each in raw.undisputed(trades) if each.id not in disputed]
        made = merge(fold(Candle(symbol, start), known).candle, made).candle
        if not made.fragments:
            raise McloudError(
                "no other site has this candle, and no archive its trades",
                remedy=f"`mcloud resolve {symbol} {to_timestamp(start)} --keep nothing` deletes it",
            )
        self._overwrite(site, made)

    def move(self, site: str, key: str) -> None:
        """Put an object that lies in the folder of another hour or symbol where it belongs."""
        archive = self._sites[site].archive
        body = archive.get(key)
        trades = strays(key, body)
        if trades is None:
            raise McloudError("it is not what it was any more")
        for item in pack(trades):
            self._archive(self._sites[site], item)
        self.discard(site, key)

    def discard(self, site: str, key: str) -> None:
        """Take an object away."""
        archive = self._sites[site].archive
        self._backup.object(site, key, archive.get(key))
        archive.remove(key)

    def keep_candle(self, chosen: Candle) -> None:
        """Have all sites store this candle, or none of that minute where it is empty."""
        for name in self._sites:
            self._overwrite(name, chosen)

    # Archives

    def _archive(self, site: Site, item: ArchiveObject) -> None:
        """Write an object unless other objects of the site hold its trades."""
        holding = parse_key(item.key)
        assert holding is not None
        trades = unpack(item.body)
        ids = raw.ids_of(trades)
        left = set(trades)
        for piece in raw.holdings(site.archive, holding.symbol, holding.hour):
            if ids.common(piece.range):
                left -= set(raw.read(site.archive, piece) or ())
        for each in pack(left):
            site.archive.put(each)

    def _take_others(
        self,
        name: str,
        site: Site,
        symbol: str,
        hour: int,
        ids: Ids,
        choices: Mapping[int, ChosenContent],
    ) -> None:
        """Take from the objects of an hour whatever stands there in place of what was chosen."""
        for piece in raw.holdings(site.archive, symbol, hour):
            if not ids.common(piece.range):
                continue
            trades = raw.read(site.archive, piece)
            kept = [each for each in trades or () if _is_kept(each, choices)]
            if trades is None or len(kept) == len(trades):
                continue
            if piece.block is not None:
                self._take_from_block(name, site, piece.block, choices)
                continue
            for item in pack(kept):
                site.archive.put(item)
            self.discard(name, piece.key)

    def _take_from_block(
        self, name: str, site: Site, key: BlockKey, choices: Mapping[int, ChosenContent]
    ) -> None:
        def kept(trades: list[Trade], body: bytes) -> list[Trade]:
            left = [each for each in trades if _is_kept(each, choices)]
            if len(left) < len(trades):
                self._backup.object(name, str(key), body)
            return left

        blocks.rewrite(site.archive, key, kept)

    # Candles

    def _plan(
        self,
        symbol: str,
        places: Mapping[int, Ids],
        choices: Mapping[int, ChosenContent],
        problems: list[str],
    ) -> tuple[list["_Plan"], set[int]]:
        """Return what becomes of each candle, and the ids for which that cannot be done.

        ``problems`` gets the reasons.
        """
        plans: list[_Plan] = []
        failing: set[int] = set()
        for name in self._sites:
            for hour, ids in sorted(places.items()):
                wanted = ids.common(Ids((each, each) for each in choices))
                for start, change in self._changes(name, symbol, hour, wanted, choices, problems):
                    try:
                        known = self._known(name, symbol, start, change)
                    except McloudError as error:
                        problems.append(f"{name} {symbol} {to_timestamp(start)}: {error}")
                        for first, last in change.chosen.runs:
                            failing.update(range(first, last + 1))
                    else:
                        plans.append(_Plan(name, start, change, known))
        return plans, failing

    def _changes(
        self,
        name: str,
        symbol: str,
        hour: int,
        ids: Ids,
        choices: Mapping[int, ChosenContent],
        problems: list[str],
    ) -> list[tuple[int, _Change]]:
        changes: defaultdict[int, _Change] = defaultdict(_Change)
        for id_, choice in choices.items():
            if choice.trade is not None and choice.minute // HOUR * HOUR == hour:
                changes[choice.minute].trades[id_] = choice.trade

        def damaged(start: int, why: str) -> None:
            if (problem := f"{name}: {why}") not in problems:
                problems.append(problem)

        candles = self._sites[name].candles
        for candle in stream(candles, symbol, hour, hour + HOUR, damaged):
            for first, last in ids.common(Ids(candle.runs)).runs:
                for id_ in range(first, last + 1):
                    if choices[id_].minute != candle.start:
                        changes[candle.start].foreign.add(id_, id_)
        return sorted(changes.items(), key=itemgetter(0))

    def _known(self, name: str, symbol: str, start: int, change: _Change) -> dict[int, Trade]:
        """Return the trades by which the candle of a site can be made again, by id.

        Raises:
            McloudError: the archives lack some of them, or hold two under one id.
        """
        beside, chosen = Ids(), change.chosen
        for candle in self._sites[name].candles.range(symbol, start, start + MINUTE):
            beside = _beside(candle, chosen)
        found = self._archived(symbol, start // HOUR * HOUR, beside, chosen) if beside else set()
        mine = {each.id: each for each in found if minute_of(each) == start}
        if lacking := beside.minus(Ids((each, each) for each in mine)):
            raise _lacking(lacking, symbol, start)
        return mine | change.trades

    def _carry_out(self, symbol: str, plan: "_Plan") -> None:
        change = partial(
            self._changed, plan.site, plan.change.chosen, plan.known, plan.change.trades
        )
        self._sites[plan.site].candles.rewrite(symbol, plan.start, change)

    def _changed(
        self,
        name: str,
        chosen: Ids,
        known: Mapping[int, Trade],
        own: Mapping[int, Trade],
        stored: StoredCandle,
    ) -> Candle:
        if stored.candle is None:
            raise McloudError("the stored candle is damaged")
        before = stored.candle
        lost = _beside(before, chosen)
        lacking = lost.minus(Ids((each, each) for each in known))
        if lacking:
            raise _lacking(lacking, before.symbol, before.start)
        again = [known[id_] for first, last in lost.runs for id_ in range(first, last + 1)]
        made = fold(drop(before, chosen.runs), [*own.values(), *again]).candle
        if made != before and before.fragments:
            self._backup.candle(name, stored.record)
        return made

    def _overwrite(self, name: str, candle: Candle) -> None:
        def change(stored: StoredCandle) -> Candle:
            if stored.record and candle != stored.candle:
                self._backup.candle(name, stored.record)
            return candle

        self._sites[name].candles.rewrite(candle.symbol, candle.start, change)

    def _archived(
        self, symbol: str, hour: int, ids: Ids, together: Ids | None = None
    ) -> set[Trade]:
        """The raw trades of these ids in an hour, of all sites.

        Args:
            together: ids that can only be settled together with the ones that are disputed.

        Raises:
            McloudError: two of them have one id.
        """
        found: set[Trade] = set()
        for site in self._sites.values():
            for piece in raw.holdings(site.archive, symbol, hour):
                if ids.common(piece.range):
                    content = raw.read(site.archive, piece) or ()
                    found.update(each for each in content if each.id in ids)
        single = set(raw.undisputed(found))
        disputed = ids.common(raw.ids_of(found)).minus(raw.ids_of(single))
        if disputed:
            first = disputed.runs[0][0]
            runs = Ids([*disputed.runs, *(together or Ids()).runs]).runs
            named = f"{runs[0][0]}-{runs[-1][1]}" if together else f"{first}"
            raise McloudError(
                f"the raw archives hold different trades under {first} as well",
                remedy=f"settle them at once: `mcloud resolve {symbol} {named}`",
            )
        return single


def _is_kept(trade: Trade, choices: Mapping[int, ChosenContent]) -> bool:
    choice = choices.get(trade.id)
    if choice is None:
        return True
    return trade == choice.trade if choice.trade else minute_of(trade) == choice.minute


def _beside(candle: Candle, chosen: Ids) -> Ids:
    """The other ids in the fragments that hold some of these: they have to be made again."""
    kept = Ids(drop(candle, chosen.runs).runs)
    return Ids(candle.runs).minus(kept).minus(chosen)


def _lacking(ids: Ids, symbol: str, start: int) -> McloudError:
    runs = ids.runs
    named = ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs[:4])
    more = f" and {len(runs) - 4:,} more runs" if len(runs) > 4 else ""
    return McloudError(
        f"the raw archives lack some of its trades: {named}{more}",
        remedy=f"`mcloud resolve {symbol} {to_timestamp(start)}` shows what is left of it, and lets"
        " you choose",
    )
