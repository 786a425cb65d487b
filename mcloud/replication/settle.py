"""Give all sites the same content for a trade id: the proven one, or the one that somebody chose.

The chosen trade is written to all sites before another content is removed, and whatever is removed
is backed up first. If a run is interrupted, the next run does the rest. Repeating work changes
nothing.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter

from mcloud.archive import blocks, raw
from mcloud.clouds.ports import Site, StoredCandle
from mcloud.errors import McloudError
from mcloud.market.archive import HOUR, ArchiveObject, pack, parse_key, strays, unpack
from mcloud.market.block import BlockKey
from mcloud.market.candle import MINUTE, Candle, drop, fold, merge, to_timestamp
from mcloud.market.ids import Ids
from mcloud.market.trade import Trade
from mcloud.replication.backup import Backup
from mcloud.replication.candle_streams import stream
from mcloud.replication.id_contents import minute_of


@dataclass(frozen=True)
class ChosenContent:
    """The content to keep for an id."""

    minute: int
    """Start of the minute of the trade, in ms since 1970."""
    trade: Trade | None
    """The trade, or None if no raw trade is left and only a candle has the id."""

    @classmethod
    def of(cls, trade: Trade) -> "ChosenContent":
        return cls(minute_of(trade), trade)


@dataclass
class _Change:
    """A change of one candle of a site."""

    trades: dict[int, Trade] = field(default_factory=dict)
    """Trades of the minute, by id, from which fragments are made again."""
    foreign: Ids = field(default_factory=Ids)
    """Ids that belong to another minute."""

    @property
    def chosen(self) -> Ids:
        own = Ids((each, each) for each in self.trades)
        return Ids([*own.runs, *self.foreign.runs])


@dataclass(frozen=True)
class _Plan:
    """A change of one candle for which all trades are available."""

    site: str
    start: int
    """Start of the minute, in ms since 1970."""
    change: _Change
    known: Mapping[int, Trade]
    """Trades from which fragments are made again, by id."""


class Settlement:
    """Replaces contents of trade ids in the candles and archives of all sites.

    Args:
        backup: receives everything that is removed or overwritten.
    """

    def __init__(self, sites: Mapping[str, Site], backup: Backup) -> None:
        self._sites = sites
        self._backup = backup

    def settle(
        self, symbol: str, hours: Mapping[int, Ids], choices: Mapping[int, ChosenContent]
    ) -> list[str]:
        """Keep the chosen contents of ids, and remove all others. Return the errors.

        Nothing is changed for an id if one of its candles cannot be made again.

        Args:
            hours: ids that have any content in an hour, by start of the hour (in ms).
            choices: contents to keep, by id.
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
        if complete:  # otherwise a candle may still need the trades that this removes
            for name, site in self._sites.items():
                for hour, ids in sorted(places.items()):
                    self._take_others(name, site, symbol, hour, ids, choices)
        return problems

    def remake(self, site: str, symbol: str, start: int, runs: Iterable[tuple[int, int]]) -> None:
        """Make those fragments of a candle again that hold these ids, from the raw trades.

        Raises:
            McloudError: the archives lack some of the trades, or hold two trades with one id.
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
        """Make a damaged candle again from the raw trades and from the candles of other sites.

        Raises:
            McloudError: no site has any data of this candle.
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
                "no other site has this candle, and no archive has its trades",
                remedy=f"run `mcloud resolve {symbol} {to_timestamp(start)} --keep nothing` to"
                " delete it",
            )
        self._overwrite(site, made)

    def move(self, site: str, key: str) -> None:
        """Move an object from the folder of another hour or symbol to the right folder."""
        archive = self._sites[site].archive
        body = archive.get(key)
        trades = strays(key, body)
        if trades is None:
            raise McloudError("another process changed the object in the meantime")
        for item in pack(trades):
            self._archive(self._sites[site], item)
        self.discard(site, key)

    def discard(self, site: str, key: str) -> None:
        """Back up and remove an object."""
        archive = self._sites[site].archive
        self._backup.object(site, key, archive.get(key))
        archive.remove(key)

    def keep_candle(self, chosen: Candle) -> None:
        """Store a candle at all sites. If it is empty, remove the candle of its minute instead."""
        for name in self._sites:
            self._overwrite(name, chosen)

    # Archives

    def _archive(self, site: Site, item: ArchiveObject) -> None:
        """Write the trades of an object that no other object of the site holds."""
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
        """Remove contents that were not chosen from the objects of an hour."""
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
        """Return the planned changes of candles, and the ids for which a change is impossible.

        The reasons are added to ``problems``.
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
        """Return the trades that are needed to make the candle of a site again, by id.

        Raises:
            McloudError: the archives lack some of the trades, or hold two trades with one id.
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
            self._backup.candle(name, stored)
        return made

    def _overwrite(self, name: str, candle: Candle) -> None:
        def change(stored: StoredCandle) -> Candle:
            if stored.record and candle != stored.candle:
                self._backup.candle(name, stored)
            return candle

        self._sites[name].candles.rewrite(candle.symbol, candle.start, change)

    def _archived(
        self, symbol: str, hour: int, ids: Ids, together: Ids | None = None
    ) -> set[Trade]:
        """Return the raw trades with these ids in an hour, from all sites.

        Args:
            together: ids that can only be settled together with these. The error message names
                them.

        Raises:
            McloudError: two of the trades have the same id.
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
                f"the raw archives also hold different trades with the id {first}",
                remedy=f"resolve these ids together with `mcloud resolve {symbol} {named}`",
            )
        return single


def _is_kept(trade: Trade, choices: Mapping[int, ChosenContent]) -> bool:
    choice = choices.get(trade.id)
    if choice is None:
        return True
    return trade == choice.trade if choice.trade else minute_of(trade) == choice.minute


def _beside(candle: Candle, chosen: Ids) -> Ids:
    """Return the other ids in the fragments that hold chosen ids. These must be made again."""
    kept = Ids(drop(candle, chosen.runs).runs)
    return Ids(candle.runs).minus(kept).minus(chosen)


def _lacking(ids: Ids, symbol: str, start: int) -> McloudError:
    runs = ids.runs
    named = ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs[:4])
    more = f" and {len(runs) - 4:,} more runs" if len(runs) > 4 else ""
    return McloudError(
        f"the raw archives lack some of the candle's trades: {named}{more}",
        remedy=f"run `mcloud resolve {symbol} {to_timestamp(start)}` to see the contents that are"
        " left and choose one",
    )
