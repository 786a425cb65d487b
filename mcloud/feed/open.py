"""Open the source that ``--source`` names. ``binance.open`` opens an exchange."""

import glob
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

from mcloud.config import unknown
from mcloud.errors import UsageError
from mcloud.feed.feed import Feed
from mcloud.feed.pace import pace, parse_speed
from mcloud.feed.replay import Replay, Replays, open_replay, open_replays
from mcloud.feed.simulate import Simulate
from mcloud.market.trade import Trade, capitals

SYMBOL = "BTCUSDT"


@dataclass(frozen=True)
class FeedChoice:
    """The source to read, as given on the command line."""

    source: str
    """``binance``, ``replay:PATH``, ``simulate`` or, for a producer only, ``spool``."""
    symbols: str | None = None
    """A list, a file, or ``all:USDT``. Default: all symbols of a recording, otherwise SYMBOL."""
    shard: str | None = None
    """Share such as ``2/4``. This field and the next five apply only to an exchange, and the rest
    to other sources.
    """
    exchange: str = ""
    ws_url: str = ""
    rest_url: str = ""
    api_key: str = field(default="", repr=False)
    list_every: float | None = None
    """Seconds between two requests for the exchange's list of symbols; None for the usual."""
    market: str | None = None
    """Market of a recording; see ``open_replay``. None if the recording itself shows it."""
    speed: str = "max"
    count: int | None = None
    rate: float = 30.0
    seed: int = 1
    begins_ago: float = 0.0
    """Seconds before now at which a simulation begins."""


def open_feed(choice: FeedChoice) -> Feed:
    """Return the recording or the simulation of a choice. Raise UsageError if there is none."""
    if choice.shard:
        raise UsageError("--shard is for exchanges only")
    symbols = parse_names(choice.symbols) if choice.symbols else None
    if choice.source != "simulate":
        return open_recording(choice.source, symbols, choice.market)
    if choice.market:
        raise UsageError("--market is for recordings only")
    return Simulate(
        symbols or [SYMBOL],
        seed=choice.seed,
        start_time=int((time.time() - choice.begins_ago) * 1000),
        count=choice.count,
        rate=choice.rate,
    )


def open_recording(
    source: str, symbols: list[str] | None = None, market: str | None = None
) -> Replay | Replays:
    """Open the recordings that ``replay:PATH`` names: a file, a folder of files, or a pattern.

    Raises:
        UsageError: the source is of another kind, or a file is missing or not a recording.
    """
    kind, _, path = source.partition(":")
    if kind != "replay" or not path:
        raise unknown_source(source)
    named = Path(path).expanduser()
    if named.is_dir():
        found = [each for each in named.iterdir() if each.is_file()]
        if nested := sorted(filter(_holds_files, named.iterdir())):
            raise UsageError(
                f"{named} has folders of its own, such as {nested[0].name}",
                remedy=f"to read them all, use 'replay:{named}/**/*'",
            )
    elif not named.exists() and glob.has_magic(path):
        matches = map(Path, glob.glob(str(named), recursive=True))
        found = [each for each in matches if each.is_file()]
    else:
        return open_replay(named, symbols, market)
    recordings = sorted(each for each in found if _may_be_recording(each))
    if not recordings:
        raise UsageError(f"there is no file to replay in {named}", remedy="check the path")
    return open_replays(recordings, symbols, market)


def unknown_source(source: str, *others: str) -> UsageError:
    """Return the error for an unknown source. ``others`` are accepted beside the usual ones."""
    usual = ("simulate", "replay:FILE", "replay:FOLDER", "replay:'PATTERN'")
    return unknown("source", source, (*others, *usual))


def _holds_files(path: Path) -> bool:
    """Return whether a folder may hold recordings."""
    is_folder = path.is_dir() and not path.name.startswith(".") and path.name != "__MACOSX"
    return is_folder and any(each.is_file() and _may_be_recording(each) for each in path.rglob("*"))


def _may_be_recording(path: Path) -> bool:
    """Return whether a file may be a recording, and not metadata of one."""
    return not path.name.startswith(".") and path.suffix.upper() != ".CHECKSUM"


def paced(feed: Feed, speed: str, stop: threading.Event) -> Iterator[Trade]:
    """Return the trades of a feed at a speed such as ``10x``. ``stop`` ends them immediately."""
    due = pace(feed, parse_speed(speed), clock=time.monotonic, sleep=stop.wait)
    return takewhile(lambda trade: not stop.is_set(), due)


def parse_names(symbols: str) -> list[str]:
    """Return the names of a comma-separated list, or of a file."""
    # A long list is not a file name, and checking it would be an error.
    if "," not in symbols and (path := Path(symbols).expanduser()).is_file():
        symbols = path.read_text(encoding="utf-8", errors="replace")
    return [capitals(symbol) for symbol in symbols.replace(",", " ").split()]
