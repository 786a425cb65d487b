"""Whether the guards, wherever they run, are to do nothing."""

from collections.abc import Mapping

from mcloud.clouds.ports import Site
from mcloud.failover import notes

KIND, KEY = "guard", "pause"


def tell(
    sites: Mapping[str, Site], *, paused: bool, by: str, why: str, at: float, seconds: float
) -> dict[str, str]:
    """Have all guards pause, or act again; returns the sites that were not told, and why."""
    document = {"paused": paused, "by": by, "why": why, "at": at}
    return notes.write(sites, KIND, KEY, lambda before: document, seconds)


def paused(documents: Mapping[str, notes.Document]) -> str:
    """By whom and why the guards pause, out of what ``notes`` read; empty where they do not."""
    document = documents.get(KEY)
    if not document or not document["paused"]:
        return ""
    return f"by {document['by']}" + (f": {document['why']}" if document["why"] else "")
