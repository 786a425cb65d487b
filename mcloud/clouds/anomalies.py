"""Anomalies in the control store of a site: producers store them, and a function sends them.

An anomaly is stored under a key made of its content, so that several finders agree. Of two versions
the better-informed one stays, on every site the same one. Beside a new anomaly there is a note that
it has not been sent. The anomaly function sends the noted ones, and deletes the notes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from mcloud.clouds.optimistic import attempts
from mcloud.clouds.ports import Control
from mcloud.documents import OTHER_TEXTS, Count, Damaged, Kind, Matching, Parsed, encode, sound
from mcloud.errors import Contention
from mcloud.market.anomaly import Anomaly, AnomalyKind
from mcloud.market.candle import parse_timestamp, to_timestamp
from mcloud.market.indicators import signed_text
from mcloud.market.trade import SYMBOL


def _finite(text: str) -> None:
    try:
        is_finite = Decimal(text).is_finite()
    except InvalidOperation as error:
        raise ValueError(text) from error
    if not is_finite:
        raise ValueError(text)


Timestamp = Annotated[str, Parsed(parse_timestamp, "a minute such as 2024-08-08T23:54:00Z")]
Number = Annotated[str, Parsed(_finite, "a decimal number")]


@dataclass(frozen=True)
class AnomalyRecord:
    """The stored form of an ``Anomaly``, with the same fields. Numbers are canonical texts."""

    timestamp: Timestamp
    symbol: Annotated[str, Matching(SYMBOL, "a symbol")]
    kind: Annotated[AnomalyKind, OTHER_TEXTS]
    value: Number
    usual: Number
    change: Number
    score: Number
    trades: Count
    complete: bool

    @classmethod
    def of(cls, anomaly: Anomaly) -> "AnomalyRecord":
        return cls(
            anomaly.timestamp,
            anomaly.symbol,
            anomaly.kind,
            signed_text(anomaly.value),
            signed_text(anomaly.usual),
            signed_text(anomaly.change),
            signed_text(anomaly.score),
            anomaly.trades,
            anomaly.complete,
        )

    @property
    def anomaly(self) -> Anomaly:
        return Anomaly(
            self.symbol,
            parse_timestamp(self.timestamp),
            self.kind,
            Decimal(self.value),
            Decimal(self.usual),
            Decimal(self.change),
            Decimal(self.score),
            self.trades,
            self.complete,
        )

    @property
    def rank(self) -> tuple[bool, int, Decimal, str]:
        """Sort key: of two versions of an anomaly, the one with the higher rank stays.

        It knows more trades. Of the same trades, the version with the longer history is usually the
        less surprising one. The text decides what is left, so that all finders decide alike.
        """
        return self.complete, self.trades, -abs(Decimal(self.score)), repr(self)


@dataclass(frozen=True)
class ListedAnomaly(AnomalyRecord):
    """An anomaly in the list of `mcloud anomalies`."""

    sites: tuple[str, ...]
    """Names of the sites that have it."""


ANOMALIES = Kind("anomaly", AnomalyRecord)
UNTOLD_ANOMALIES = Kind("anomaly-untold", AnomalyRecord)
KIND, UNTOLD = ANOMALIES.name, UNTOLD_ANOMALIES.name
"""Kinds of the documents: anomalies, and notes of those that have not been sent."""


def store(control: Control, anomaly: Anomaly, *, noted: bool = True) -> None:
    """Store an anomaly and the note that it has not been sent, unless the site has it already. Then
    only a better-informed version replaces the stored one.

    The note comes first. If the call fails between the two, it has to be repeated, and the anomaly
    may be sent twice. Without ``noted``, nobody sends it.

    Raises:
        Contention: other finders changed the anomaly during every attempt.
    """
    record = AnomalyRecord.of(anomaly)
    document = encode(record)
    for _ in attempts():
        stored = control.get(KIND, anomaly.key)
        if stored is None:
            if noted:
                control.add(UNTOLD, anomaly.key, document)
            if control.add(KIND, anomaly.key, document):
                return
        elif not _is_better(record, stored, anomaly.key):
            return
        elif not isinstance(stored, Mapping):
            control.keep(KIND, anomaly.key, document)
            return
        elif control.replace(KIND, anomaly.key, document, stored):
            return
    raise Contention(f"other writers changed the anomaly {anomaly.key} during every attempt")


def recent(control: Control, since: float) -> list[Anomaly]:
    """Return the stored anomalies of the minutes from ``since`` (seconds since 1970) on."""
    return [each.anomaly for each in sound(stored(control, since))]


def stored(control: Control, since: float) -> list[AnomalyRecord | Damaged]:
    """Return the stored documents of the same anomalies, including damaged ones."""
    # A key consists of the minute, a space and the rest, so this value sorts before all keys of
    # that minute.
    documents = control.kept(KIND, after=to_timestamp(max(0, int(since * 1000))))
    return [ANOMALIES.decode(key, each) for key, each in documents.items()]


def _is_better(record: AnomalyRecord, stored: Any, key: str) -> bool:
    """Return whether a record has to replace a stored document. A document of a newer mcloud
    stays.
    """
    other = ANOMALIES.decode(key, stored)
    if isinstance(other, Damaged):
        return not other.is_newer
    return record.rank > other.rank
