"""A control store in memory, which can fail, hang and die like a real one."""

import json
import threading
from collections.abc import Mapping
from typing import Any


class Died(BaseException):
    """The process ends at this point."""


class MemoryControl:
    """The part of ``ports.Control`` for documents. It is thread-safe."""

    def __init__(self) -> None:
        self.documents: dict[tuple[str, str], str] = {}
        self.failure: Exception | None = None
        """Raised by each call, if set."""
        self.queries = self.writes = 0
        self.crash_at = 0
        """Number of the write, counted from now, at which the process dies."""
        self.may_answer = threading.Event()
        """While it is not set, calls hang."""
        self.may_answer.set()
        self._lock = threading.RLock()

    def keep(self, kind: str, key: str, document: Mapping[str, Any]) -> None:
        self._write()
        self.documents[kind, key] = json.dumps(document)

    def add(self, kind: str, key: str, document: Mapping[str, Any]) -> bool:
        self._answer()
        with self._lock:
            if (kind, key) in self.documents:
                return False
            self.keep(kind, key, document)
            return True

    def replace(
        self, kind: str, key: str, document: Mapping[str, Any], before: Mapping[str, Any]
    ) -> bool:
        self._answer()
        with self._lock:
            if self.get(kind, key) != before:
                return False
            self.keep(kind, key, document)
            return True

    def get(self, kind: str, key: str) -> Any:
        self._answer()
        text = self.documents.get((kind, key))
        return None if text is None else json.loads(text)

    def kept(self, kind: str, after: str = "", limit: int | None = None) -> dict[str, Any]:
        self._answer()
        self.queries += 1
        keys = sorted(key for of, key in list(self.documents) if of == kind and key > after)
        return {key: json.loads(self.documents[kind, key]) for key in keys[:limit]}

    def forget(self, kind: str, key: str) -> None:
        self._write()
        self.documents.pop((kind, key), None)

    def keys(self, kind: str) -> list[str]:
        """Return the keys of a kind, without a query."""
        return sorted(key for of, key in list(self.documents) if of == kind)

    def _answer(self) -> None:
        assert self.may_answer.wait(60)
        if self.failure is not None:
            raise self.failure

    def _write(self) -> None:
        self._answer()
        self.crash_at -= 1
        if self.crash_at == 0:
            raise Died
        self.writes += 1
