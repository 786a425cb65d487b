"""Opens what a producer reads from, whatever kind it is of."""

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from mcloud.feed.feed import Feed
from mcloud.feed.open import Choice, open_feed, paced, unknown_source
from mcloud.producer.produce import Reader, Source
from mcloud.producer.repair import History


@dataclass(frozen=True)
class Opened:
    """A source, ready to run."""

    feed: Feed
    source: Source
    about: Mapping[str, Any]
    """What does not change, for the state document; ``exchange`` is where a live one is."""
    warnings: tuple[str, ...]
    history: History | None = None
    opened: Callable[[], Collection[str]] = tuple
    """See ``produce``."""
    describe: Callable[[], Mapping[str, Any] | None] = lambda: None
    """How the connections are just now."""

    @property
    def live(self) -> bool:
        return "exchange" in self.about


def open_source(choice: Choice, stop: threading.Event) -> Opened:
    """What a choice names; ``stop`` ends its pauses.

    Raises:
        UsageError: there is none such.
        Unavailable: the exchange does not answer.
        Refused: it does not serve us.
    """
    if choice.source == "binance":
        return _open_exchange(choice, stop)
    kind, _, path = choice.source.partition(":")
    if choice.source != "simulate" and not (kind == "replay" and path):
        raise unknown_source(choice.source, "binance")
    feed = open_feed(choice)
    about = {"source": choice.source, "symbols": list(feed.symbols), "live": False}
    return Opened(feed, Reader(paced(feed, choice.speed, stop)), about, feed.warnings)


def _open_exchange(choice: Choice, stop: threading.Event) -> Opened:
    # Its libraries take a while to load, and a recording needs none of them.
    from mcloud.feed.binance.open import open_live

    live = open_live(choice, stop)
    feed = live.feed
    about = {
        "source": live.endpoints.name,
        "exchange": live.endpoints.ws_url,
        "symbols": list(feed.symbols),
        "live": True,
    }
    return Opened(
        feed, feed, about, live.warnings, live.rest, feed.opened, lambda: feed.state.describe()
    )
