"""Find a trade in the producers' records, and in each site's candles, archive and log."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from mcloud.archive import raw
from mcloud.archive.raw import Piece
from mcloud.clouds.ports import Site
from mcloud.deadline import gather
from mcloud.errors import McloudError
from mcloud.market import trace
from mcloud.market.archive import HOUR
from mcloud.market.candle import MINUTE
from mcloud.market.trade import MAX_TIME, Trade, to_text
from mcloud.producer import message_log
from mcloud.runs import Run
from mcloud.trace.locate import Place, locate, search
from mcloud.trace.timeline import (
    ARCHIVED,
    RECEIVED,
    SiteFindings,
    SourceRecord,
    Stage,
    StageReport,
    described,
    iso,
    pick,
    stages,
)

DEADLINE = 30.0  # seconds for each site
HOURS = 48  # hours of raw trades to search if the time of a trade is only roughly known
# seconds of the log to search before and after a site stored the trade
BEFORE, AFTER = 15 * 60.0, 15 * 60.0
LATELY = 3600.0  # seconds of the log to search if the time of arrival is unknown
# seconds of the log to search after a message was sent, if the time of arrival is unknown
WAITING = 24 * 3600.0


@dataclass(frozen=True)
class Traced:
    symbol: str
    trade_id: int
    trade: Trade | None
    records: tuple[SourceRecord, ...]
    sites: dict[str, SiteFindings]
    timelines: dict[str, list[Stage]]
    producers: int
    """Number of producers whose records were searched."""

    @property
    def is_found(self) -> bool:
        return bool(self.records) or any(each.has_anything for each in self.sites.values())

    @property
    def looked(self) -> list[str]:
        """Places without the trade, and places that could not be searched, as text."""
        lines = [] if self.records else [f"producers of this folder: no record ({self.producers})"]
        for name, found in self.sites.items():
            notes = {
                "candles": found.candle_note,
                "raw trades": "" if found.key else found.archive_note,
                "the function's log": found.log_note,
            }
            lines += [f"{name}, {place}: {note}" for place, note in notes.items() if note]
        return lines

    @property
    def context(self) -> trace.TraceParent | None:
        """Trace context of the message with the trade."""
        texts = [each.journey.traceparent for each in self.records]
        return next(filter(None, map(trace.parse, texts)), None)

    @property
    def report(self) -> "TraceReport":
        trade, context = self.trade, self.context
        return TraceReport(
            symbol=self.symbol,
            id=self.trade_id,
            found=self.is_found,
            trade=trade
            and TracedTrade(
                to_text(trade.price), to_text(trade.quantity), iso(trade.time), trade.buyer_is_maker
            ),
            trace=context
            and TraceContext(
                context.trace_id,
                trace.xray_id(context.trace_id),
                context.span_id,
                context.sampled,
            ),
            messages=tuple(
                TracedMessage(
                    each.producer,
                    each.journey.first_id,
                    each.journey.last_id,
                    each.journey.trades,
                )
                for each in self.records
            ),
            sites={
                name: TracedSite(
                    found.candle or None, found.key or None, described(self.timelines[name])
                )
                for name, found in self.sites.items()
            },
            looked=tuple(self.looked),
        )


@dataclass(frozen=True)
class TracedTrade:
    price: str
    quantity: str
    time: str
    buyer_is_maker: bool


@dataclass(frozen=True)
class TraceContext:
    """Trace context of the message with the trade."""

    trace_id: str
    xray_trace_id: str
    span_id: str
    sampled: bool


@dataclass(frozen=True)
class TracedMessage:
    """A producer's record of a message with the trade."""

    producer: str
    first_id: int
    last_id: int
    trades: int | None


@dataclass(frozen=True)
class TracedSite:
    candle: str | None
    """Timestamp of the candle with the trade."""
    object: str | None
    """Key of an object in the raw archive with the trade."""
    stages: tuple[StageReport, ...]


@dataclass(frozen=True)
class TraceReport:
    """The places and times of a trade, as ``mcloud trace`` reports them."""

    symbol: str
    id: int
    found: bool
    trade: TracedTrade | None
    trace: TraceContext | None
    messages: tuple[TracedMessage, ...]
    sites: Mapping[str, TracedSite]
    looked: tuple[str, ...]

    @property
    def is_skewed(self) -> bool:
        """Whether a stage is earlier than the one before it, since two clocks differ.

        Two stages need not be in order: the first trade of a message may be received before the
        trade, and an export service may write the trade before the function has processed it.
        """
        for site in self.sites.values():
            times = [
                each.time
                for each in site.stages
                if each.time is not None and each.stage not in (RECEIVED, ARCHIVED)
            ]
            if times != sorted(times):
                return True
        return False


