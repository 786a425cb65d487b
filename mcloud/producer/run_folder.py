"""The files of a producer's run besides its lock, its log and its state."""

from collections.abc import Collection
from pathlib import Path

from mcloud import files
from mcloud.errors import UsageError
from mcloud.market.trade import in_market, split_market
from mcloud.producer.cursor import Position
from mcloud.runs import Run


def spool_of(run: Run) -> Path:
    return run.folder / "spool.sqlite"


def follow_exchange(run: Run, url: str) -> None:
    """Bind a run, and with it the positions in its spool, to one exchange.

    Raises:
        UsageError: it follows another exchange, whose trade ids belong to other trades.
    """
    path = run.folder / "exchange"
    before = path.read_text(errors="replace") if path.exists() else ""
    # Trades of futures came from the first of these, and now come from the second.
    moved = before.endswith("/market") and before.removesuffix("/market") + "/public" == url
    if not before or moved:
        files.write(path, url)
    elif before != url:
        raise UsageError(
            f"the producer {run.name!r} follows {before}, and its trade ids have no meaning"
            f" at {url}",
            remedy="use another --name for this one",
        )


def check_market(run: Run, positions: Collection[Position], market: str) -> None:
    """Check that all positions in a run's spool belong to the market that it is about to read.

    Earlier versions stored trades of futures under the names that symbols have on the spot market.

    Raises:
        UsageError: one belongs to another market, so that the trades of both would be mixed.
    """
    for position in positions:
        name, stored = split_market(position.symbol)
        if stored != market:
            raise UsageError(
                f"the spool of the producer {run.name!r} holds {position.symbol}, and it is about"
                f" to read {in_market(name, market)}, which is another market",
                remedy="use another --name, with which the producer starts empty",
            )
