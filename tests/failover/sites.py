"""Sites in memory with a control store, a queue and a function, each of which can fail."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from replication.memory import MemoryControl, MemorySite

from mcloud import errors
from mcloud.clouds.ports import SERVICES, ControlRecord, Depth, Heartbeat, Unsent
from mcloud.documents import Damaged
from mcloud.errors import Unavailable
from mcloud.market.envelope import Message, decode
from mcloud.market.trade import Trade, is_reserved
from mcloud.processor.ingest import ingest

START = 1_735_776_000_000  # ms, a full hour


def made(ids: Iterable[int], symbol: str = "BTCUSDT") -> list[Trade]:
    """Return trades of one minute."""
    return [Trade(symbol, id_, Decimal(100 + id_), Decimal(1), START + id_, False) for id_ in ids]


class Control(MemoryControl):
    """A control store with the record and the small documents of ``ports.Control``."""

    def __init__(self, site: "LiveSite") -> None:
        super().__init__(site.faults)
        self._site = site
        self._lock = threading.Lock()
        self.stored: ControlRecord | Damaged | None = None
        self.broken: list[Damaged] = []
        """Heartbeats that cannot be read."""
        self.epochs: list[ControlRecord] = []
        """All records that were ever written."""
        self.documents: dict[tuple[str, str], dict[str, Any]] = {}

    def heartbeats(self) -> list[Any]:
        return [*super().heartbeats(), *self.broken]

    def record(self) -> ControlRecord | Damaged | None:
        self._site.need("candles")
        self.faults.before("record")
        with self._lock:
            return self.stored

    def write_record(self, record: ControlRecord) -> bool:
        self._site.need("candles")
        self.faults.before("write_record")
        with self._lock:
            if isinstance(self.stored, Damaged):
                raise errors.DamagedData(str(self.stored))
            if self.stored is not None and self.stored.epoch >= record.epoch:
                return False
            self.stored = record
            self.epochs.append(record)
        self.faults.after("write_record")
        return True

    def forget_record(self) -> None:
        self.stored = None

    def keep(self, kind: str, key: str, document: Mapping[str, Any]) -> None:
        self._site.need("candles")
        self.faults.before("keep")
        self.documents[kind, key] = dict(document)

    def add(self, kind: str, key: str, document: Mapping[str, Any]) -> bool:
        self._site.need("candles")
        self.faults.before("add")
        with self._lock:
            if (kind, key) in self.documents:
                return False
            self.documents[kind, key] = dict(document)
        return True

    def replace(
        self, kind: str, key: str, document: Mapping[str, Any], before: Mapping[str, Any]
    ) -> bool:
        self._site.need("candles")
        self.faults.before("replace")
        with self._lock:
            if self.documents.get((kind, key)) != before:
                return False
            self.documents[kind, key] = dict(document)
        return True

    def get(self, kind: str, key: str) -> Any:
        self._site.need("candles")
        self.faults.before("get")
        return self.documents.get((kind, key))

    def kept(self, kind: str, after: str = "", limit: int | None = None) -> dict[str, Any]:
        self._site.need("candles")
        names = sorted(key for each, key in self.documents if each == kind and key > after)
        return {key: self.documents[kind, key] for key in names[:limit]}

    def forget(self, kind: str, key: str) -> None:
        self.documents.pop((kind, key), None)


class Queue:
    is_live = True

    def __init__(self, site: "LiveSite") -> None:
        self._site = site
        self.waiting: list[Message] = []

    def send(self, messages: Sequence[Message]) -> list[Unsent]:
        self._site.need("queue")
        self.waiting += messages
        self._site.work()
        return []

    def depth(self) -> Depth:
        self._site.need("queue")
        return Depth(len(self.waiting), 0, 2e9)


class Probe:
    def __init__(self, site: "LiveSite") -> None:
        self._site = site

    def check(self, service: str, timeout: float) -> None:
        self._site.need(service)


class LiveSite(MemorySite):
    """A site whose function runs as soon as messages are sent, if all its services work."""

    def __init__(self, name: str, cloud: str = "aws") -> None:
        super().__init__(name)
        self.cloud = cloud
        self.dead: set[str] = set()
        """Services of ``SERVICES`` that fail."""
        self.hangs: threading.Event | None = None
        """If set, calls of a dead service wait for it, for a minute at most, before they fail."""
        self.queue = Queue(self)
        self.probe = Probe(self)
        self.control = Control(self)

    def need(self, service: str) -> None:
        if service in self.dead:
            if self.hangs is not None:
                self.hangs.wait(60)
            raise Unavailable(f"{self.name}: the {service} does not answer")

    def work(self) -> None:
        if self.dead & set(SERVICES):
            return
        while self.queue.waiting:
            envelope = decode(self.queue.waiting[0].body, self.queue.waiting[0].attributes)
            trades = envelope.trades
            ingest(trades, self.archive, self.candles)
            newest = trades[-1]
            if not is_reserved(newest.symbol):
                beat = Heartbeat(newest.symbol, newest.time, len(trades), 1, 2e9)
                self.control.beat([beat])
            self.queue.waiting.pop(0)

    def die(self, *services: str) -> None:
        self.dead |= set(services or SERVICES)

    def live(self) -> None:
        self.dead.clear()
        self.work()