def find(
    symbol: str,
    trade_id: int,
    sites: Mapping[str, Site],
    producers: Sequence[Run],
    *,
    now: Callable[[], float] = time.time,
) -> Traced:
    """Find a trade. A place that cannot be read is noted in the result; the others are searched."""
    records = tuple(
        SourceRecord(run.name, journey)
        for run in producers
        for journey in message_log.find(run.folder, symbol, trade_id)
    )
    asked = {
        name: partial(_ask, site, symbol, trade_id, records, now()) for name, site in sites.items()
    }
    answers = {name: _answer(answer) for name, answer in gather(asked, DEADLINE).items()}
    trade = next((each.trade for each in answers.values() if each.trade), None)
    return Traced(
        symbol,
        trade_id,
        trade,
        records,
        answers,
        {name: stages(name, found, pick(records, name), trade) for name, found in answers.items()},
        len(producers),
    )


def _ask(
    site: Site, symbol: str, trade_id: int, records: Sequence[SourceRecord], now: float
) -> SiteFindings:
    record = pick(records, site.name)
    try:
        place = _place(site, symbol, trade_id, record)
    except McloudError as error:
        place = Place(None, record and record.journey.times, str(error))
    candle = place.candle.timestamp if place.candle else ""
    found = SiteFindings(candle=candle, candle_note=place.note)
    found = _in_archive(site, symbol, trade_id, _hours(place, now), found)
    return _in_log(site, symbol, trade_id, record, found, now)


def _answer(answer: SiteFindings | Exception) -> SiteFindings:
    if isinstance(answer, SiteFindings):
        return answer
    if not isinstance(answer, McloudError | TimeoutError):
        raise answer
    return SiteFindings(archive_note=str(answer), candle_note=str(answer), log_note=str(answer))


def _place(site: Site, symbol: str, trade_id: int, record: SourceRecord | None) -> Place:
    read = partial(site.candles.range, symbol)
    if record is not None and record.journey.times is not None:
        # Ids and times ascend together, except for a few milliseconds.
        begin, end = (at // MINUTE * MINUTE for at in sorted(record.journey.times))
        place = search(read(begin - MINUTE, end + 2 * MINUTE), trade_id)
        return place._replace(around=(begin - MINUTE, end + MINUTE))
    return locate(read, site.candles.last(symbol), trade_id)


def _hours(place: Place, now: float) -> Sequence[int]:
    """Return the hours whose raw trades may include the trade."""
    if place.around is None:
        return ()
    begin, end = place.around
    until = int(now * 1000) if end is None else end
    return range(begin // HOUR * HOUR, min(until, MAX_TIME) + 1, HOUR)[:HOURS]


def _in_archive(
    site: Site, symbol: str, trade_id: int, hours: Sequence[int], found: SiteFindings
) -> SiteFindings:
    if not hours:
        return replace(found, archive_note="not searched: the time of the trade is unknown")
    note = f"not in the trades from {iso(hours[0])} to {iso(hours[-1] + HOUR)}"
    if delay := site.archive.delay:
        note += f"; the export service of the site writes a trade within {delay:g} s"
    try:
        pieces = raw.pieces(site.archive, symbol, hours)
        candidates = [each for each in pieces if each.first_id <= trade_id <= each.last_id]
        # Times ascend with ids, except for differences of a few milliseconds.
        for piece in sorted(candidates, key=_written):
            trades = raw.read(site.archive, piece)
            if trades is None:
                note = f"{piece.key} is damaged"
                continue
            trade = next((trade for trade in trades if trade.id == trade_id), None)
            if trade is not None:
                found = replace(found, trade=trade, key=piece.key)
                if piece.block is None:
                    return replace(found, written=piece.stored.written)
                note = "in a block, which does not say when the trade arrived"
                return replace(found, archive_note=note)
    except McloudError as error:
        note = str(error)
    return replace(found, archive_note=note)


def _written(piece: Piece) -> tuple[bool, float]:
    """Sort key: a block was written long after its trades had arrived."""
    return piece.block is not None, piece.stored.written or 0.0


def _in_log(
    site: Site,
    symbol: str,
    trade_id: int,
    record: SourceRecord | None,
    found: SiteFindings,
    now: float,
) -> SiteFindings:
    sent = record.journey.sent.get(site.name) if record else None
    if found.written is not None:
        begin, end = found.written - BEFORE, found.written + AFTER
        if sent is not None:
            begin = min(begin, sent / 1000 - BEFORE)
    elif sent is not None:
        begin, end = sent / 1000 - BEFORE, min(now, sent / 1000 + WAITING)
    else:
        # The time of arrival is unknown and may be recent.
        begin, end = now - LATELY, now
    try:
        lines = tuple(site.logs.find(symbol, trade_id, begin, end))
    except McloudError as error:
        return replace(found, log_note=str(error))
    note = "" if lines else f"no line from {iso(int(begin * 1000))} to {iso(int(end * 1000))}"
    if note and found.key:
        note += "; a replicator may have copied it, or the log has expired"
    return replace(found, lines=lines, log_note=note)
