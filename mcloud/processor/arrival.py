"""Messages from the queue, and the log lines that record where their trades were stored and when.

One line covers several messages of a symbol with consecutive ids, because a line for each message
would cost as much as the message. A sampled message has its own line, with its trace.
"""

from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import NamedTuple, Self

from mcloud.market.envelope import Envelope
from mcloud.market.trace import TraceParent, parse
from mcloud.processor.ingest import Ingested


class Arrival(NamedTuple):
    """The trades of one symbol in a message, or in several consecutive messages."""

    symbol: str
    first_id: int
    last_id: int
    trades: int
    messages: int
    queued: int | None
    """Time when the queue accepted the last of them, by its own clock, in ms since 1970."""
    sampled: TraceParent | None
    """Its trace if its spans are recorded. It is then a single message."""

    @classmethod
    def all_of(
        cls, envelope: Envelope, attributes: Mapping[str, str], queued: int | None
    ) -> list[Self]:
        """Return an arrival for each symbol of a message."""
        parent = parse(attributes.get("traceparent", ""))
        sampled = parent if parent and parent.sampled else None
        return [
            cls(symbol, trades[0].id, trades[-1].id, len(trades), 1, queued, sampled)
            for symbol, trades in envelope.by_symbol
        ]

    @property
    def ids(self) -> dict[str, str | int]:
        """Return the first fields of its log line, by which ``Logs.find`` finds it."""
        return {"symbol": self.symbol, "first_id": self.first_id, "last_id": self.last_id}


def in_rows(arrivals: Iterable[Arrival]) -> list[Arrival]:
    """Join messages with consecutive ids. Sampled messages stay separate."""
    rows: list[Arrival] = []
    for arrival in sorted(arrivals, key=attrgetter("symbol", "first_id")):
        if rows and _continues(rows[-1], arrival):
            rows[-1] = _join(rows[-1], arrival)
        else:
            rows.append(arrival)
    return rows


def fields(arrival: Arrival, done: Ingested) -> dict[str, str | int | None]:
    """Return the fields of the log line about storing it. Times are in ms since 1970."""
    return {
        **arrival.ids,
        "trades": arrival.trades,
        "messages": arrival.messages,
        "queued": arrival.queued,
        "began": _ms(done.began),
        **({} if done.archived is None else {"archived": _ms(done.archived)}),
        "stored": _ms(done.stored),
    }


def _continues(row: Arrival, arrival: Arrival) -> bool:
    is_next = row.symbol == arrival.symbol and row.last_id + 1 == arrival.first_id
    return is_next and row.sampled is None and arrival.sampled is None


def _join(row: Arrival, arrival: Arrival) -> Arrival:
    stamps = [each.queued for each in (row, arrival) if each.queued is not None]
    return row._replace(
        last_id=arrival.last_id,
        trades=row.trades + arrival.trades,
        messages=row.messages + arrival.messages,
        queued=max(stamps) if len(stamps) == 2 else None,
    )


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
