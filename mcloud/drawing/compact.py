"""A view of the compaction of an archive."""

from mcloud.archive.compact import Compacted


def line(site: str, done: Compacted, *, dry_run: bool) -> str:
    """Return the outcome at one site."""
    left = f"; objects too new to compact: {done.pending:,}" if done.pending else ""
    if not done.objects:
        return f"{site}: nothing to compact{left}"
    objects = f"{done.objects:,} ({done.bytes:,} bytes)"
    if dry_run:
        return f"{site}: objects to compact: {objects}{left}"
    return f"{site}: objects compacted: {objects}, blocks written: {done.blocks:,}{left}"
