"""The recent history of one database, for reads in the past and for listeners.

Without point-in-time recovery, the real service reads any version of the past hour:
https://cloud.google.com/firestore/docs/reference/rest/v1/projects.databases#pointintimerecoveryenablement
Here the history is shorter if an hour would need too much memory.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import grpc

from mcloud.local.gcp.firestore_documents import Documents
from mcloud.local.gcp.firestore_protos import DocumentMessage
from mcloud.local.gcp.rpc import Refusal

KEPT_MICROSECONDS: Final = 3_600 * 1_000_000
KEPT_BYTES: Final = 16 * 1_024 * 1_024  # maximum size of replaced documents, as encoded


@dataclass(frozen=True, slots=True)
class DocumentChange:
    """One written document. ``before`` is None if it did not exist; ``time`` is that of the commit,
    in microseconds since the epoch.
    """

    time: int
    collection: str
    id: str
    before: DocumentMessage | None

    def size(self) -> int:
        """Return the bytes of the document that was replaced."""
        return 0 if self.before is None else int(self.before.ByteSize())


Watcher = Callable[[Iterable[DocumentChange]], None]
"""Called with the changes of each commit, after they are installed."""


class DocumentHistory:
    """The earlier versions of the documents of a database.

    ``began`` is the start of the history, in microseconds since the epoch. Earlier versions are
    unknown.
    """

    def __init__(self) -> None:
        self.watchers: set[Watcher] = set()
        self.began = 0
        self._changes: deque[DocumentChange] = deque()
        self._size = 0

    def add(self, changes: list[DocumentChange], now: int) -> None:
        """Record the changes of one commit, drop old ones, and call the watchers."""
        self._changes.extend(changes)
        self._size += sum(change.size() for change in changes)
        self._forget(now)
        for watcher in tuple(self.watchers):
            watcher(changes)

    def has(self, time: int, now: int) -> bool:
        """Return whether the documents at that time are known."""
        self._forget(now)
        return self.began <= time <= now

    def at(self, documents: Documents, time: int, now: int) -> Documents:
        """Return the documents at that time; FAILED_PRECONDITION if they are no longer known."""
        if not self.has(time, now):
            raise Refusal(
                grpc.StatusCode.FAILED_PRECONDITION,
                "The requested snapshot version is too old.",
            )
        past = documents.snapshot()
        for change in reversed(self._changes):
            if change.time <= time:
                break
            past.put(change.collection, change.id, change.before)
        return past

    def _forget(self, now: int) -> None:
        self.began = max(self.began, now - KEPT_MICROSECONDS)
        while self._changes and (self._changes[0].time <= self.began or self._size > KEPT_BYTES):
            oldest = self._changes.popleft()
            self._size -= oldest.size()
            self.began = max(self.began, oldest.time)
