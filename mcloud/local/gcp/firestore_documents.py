"""The documents of one database: collections, their order, and snapshots of them."""

import bisect
from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Any, TypeAlias

from mcloud.local.gcp.firestore_names import FieldPath
from mcloud.local.gcp.firestore_protos import DocumentMessage
from mcloud.local.gcp.firestore_values import Key, id_key, key_at, name_key

# Share of changed documents above which a list is sorted again instead of updated one by one.
_MEND_SHARE = 1 / 32


class Documents:
    """The documents of one database. A stored document is never changed, only replaced, so readers
    may keep it.
    """

    def __init__(self) -> None:
        self.collections: dict[str, Collection] = {}

    def get(self, collection: str, document_id: str) -> DocumentMessage | None:
        """Return the document, or None."""
        found = self.collections.get(collection)
        return None if found is None else found.documents.get(document_id)

    def put(self, collection: str, document_id: str, document: DocumentMessage | None) -> None:
        """Store a document in place of the old one. None removes it."""
        home = self.collections.get(collection)
        if home is None:
            if document is None:
                return
            home = self.collections[collection] = Collection()
        elif home.shared:
            home = self.collections[collection] = home.copy()
        if document is None:
            home.remove(document_id)
            if not home.documents:
                del self.collections[collection]
        else:
            home.put(document_id, document)

    def all(self) -> Iterator[DocumentMessage]:
        """Yield every document, in no particular order."""
        for collection in self.collections.values():
            yield from collection.documents.values()

    def below(self, parent: str, collection_id: str, descendants: bool) -> list["Collection"]:
        """Return the collections with an id directly under a parent path ("" is the root).

        With ``descendants``, collections at any depth are included, and an empty id matches every
        id.
        """
        if not descendants:
            found = self.collections.get(f"{parent}/{collection_id}" if parent else collection_id)
            return [] if found is None else [found]
        return [
            collection
            for path, collection in self.collections.items()
            if is_below(path, parent, collection_id, descendants)
        ]

    def ids_below(self, parent: str) -> set[str]:
        """Return the first path segments below a parent, of all documents below it.

        Under a document these are collection ids. Under a collection, they are the ids of documents
        that have collections, including ids of missing documents.
        """
        prefix = f"{parent}/" if parent else ""
        return {
            path[len(prefix) :].partition("/")[0]
            for path in self.collections
            if path.startswith(prefix)
        }

    def snapshot(self) -> "Documents":
        """Return a copy of the current documents. Both copies share each collection until one is
        written.
        """
        copy = Documents()
        copy.collections = dict(self.collections)
        for collection in copy.collections.values():
            collection.shared = True
        return copy


def is_below(path: str, parent: str, collection_id: str, descendants: bool) -> bool:
    """Return whether ``Documents.below`` would find a collection's path."""
    prefix = f"{parent}/" if parent else ""
    if not descendants:
        return path == prefix + collection_id
    return path.startswith(prefix) and (
        not collection_id or path.rpartition("/")[2] == collection_id
    )


IndexEntry: TypeAlias = tuple[Key, tuple[str, int], str]
"""Key of a field, and key and text of a document's id."""


class Collection:
    """Documents by id, with orders that are built for a query and updated after writes."""

    def __init__(self) -> None:
        self.documents: dict[str, DocumentMessage] = {}
        self.shared = False
        self._ids: list[str] = []
        self._changed_ids: set[str] = set()
        self._indexes: dict[FieldPath, Index] = {}

    def copy(self) -> "Collection":
        """Return an independent collection with the same documents."""
        copy = Collection()
        copy.documents = dict(self.documents)
        copy._changed_ids = set(self.documents)
        return copy

    def put(self, document_id: str, document: DocumentMessage) -> None:
        """Store a document in place of the old one."""
        if document_id not in self.documents:
            self._changed_ids.add(document_id)
        self.documents[document_id] = document
        for index in self._indexes.values():
            index.changed.add(document_id)

    def remove(self, document_id: str) -> None:
        """Remove a document if it exists."""
        if self.documents.pop(document_id, None) is not None:
            self._changed_ids.add(document_id)
            for index in self._indexes.values():
                index.changed.add(document_id)

    def ids(self) -> list[str]:
        """Return all ids in order. The result is valid until the next write."""
        changed = self._changed_ids
        if len(changed) > len(self.documents) * _MEND_SHARE:
            self._ids = sorted(self.documents, key=id_key)
        else:
            for document_id in changed:
                place = bisect.bisect_left(self._ids, id_key(document_id), key=id_key)
                listed = place < len(self._ids) and self._ids[place] == document_id
                if document_id in self.documents:
                    if not listed:
                        self._ids.insert(place, document_id)
                elif listed:
                    del self._ids[place]
        changed.clear()
        return self._ids

    def by_name(self, low: Key, high: Key, descending: bool) -> Iterator[DocumentMessage]:
        """Yield the documents whose name's key is between low and high, both included, in that
        order.
        """
        ids = self.ids()
        if not ids:
            return iter(())
        prefix = self.documents[ids[0]].name[: -len(ids[0])]

        def key(document_id: str) -> Key:
            return name_key(prefix + document_id)

        first = bisect.bisect_left(ids, low, key=key)
        last = bisect.bisect_right(ids, high, key=key)
        return map(self.documents.__getitem__, _directed(ids[first:last], descending))

    def by_field(
        self, path: FieldPath, low: Key, high: Key, descending: bool
    ) -> Iterator[DocumentMessage]:
        """Yield the documents that have the field, with its key between low and high, by key and
        then by id.
        """
        index = self._indexes.get(path)
        if index is None:
            index = self._indexes[path] = Index(path, self.documents)
        entries = index.entries(self.documents)
        first = bisect.bisect_left(entries, low, key=itemgetter(0))
        last = bisect.bisect_right(entries, high, key=itemgetter(0))
        documents = self.documents
        return (documents[entry[2]] for entry in _directed(entries[first:last], descending))


class Index:
    """The documents of a collection that have one field, sorted by its key and then by id."""

    def __init__(self, path: FieldPath, documents: Iterable[str]) -> None:
        self.changed = set(documents)
        self._path = path
        self._keys: dict[str, Key] = {}
        self._entries: list[IndexEntry] = []

    def entries(self, documents: dict[str, DocumentMessage]) -> list[IndexEntry]:
        """Return all entries in order, after applying all changes. The result is valid until the
        next write.
        """
        mend = len(self.changed) <= len(documents) * _MEND_SHARE
        for document_id in self.changed:
            document = documents.get(document_id)
            new = None if document is None else key_at(document, self._path)
            old = self._keys.pop(document_id, None)
            if new is not None:
                self._keys[document_id] = new
            if mend and new != old:
                if old is not None:
                    del self._entries[bisect.bisect_left(self._entries, _entry(old, document_id))]
                if new is not None:
                    bisect.insort(self._entries, _entry(new, document_id))
        if not mend:
            self._entries = sorted(_entry(key, name) for name, key in self._keys.items())
        self.changed.clear()
        return self._entries


def _entry(key: Key, document_id: str) -> IndexEntry:
    return key, id_key(document_id), document_id


def _directed(items: list[str] | list[IndexEntry], descending: bool) -> Iterator[Any]:
    return reversed(items) if descending else iter(items)
