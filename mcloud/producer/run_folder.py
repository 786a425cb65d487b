"""Checks of a producer's run against its previous runs and the other runs of this machine."""

import zlib
from collections.abc import Collection, Mapping
from pathlib import Path

from mcloud import files
from mcloud.errors import UsageError
from mcloud.market.trade import SPOT, in_market, split_market
from mcloud.producer.cursor import Position
from mcloud.producer.spool import Spool
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
    # Trades of futures were on the first of these routes, and are now on the second.
    moved = before.endswith("/market") and before.removesuffix("/market") + "/public" == url
    if not before or moved:
        files.write(path, url)
    elif before != url:
        raise UsageError(
            f"the producer {run.name!r} follows {before}, and its trade ids have no meaning"
            f" at {url}",
            remedy="use another --name for this one",
        )


def check_venue(folder: Path, queues: Mapping[str, str], venue: str, market: str) -> None:
    """Ensure that all producers of this machine feed a queue from the same venue.

    Venues use the same symbols for different trades, which must not be mixed. The first venue of
    each queue is noted in ``folder``.

    Args:
        queues: name of the queue, by name of the site.

    Raises:
        UsageError: a queue was fed from another venue.
    """
    for site, queue in queues.items():
        note = folder / f"{site}-{market}-{zlib.crc32(queue.encode()):08x}"
        before = note.read_text(errors="replace") if note.exists() else ""
        if before and before != venue:
            raise UsageError(
                f"{site} has been fed from {before}, and {venue} has other trades under the same"
                f" {market} symbols",
                remedy=f"give {venue} sites of its own; if no trade of {before} is stored there any"
                f" more, remove {note}",
            )
        if not before:
            files.make_private(folder)
            files.write(note, venue)


def check_spool(run: Run, spool: Spool) -> None:
    """Ensure that a run's spool has no futures under the names of the spot market.

    Earlier versions stored trades of futures under the names that symbols have on the spot market.
    If they were sent, they would become part of the candles of the spot market.

    Raises:
        UsageError: there are such trades.
    """
    path = run.folder / "exchange"
    followed = path.read_text(errors="replace") if path.exists() else ""
    if not followed.endswith(("/market", "/public")):  # only futures are on such routes
        return
    known = {each.symbol for each in spool.resume_points()}
    mixed = sorted(
        symbol for symbol in spool.pending_symbols() & known if split_market(symbol)[1] == SPOT
    )
    if mixed:
        raise UsageError(
            f"the spool of the producer {run.name!r} holds trades of futures ({followed}) that an"
            f" earlier version stored as {', '.join(mixed):.200}, which are symbols of the spot"
            " market",
            remedy="give this producer another --name, with which it starts empty; the trades stay"
            f" in {run.folder}",
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
