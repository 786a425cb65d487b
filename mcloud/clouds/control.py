"""The parts of ``ports.Control`` that are the same in every store with conditional writes."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any, Generic, TypeVar

from mcloud.clouds import heartbeats
from mcloud.clouds.ports import Heartbeat, Lag
from mcloud.documents import Damaged, decode

EARLIER_HEARTBEAT = "heartbeat"
"""Kind of the documents in which functions of earlier releases store one heartbeat each."""

_LAG = "lag"

Version = TypeVar("Version")


class VersionedControl(ABC, Generic[Version]):
    """A control store that compares the version of a document when it writes."""

    def __init__(self) -> None:
        kind = heartbeats.HEARTBEATS.name
        self._heartbeats = heartbeats.HeartbeatDocuments[Version](
            partial(self._read, kind), partial(self._write, kind)
        )

    def beat(self, beats: Iterable[Heartbeat]) -> list[Heartbeat]:
        return self._heartbeats.add(beats)

    def forget_heartbeat(self, symbol: str) -> None:
        self._heartbeats.forget(symbol)
        self.forget(EARLIER_HEARTBEAT, symbol)

    def note_lag(self, lag: Lag) -> None:
        self.keep(_LAG, lag.key, asdict(lag))

    def lags(self) -> list[Lag | Damaged]:
        return [decode(Lag, lag, f"the lag {key}") for key, lag in self.kept(_LAG).items()]

    def replace(
        self, kind: str, key: str, document: Mapping[str, Any], before: Mapping[str, Any]
    ) -> bool:
        stored, version = self._read(kind, key)
        if version is None or stored != before:
            return False
        return self._write(kind, key, document, version) is not None

    def get(self, kind: str, key: str) -> Any:
        return self._read(kind, key)[0]

    @abstractmethod
    def keep(self, kind: str, key: str, document: Mapping[str, Any]) -> None: ...

    @abstractmethod
    def kept(self, kind: str, after: str = "", limit: int | None = None) -> dict[str, Any]: ...

    @abstractmethod
    def forget(self, kind: str, key: str) -> None: ...

    @abstractmethod
    def _read(self, kind: str, key: str) -> tuple[Any, Version | None]:
        """Return a document and its version; twice None if there is none."""

    @abstractmethod
    def _write(
        self, kind: str, key: str, document: Mapping[str, Any], version: Version | None
    ) -> Version | None:
        """Write a document in place of the one with this version, or of none.

        Return the new version, or None if another writer was first.
        """
