"""Opens what ``--source`` names: a recording or a simulation; ``binance.open``: an exchange."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

from mcloud.errors import UsageError
from mcloud.feed.feed import Feed
from mcloud.feed.pace import pace, parse_speed
from mcloud.feed.replay import Replay, open_replay
from mcloud.feed.simulate import Simulate
from mcloud.market.trade import Trade

SYMBOL = "BTCUSDT"


@dataclass(frozen=True)
class Choice:
    """What to read, in the words of the command line."""

    source: str
    """``binance``, ``replay:FILE`` or ``simulate``."""
    symbols: str | None = None
    """A list, a file, or ``all:USDT``. Left out: all of a recording, and SYMBOL of the others."""
    shard: str | None = None
    """``2/4``, of an exchange only, as are the next four; the others are for what is not one."""
    exchange: str = ""
    ws_url: str = ""
    rest_url: str = ""
    api_key: str = field(default="", repr=False)
    speed: str = "max"
    count: int | None = None
    rate: float = 30.0
    seed: int = 1


def open_feed(choice: Choice) -> Feed:
    """The recording or the simulation of a choice; UsageError where there is none such."""
    if choice.shard:
        raise UsageError("--shard shares out the symbols of --source binance only")
    symbols = parse_names(choice.symbols) if choice.symbols else None
    if choice.source != "simulate":
        return open_recording(choice.source, symbols)
    return Simulate(
        symbols or [SYMBOL],
        seed=choice.seed,
        start_time=int(time.time() * 1000),
        count=choice.count,
        rate=choice.rate,
    )


def open_recording(source: str, symbols: list[str] | None = None) -> Replay:
    """The recording of ``replay:FILE``; UsageError where it is none, or something else is named."""
    kind, _, path = source.partition(":")
    if kind != "replay" or not path:
        raise UsageError(f"no source {source!r}; there is replay:FILE and simulate")
    return open_replay(Path(path).expanduser(), symbols)


def paced(feed: Feed, speed: str, stop: threading.Event) -> Iterator[Trade]:
    """The trades of a feed at a speed such as ``10x``; ``stop`` ends them, and a pause, at once."""
    due = pace(feed, parse_speed(speed), clock=time.monotonic, sleep=stop.wait)
    return takewhile(lambda trade: not stop.is_set(), due)


def parse_names(symbols: str) -> list[str]:
    """A comma-separated list, or the words of a file."""
    # A long list is no file name, and asking for it would be an error.
    if "," not in symbols and (path := Path(symbols).expanduser()).is_file():
        symbols = path.read_text(encoding="utf-8", errors="replace")
    return symbols.replace(",", " ").upper().split()
