"""Opens the source that a producer reads, of any kind."""

import shlex
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

from mcloud.errors import UsageError
from mcloud.feed.binance.endpoints import KNOWN
from mcloud.feed.feed import Feed, FeedReport, SourceSummary
from mcloud.feed.open import FeedChoice, open_feed, paced, unknown_source
from mcloud.market.trade import Trade
from mcloud.producer.produce import FeedReader, Source
from mcloud.producer.repair import History
from mcloud.producer.reported_state import SourceAbout

EXCHANGE = "binance"
"""Source of live trades. Other sources whose names start with it are other exchanges."""

SPOOL = "spool"
"""Source without trades: only the messages in the producer's spool are sent."""


class Nothing:
    """The feed of SPOOL; see ``feed.Feed``."""

    symbols: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    report = FeedReport()

    def __iter__(self) -> Iterator[Trade]:
        return iter(())


@dataclass(frozen=True)
class OpenedSource:
    """A source, ready to run."""

    feed: Feed
    source: Source
    about: SourceAbout
    warnings: tuple[str, ...]
    history: History | None = None
    opened: Callable[[], Collection[str]] = tuple
    """Returns the symbols with a new stream. ``produce`` describes this field and ``ended``."""
    ended: Callable[[], Collection[str]] = tuple
    news: Callable[[], Collection[str]] = tuple
    """Messages about listings and delistings since the last call."""
    venue: str = ""
    """The exchange on which live trades are made."""
    describe: Callable[[], SourceSummary | None] = lambda: None
    """State of the connections."""

    @property
    def live(self) -> bool:
        return self.about.live

    @property
    def ends(self) -> bool:
        """Whether the source has an end and must be read up to it."""
        return not self.live and self.about.source != SPOOL


def resume_command(name: str, about: SourceAbout) -> str:
    """Return the command that sends the messages that a producer left in its spool.

    ``about`` describes the source of its run. An exchange is read from where the run stopped. A
    recording is not read again, because only the trades in the spool may be missing.
    """
    words = ["mcloud", "produce", "--name", name]
    if not about.live:
        return shlex.join((*words, "--source", SPOOL))
    if about.source.startswith("binance-"):
        words += ["--exchange", about.source]
    # All symbols of a quote asset are followed again, including newly listed ones.
    words += ["--symbols", about.follows or ",".join(about.symbols)]
    if about.shard:
        words += ["--shard", about.shard]
    return shlex.join(words)


def open_source(choice: FeedChoice, stop: threading.Event) -> OpenedSource:
    """Open the source of a choice. ``stop`` ends its pauses.

    Raises:
        UsageError: the source does not exist.
        Unavailable: the exchange does not answer.
        Refused: the exchange refuses the requests.
    """
    if choice.source == EXCHANGE or choice.source.startswith(f"{EXCHANGE}-"):
        if choice.market:
            raise UsageError(
                "--market is for recordings only",
                remedy="choose a market of the exchange with --exchange",
            )
        return _open_exchange(_with_exchange(choice), stop)
    kind, _, path = choice.source.partition(":")
    if choice.source not in ("simulate", SPOOL) and not (kind == "replay" and path):
        raise unknown_source(choice.source, *KNOWN, SPOOL)
    feed = Nothing() if choice.source == SPOOL else open_feed(choice)
    about = SourceAbout(source=choice.source, symbols=feed.symbols)
    return OpenedSource(feed, FeedReader(paced(feed, choice.speed, stop)), about, feed.warnings)


def _with_exchange(choice: FeedChoice) -> FeedChoice:
    """Return the choice with its exchange set: ``binance-futures`` may be given as the source."""
    if choice.source == EXCHANGE:
        return choice
    if choice.exchange not in ("", choice.source):
        raise UsageError(
            f"--source {choice.source} and --exchange {choice.exchange} are different exchanges",
            remedy="omit one of them",
        )
    return replace(choice, exchange=choice.source)


def _open_exchange(choice: FeedChoice, stop: threading.Event) -> OpenedSource:
    # Its libraries take time to load, and a recording does not need them.
    from mcloud.feed.binance.open import open_live

    live = open_live(choice, stop)
    feed = live.feed
    about = SourceAbout(
        source=live.endpoints.name,
        exchange=live.endpoints.ws_url,
        market=live.endpoints.market,
        symbols=feed.symbols,
        live=True,
    )
    if choice.symbols and choice.symbols.startswith("all:"):
        about = replace(about, follows=choice.symbols, shard=choice.shard or "")
    return OpenedSource(
        feed,
        feed,
        about,
        live.warnings,
        history=live.rest,
        opened=feed.opened,
        ended=feed.ended,
        news=feed.news,
        venue=live.endpoints.venue,
        describe=lambda: feed.state.in_short,
    )
