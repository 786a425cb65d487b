"""Contradictions that a person has to resolve: the contents at each site, and the choices.

``mcloud verify`` reports them: two contents under one trade id, a candle that the raw trades
neither confirm nor replace, or a damaged object whose trades no site has.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from mcloud.archive import blocks, raw
from mcloud.clouds.ports import Site
from mcloud.errors import McloudError, UsageError
from mcloud.market.archive import HOUR, fingerprint, parse_key
from mcloud.market.block import parse_block_key
from mcloud.market.candle import MINUTE, Candle, fold, to_timestamp
from mcloud.market.ids import Ids
from mcloud.market.trade import Trade, to_text
from mcloud.replication.candle_streams import stream
from mcloud.replication.hour_digest import ALL_TIME, HourWindow
from mcloud.replication.id_contents import AT_ONCE, IdContents, gather, minute_of
from mcloud.replication.scope import Scope
from mcloud.replication.settle import ChosenContent, Settlement
from mcloud.replication.verify import AT_ONCE as SYMBOLS
from mcloud.replication.verify import THREADS, Survey
from mcloud.workers import Workers

SHOWN = 10  # maximum number of ids whose contents are shown
NOTHING = "nothing"
ARCHIVE = "archive"


@dataclass(frozen=True)
class Question:
    """A contradiction and the ways to resolve it."""

    subject: str
    lines: tuple[str, ...]
    """Description of the contents at each site, for a person."""
    options: Mapping[str, Callable[[Settlement], list[str]]]
    """Contents that can be kept, each with the function that keeps it and returns errors."""
    is_open: bool
    """Whether there is a contradiction to resolve."""

    @property
    def document(self) -> "ResolveDocument":
        return ResolveDocument(self.subject, self.lines, tuple(self.options), self.is_open)


@dataclass(frozen=True)
class ResolveDocument:
    """A question and its answer, if there is one, as JSON."""

    subject: str
    contents: tuple[str, ...]
    options: tuple[str, ...]
    open: bool
    kept: str | None = None
    """The option that was kept."""
    backup: str | None = None
    """Path of the file with the contents that were removed."""
    problems: tuple[str, ...] = ()


def of_ids(
    sites: Mapping[str, Site],
    symbol: str,
    ids: Ids,
    window: HourWindow = ALL_TIME,
    tell: Callable[[str], None] = lambda words: None,
) -> Question:
    """Return the question which of the contents of these ids to keep.

    Raises:
        UsageError: there are more than ``AT_ONCE`` ids.
    """
    if ids.count > AT_ONCE:
        raise UsageError(f"{ids.count:,} ids are too many; give at most {AT_ONCE:,} at a time")
    look = Survey(sites, Scope(symbols=frozenset({symbol})), window, False, tell)
    with closing(Workers(THREADS)) as readers, closing(Workers(SYMBOLS)) as walkers:
        look.read_all(readers, walkers)
    hours: dict[int, Ids] = {}
    for held in (look.candles, look.raw):
        for (_, hour), of in held.items():
            for each in of.values():
                hours.setdefault(hour, Ids()).update(each.ids.common(ids))
    found = list(gather(sites, symbol, {hour: held for hour, held in hours.items() if held}))
    options = {
        name: _by_site(name, symbol, found)
        for name in sites
        if any(_of_site(name, each) is not None for each in found)
    }
    options |= {
        fingerprint(trade): _by_content(fingerprint(trade), symbol, found)
        for contents in found
        for trade in contents.trades
    }
    lines = [f"{each.id}: {line}" for each in found[:SHOWN] for line in each.described()]
    if len(found) > SHOWN:
        lines.append(f"… and {len(found) - SHOWN:,} more ids")
    named = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in ids.runs)
    is_open = any(each.is_disputed or each.misplaced for each in found)
    return Question(f"{symbol} {named}", tuple(lines), options, is_open)


def of_candle(sites: Mapping[str, Site], symbol: str, start: int) -> Question:
    """Return the question which state of a candle all sites should have.

    ``start`` is the start of its minute, in ms since 1970.
    """
    lines: list[str] = []
    held: dict[str, Candle] = {}

    def damaged(name: str) -> Callable[[int, str], None]:
        return lambda minute, why: lines.append(f"{name}: {why}")

    found: set[Trade] = set()
    for name, site in sites.items():
        for candle in stream(site.candles, symbol, start, start + MINUTE, damaged(name)):
            held[name] = candle
        for piece in raw.holdings(site.archive, symbol, start // HOUR * HOUR):
            content = raw.read(site.archive, piece) or ()
            found.update(each for each in content if minute_of(each) == start)
    trades = raw.undisputed(found)
    made = fold(Candle(symbol, start), trades).candle
    options: dict[str, Callable[[Settlement], list[str]]] = {}
    is_open = bool(lines) or len(set(held.values())) > 1
    for name, candle in held.items():
        disagreements = fold(candle, trades).disagreements
        lines.append(f"{name}: {_drawn(candle)}")
        if disagreements:
            is_open = True
            lines[-1] += f"; the raw trades contradict it: {disagreements[0]}"
        else:
            options[name] = _keeping(candle)
    if made.fragments:
        lines.append(f"{ARCHIVE}: {_drawn(made)}, made from the raw trades")
        options[ARCHIVE] = _keeping(made)
        is_open = is_open or any(candle != made for candle in held.values())
    else:
        lines.append(f"{ARCHIVE}: no raw trades of this minute")
        options[NOTHING] = _keeping(Candle(symbol, start))
    return Question(f"{symbol} {to_timestamp(start)}", tuple(lines), options, is_open)


def of_object(sites: Mapping[str, Site], symbol: str, key: str) -> Question:
    """Return the question whether to remove a raw object from the sites where it is damaged.

    Raises:
        UsageError: this is not the key of an object of the symbol.
    """
    block, holding = parse_block_key(key), parse_key(key)
    if symbol not in (block and block.symbol, holding and holding.symbol):
        raise UsageError(f"{key} is not the key of a raw object of {symbol}")
    lines, damaged = [], []
    for name, site in sites.items():
        stored = next((each for each in site.archive.list(key) if each.key == key), None)
        if stored is None:
            lines.append(f"{name}: no such object")
        elif (block and blocks.read(site.archive, block, stored)) or (
            not block and raw.read_object(site.archive, key) is not None
        ):
            lines.append(f"{name}: intact")
        else:
            lines.append(f"{name}: damaged, since its content does not match its name")
            damaged.append(name)

    def discard(settlement: Settlement) -> list[str]:
        for name in damaged:
            settlement.discard(name, key)
        return []

    options = {NOTHING: discard} if damaged else {}
    return Question(f"{symbol} {key}", tuple(lines), options, bool(damaged))


def _by_site(
    name: str, symbol: str, found: Sequence[IdContents]
) -> Callable[[Settlement], list[str]]:
    def keep(settlement: Settlement) -> list[str]:
        choices, problems = {}, []
        for each in found:
            choice = _of_site(name, each)
            if choice is None:
                problems.append(
                    f"{name} has no content or several contents of {symbol} {each.id}; choose one"
                    f" with `mcloud resolve {symbol} {each.id}`"
                )
            else:
                choices[each.id] = choice
        return problems + settlement.settle(symbol, _hours(found), choices)

    return keep


def _by_content(
    digits: str, symbol: str, found: Sequence[IdContents]
) -> Callable[[Settlement], list[str]]:
    choices = {
        each.id: ChosenContent.of(trade)
        for each in found
        for trade in each.trades
        if fingerprint(trade) == digits
    }
    return lambda settlement: settlement.settle(symbol, _hours(found), choices)


def _of_site(name: str, contents: IdContents) -> ChosenContent | None:
    """Return the content that a site has in its archive, or else in a candle.

    Return None if the site has none or several.
    """
    trades = [trade for trade, sites in contents.trades.items() if name in sites]
    if trades:
        return ChosenContent.of(trades[0]) if len(trades) == 1 else None
    minutes = [start for start, sites in contents.minutes.items() if name in sites]
    if len(minutes) != 1:
        return None
    of_minute = [trade for trade in contents.trades if minute_of(trade) == minutes[0]]
    return ChosenContent(minutes[0], of_minute[0] if len(of_minute) == 1 else None)


def _hours(found: Sequence[IdContents]) -> dict[int, Ids]:
    hours: dict[int, Ids] = {}
    for each in found:
        for hour in each.hours:
            hours.setdefault(hour, Ids()).add(each.id, each.id)
    return hours


def _keeping(candle: Candle) -> Callable[[Settlement], list[str]]:
    def keep(settlement: Settlement) -> list[str]:
        try:
            settlement.keep_candle(candle)
        except McloudError as error:
            return [str(error)]
        return []

    return keep


def _drawn(candle: Candle) -> str:
    numbers = ", ".join(
        f"{name} {to_text(getattr(candle, name))}"
        for name in ("open", "high", "low", "close", "volume")
    )
    return f"{candle.trade_count:,} trades {candle.first_id}-{candle.last_id}, {numbers}"
