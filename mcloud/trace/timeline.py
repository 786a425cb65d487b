"""The stages of a trade on one site: the time and the source of each, or why it is unknown."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from mcloud.clouds.ports import LogLine
from mcloud.clouds.staged import DELAY
from mcloud.documents import OMITTED
from mcloud.market.trade import Trade
from mcloud.producer.message_log import Journey

EXCHANGE, RECEIVED, SPOOLED, SENT, PROCESSED, ARCHIVED, STORED = STAGES = (
    "exchange",
    "received",
    "spooled",
    "sent",
    "processed",
    "archived",
    "stored",
)

# S3 truncates dates to the second, and its clock differs from that of the function
WHOLE_SECONDS = 2.0
NOBODY = "no producer of this machine has a record of it"


class Stage(NamedTuple):
    name: str
    """One of ``STAGES``."""
    at: int | None
    """Time in ms since 1970. None if unknown."""
    source: str
    """Source of the time, or the reason why it is unknown."""


class SourceRecord(NamedTuple):
    """A producer's record of a message, on this machine."""

    producer: str
    journey: Journey


@dataclass(frozen=True)
class SiteFindings:
    """The data of one site about a trade."""

    trade: Trade | None = None
    key: str = ""
    """Key of an object in the raw archive with the trade."""
    written: float | None = None
    """Time when the object was written, in seconds since 1970."""
    archive_note: str = ""
    """Why there is no object."""
    candle: str = ""
    """Timestamp of the candle with the trade."""
    candle_note: str = ""
    lines: tuple[LogLine, ...] = ()
    log_note: str = ""

    @property
    def has_anything(self) -> bool:
        return bool(self.key or self.candle or self.lines)


def pick(records: Sequence[SourceRecord], site: str) -> SourceRecord | None:
    """Return the record of the message that delivered the trade to a site, or else of the first
    message with the trade.
    """
    sent = [each for each in records if site in each.journey.sent]
    if sent:
        return min(sent, key=lambda each: each.journey.sent[site])
    return records[0] if records else None


def stages(
    site: str, found: SiteFindings, record: SourceRecord | None, trade: Trade | None
) -> list[Stage]:
    """Return all of STAGES, in their order. If the export service of the site has the trade,
    ``archived`` comes last: it is the time when the staged object with the trade was written.
    ``trade`` may be from any site, since all sites hold the same trades.
    """
    journey = record.journey if record else None
    producer = f"producer {record.producer}" if record else ""
    line = _stored_line(found)
    archived = (
        _known(ARCHIVED, _whole(line, "archived"), "the function's log")
        or _known(ARCHIVED, _ms(found.written), "date of the object")
        or Stage(ARCHIVED, None, found.archive_note)
    )
    stored = _known(STORED, _whole(line, "stored"), "the function's log") or Stage(
        STORED, None, _not_stored(found)
    )
    is_exported = line is not None and "archived" not in line.fields
    return [
        _exchange(found, trade),
        _here(RECEIVED, journey.received if journey else None, record, "the first of its message"),
        _here(SPOOLED, journey.spooled if journey else None, record),
        _known(SENT, journey.sent.get(site) if journey else None, producer)
        or _known(SENT, _whole(line, "queued"), _queued(line))
        or Stage(SENT, None, _not_sent(journey, producer)),
        _known(PROCESSED, _whole(line, "began"), "the function's log")
        or Stage(PROCESSED, None, _no_line(found)),
        *((stored, archived) if is_exported else (archived, stored)),
    ]


@dataclass(frozen=True)
class StageReport:
    """A stage as it is reported."""

    stage: str
    time: str | None
    """Time, as of ``iso``. None if unknown."""
    after_ms: int | None
    """Time since the previous known stage, in ms. It is negative if clocks differ, and if the stage
    need not come after the previous one; see ``TraceReport.is_skewed``.
    """
    source: str | None = field(default=None, metadata=OMITTED)
    """Source of the time."""
    unknown: str | None = field(default=None, metadata=OMITTED)
    """Reason why the time is unknown."""


def described(timeline: Sequence[Stage]) -> tuple[StageReport, ...]:
    """Return the stages as they are reported."""
    reports: list[StageReport] = []
    before: int | None = None
    for name, at, source in timeline:
        if at is None:
            reports.append(StageReport(name, None, None, unknown=source))
            continue
        after = None if before is None else at - before
        reports.append(StageReport(name, iso(at), after, source=source))
        before = at
    return tuple(reports)


def iso(ms: int) -> str:
    """Return a time as in ``2024-08-08T23:54:15.342Z``."""
    moment = datetime.fromtimestamp(ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03}Z"


def _stored_line(found: SiteFindings) -> LogLine | None:
    """Return the first log line about storing the trade since the object was written.

    If there is no such line, return the first one about storing it. Earlier lines are about a
    deleted object, for example after a reset of the site.
    """
    lines = [each for each in found.lines if each.message == "stored"]
    if found.written is not None:
        oldest = (found.written - WHOLE_SECONDS) * 1000
        lines = [each for each in lines if _latest_object(each) >= oldest] or lines
    return lines[0] if lines else None


def _latest_object(line: LogLine) -> float:
    """Return the latest usual time, in ms since 1970, of the object with the trades of a line."""
    archived = _whole(line, "archived")
    return (_whole(line, "stored") or 0) + DELAY * 1000 if archived is None else archived


def _exchange(found: SiteFindings, trade: Trade | None) -> Stage:
    if trade is None:
        return Stage(EXCHANGE, None, "no raw archive has the trade")
    return Stage(EXCHANGE, trade.time, "trade" if found.trade else "trade, from another site")


def _here(name: str, at: int | None, record: SourceRecord | None, which: str = "") -> Stage:
    if record is None:
        return Stage(name, None, NOBODY)
    producer = f"producer {record.producer}"
    if at is None:
        return Stage(name, None, f"{producer} has no record of it")
    return Stage(name, at, f"{producer}, {which}" if which else producer)


def _known(name: str, at: int | None, source: str) -> Stage | None:
    return None if at is None else Stage(name, at, source)


def _whole(line: LogLine | None, name: str) -> int | None:
    """Return a field as a whole number. Cloud Logging returns whole numbers as floats."""
    value = None if line is None else line.fields.get(name)
    return int(value) if isinstance(value, int | float) else None


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1000)


def _queued(line: LogLine | None) -> str:
    count = _whole(line, "messages") or 1
    return "the queue's stamp" + (f", the last of {count} messages" if count > 1 else "")


def _not_sent(journey: Journey | None, producer: str) -> str:
    if journey is None:
        return NOBODY
    if journey.sent:
        return f"{producer} has sent it to {', '.join(journey.sent)} only"
    return f"{producer} has it in its spool, or sent it and has no record of that"


def _no_line(found: SiteFindings) -> str:
    refused = next((each for each in found.lines if each.message != "stored"), None)
    if refused is not None:
        return f"the function refused its message: {refused.fields.get('reason', 'no reason')}"
    return found.log_note


def _not_stored(found: SiteFindings) -> str:
    if found.candle:
        return f"in the candle {found.candle}; no log shows when it was stored"
    return found.candle_note
