"""What a producer's run has besides its lock, its log and its state."""

from pathlib import Path

from mcloud import files
from mcloud.errors import UsageError
from mcloud.runs import Run


def spool_of(run: Run) -> Path:
    return run.folder / "spool.sqlite"


def follow_exchange(run: Run, url: str) -> None:
    """Bind a run, and with it the positions in its spool, to one exchange.

    Raises:
        UsageError: it has followed another, whose trade ids are other trades.
    """
    path = run.folder / "exchange"
    before = path.read_text(errors="replace") if path.exists() else ""
    if not before:
        files.write(path, url)
    elif before != url:
        raise UsageError(
            f"the producer {run.name!r} has followed {before}, and its trade ids mean nothing"
            f" at {url}",
            remedy="give this one another --name",
        )
