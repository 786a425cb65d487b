"""Look for a trade everywhere: the producers' records, and each site's candles, archive and log."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any

from mcloud.clouds.ports import Site, Stored
from mcloud.deadline import gather
from mcloud.errors import McloudError
from mcloud.market import trace
from mcloud.market.archive import HOUR, BadArchive, parse_key, prefix, unpack
from mcloud.market.candle import MINUTE
from mcloud.market.trade import MAX_TIME, Trade, to_text
from mcloud.producer import trail
from mcloud.runs import Run
from mcloud.trace.locate import Place, locate, search
from mcloud.trace.timeline import Found, Record, Stage, described, iso, pick, stages

DEADLINE = 40.0  # seconds for a site
HOURS = 48  # of raw trades looked through, where the time of a trade is not known well
BEFORE, AFTER = 15 * 60.0, 15 * 60.0  # seconds of log, around when a site stored the trade
WAITING = 24 * 3600.0  # seconds of log after a message was sent, where it is not known when


@dataclass(frozen=True)
class Traced:
    symbol: str
    trade_id: int
    trade: Trade | None
    records: tuple[Record, ...]
    sites: dict[str, Found]
    timelines: dict[str, list[Stage]]
    looked: tuple[str, ...]
    """Where the trade was looked for, in words."""

    @property
    def is_found(self) -> bool:
        return bool(self.records) or any(each.has_anything for each in self.sites.values())

    @property
    def problems(self) -> list[tuple[str, str]]:
        """What could not be asked, and why, each with the site's name."""
        return [
            (name, problem)
            for name, found in self.sites.items()
            for problem in dict.fromkeys((found.candle_problem, found.archive_problem))
            if problem
        ]

    @property
    def context(self) -> trace.TraceParent | None:
        """Of the message with the trade."""
        texts = [each.journey.traceparent for each in self.records]
        return next(filter(None, map(trace.parse, texts)), None)

    def to_json(self) -> dict[str, Any]:
        """Plain values: times as texts, ``after_ms`` since the known stage before."""
        trade, context = self.trade, self.context
        return {
            "symbol": self.symbol,
            "id": self.trade_id,
            "found": self.is_found,
            "trade": trade
            and {
                "price": to_text(trade.price),
                "quantity": to_text(trade.quantity),
                "time": iso(trade.time),
                "buyer_is_maker": trade.buyer_is_maker,
            },
            "trace": context
            and {
                "trace_id": context.trace_id,
                "xray_trace_id": trace.xray_id(context.trace_id),
                "span_id": context.span_id,
                "sampled": context.sampled,
            },
            "messages": [
                {
                    "producer": each.producer,
                    "first_id": each.journey.first_id,
                    "last_id": each.journey.last_id,
                    "trades": each.journey.trades,
                }
                for each in self.records
            ],
            "sites": {
                name: {
                    "candle": found.candle or None,
                    "object": found.key or None,
                    "stages": described(self.timelines[name]),
                }
                for name, found in self.sites.items()
            },
            "looked": list(self.looked),
        }


def find(
    symbol: str,
    trade_id: int,
    sites: Mapping[str, Site],
    producers: Sequence[Run],
    *,
    now: Callable[[], float] = time.time,
) -> Traced:
    """Look for a trade; what cannot be asked is said in the answer, and stops nothing else."""
    records = tuple(
        Record(run.name, journey)
        for run in producers
        for journey in trail.find(run.folder, symbol, trade_id)
    )
    asked = {
        name: partial(_ask, site, symbol, trade_id, records, now()) for name, site in sites.items()
    }
    answers = {
        name: answer if isinstance(answer, Found) else _nothing(str(answer))
        for name, answer in gather(asked, DEADLINE).items()
    }
    trade = next((each.trade for each in answers.values() if each.trade), None)
    return Traced(
        symbol,
        trade_id,
        trade,
        records,
        answers,
        {name: stages(name, found, pick(records, name), trade) for name, found in answers.items()},
        (
            f"the records of {len(producers)} producers here",
            *(f"candles, raw trades and the function's log of {name}" for name in sites),
        ),
    )


def _ask(site: Site, symbol: str, trade_id: int, records: Sequence[Record], now: float) -> Found:
    record = pick(records, site.name)
    place, problem = Place(None, None), ""
    try:
        place = _place(site, symbol, trade_id, record)
    except McloudError as error:
        problem = str(error)
    candle = place.candle.timestamp if place.candle else ""
    found = Found(candle=candle, candle_problem=problem)
    found = _in_archive(site, symbol, trade_id, _hours(place, record, now), found)
    return _in_log(site, symbol, trade_id, record, found, now)


def _nothing(why: str) -> Found:
    return Found(archive_problem=why, candle_problem=why, log_problem=why)


def _place(site: Site, symbol: str, trade_id: int, record: Record | None) -> Place:
    read = partial(site.candles.range, symbol)
    if record is not None and record.journey.times is not None:
        begin, end = (at // MINUTE * MINUTE for at in record.journey.times)
        return search(read(begin, end + MINUTE), trade_id)._replace(around=(begin, end))
    return locate(read, site.candles.last(symbol), trade_id)


def _hours(place: Place, record: Record | None, now: float) -> list[int]:
    """The hours whose raw trades may have it, newest last."""
    if place.around is None:
        return []
    begin, end = place.around
    if place.candle is None and record is None and begin == end:
        # Above all candles: archived comes first, so it may be there since.
        end = int(now * 1000)
    hours = range(begin // HOUR * HOUR, min(end, MAX_TIME) + 1, HOUR)
    return list(hours[:HOURS])


def _in_archive(
    site: Site, symbol: str, trade_id: int, hours: Sequence[int], found: Found
) -> Found:
    if not hours:
        why = found.candle_problem or "not looked for: no candle tells when it was traded"
        return replace(found, archive_problem=why)
    problem = ""
    try:
        listed = chain.from_iterable(site.archive.list(prefix(symbol, hour)) for hour in hours)
        candidates = [each for each in listed if _may_hold(each, trade_id)]
        # The first that was written is the one by which the trade came.
        for each in sorted(candidates, key=lambda stored: stored.written or 0.0):
            try:
                trades = unpack(site.archive.get(each.key))
            except BadArchive as error:
                problem = f"{each.key} is damaged: {error}"
                continue
            trade = next((trade for trade in trades if trade.id == trade_id), None)
            if trade is not None:
                return replace(found, trade=trade, key=each.key, written=each.written)
    except McloudError as error:
        problem = str(error)
    return replace(found, archive_problem=problem)


def _may_hold(stored: Stored, trade_id: int) -> bool:
    holding = parse_key(stored.key)
    return holding is not None and holding.first_id <= trade_id <= holding.last_id


def _in_log(
    site: Site, symbol: str, trade_id: int, record: Record | None, found: Found, now: float
) -> Found:
    sent = record.journey.sent.get(site.name) if record else None
    if found.written is not None:
        begin, end = found.written - BEFORE, found.written + AFTER
        if sent is not None:
            begin = min(begin, sent / 1000 - BEFORE)
    elif sent is not None:
        begin, end = sent / 1000 - BEFORE, min(now, sent / 1000 + WAITING)
    else:
        return replace(found, log_problem="not looked for: nothing tells when it came")
    try:
        lines = site.logs.find(symbol, trade_id, begin, end)
    except McloudError as error:
        return replace(found, log_problem=str(error))
    return replace(found, lines=tuple(lines))
