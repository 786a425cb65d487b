"""The symbols of an exchange that a producer follows, and their changes during a run."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from mcloud.market.shard import WHOLE, Shard

TRADING = "TRADING"
DELISTED = "delisted"
"""Status of a symbol that the exchange no longer lists."""


class ListedSymbol(NamedTuple):
    """A symbol in the exchange's list."""

    quote_asset: str
    status: str
    """Status word of the exchange, such as BREAK. It is TRADING only while there are trades."""


Listing = Mapping[str, ListedSymbol]


@dataclass(frozen=True)
class WantedListing:
    """The symbols that a producer wants: some by name, or all of a quote asset."""

    names: tuple[str, ...] = ()
    quote_asset: str = ""
    """Quote asset such as USDT, used if there are no names."""
    shard: Shard = WHOLE

    def statuses(self, listing: Listing) -> dict[str, str]:
        """Return the status of each wanted symbol."""
        if self.names:
            found = {
                name: listing[name].status if name in listing else DELISTED for name in self.names
            }
        else:
            found = {
                name: each.status
                for name, each in sorted(listing.items())
                if each.quote_asset == self.quote_asset
            }
        return {name: status for name, status in found.items() if self.shard.has(name)}


@dataclass(frozen=True)
class ListingChanges:
    """The differences between two lists of the exchange."""

    listed: tuple[str, ...] = ()
    """Symbols to subscribe to."""
    resumed: tuple[str, ...] = ()
    """Symbols that trade again and are still subscribed."""
    ended: tuple[str, ...] = ()
    """Symbols that stopped trading. Their last trades may have been missed."""
    dropped: tuple[str, ...] = ()
    """Symbols to unsubscribe from."""
    news: tuple[str, ...] = ()
    """Messages about these changes."""


class Roster:
    """The followed symbols, updated by each list of the exchange.

    A halted symbol stays subscribed, so that it loses nothing when it trades again. A symbol is
    unsubscribed if two lists in a row lack it, because a single list may be incomplete.
    """

    def __init__(self, wanted: WantedListing, listing: Listing) -> None:
        self._wanted = wanted
        statuses = wanted.statuses(listing)
        self.statuses = {
            name: status for name, status in statuses.items() if status == TRADING or wanted.names
        }
        """Status of each symbol that is or was followed."""
        self.resting = tuple(name for name, status in statuses.items() if status != TRADING)
        """Symbols that did not trade at the start of the run."""
        self.listed: list[str] = []
        """Symbols that started to trade since then, oldest first."""
        self._dropped: set[str] = set()

    @property
    def symbols(self) -> tuple[str, ...]:
        """The subscribed symbols."""
        return tuple(name for name in self.statuses if name not in self._dropped)

    @property
    def not_trading(self) -> dict[str, str]:
        """Statuses of the followed symbols that do not trade now."""
        return {name: status for name, status in self.statuses.items() if status != TRADING}

    def update(self, listing: Listing) -> ListingChanges:
        """Compare with a new list."""
        now = self._wanted.statuses(listing)
        now |= dict.fromkeys(self.statuses.keys() - now.keys(), DELISTED)
        listed, resumed, ended, dropped, news = [], [], [], [], []
        for name, status in now.items():
            before = self.statuses.get(name)
            if before is None and status != TRADING:
                continue
            self.statuses[name] = status
            if status == TRADING and (before is None or name in self._dropped):
                self._dropped.discard(name)
                self.listed.append(name)
                listed.append(name)
                news.append(f"{name} is newly listed: its trades are read from now on")
            elif status == TRADING and before != TRADING:
                resumed.append(name)
                news.append(f"{name} trades again")
            elif before == status == DELISTED and name not in self._dropped:
                self._dropped.add(name)
                dropped.append(name)
                news.append(f"{name} is still not listed: its stream is closed")
            elif before != status:
                ended.append(name)
                news.append(f"{name} {_ended(status)}; its last trades are fetched")
        return ListingChanges(*map(tuple, (listed, resumed, ended, dropped, news)))


def summary(not_trading: Mapping[str, str], listed: Collection[str], most: int = 3) -> str:
    """Return a short text about the changes since the start of the run; empty without any."""
    parts = []
    if listed:
        parts.append(f"{len(listed)} newly listed")
    if not_trading:
        named = [f"{name} {_ended(status)}" for name, status in [*not_trading.items()][:most]]
        if more := len(not_trading) - len(named):
            named.append(f"{more} more not trading")
        parts.append(", ".join(named))
    return ", ".join(parts)


def _ended(status: str) -> str:
    return "is no longer listed" if status == DELISTED else f"is halted ({status})"
