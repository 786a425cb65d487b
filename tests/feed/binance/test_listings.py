"""Symbols that a producer follows while an exchange lists, halts and delists symbols."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcloud.feed.binance.listings import (
    DELISTED,
    TRADING,
    ListedSymbol,
    Roster,
    WantedListing,
    summary,
)
from mcloud.feed.binance.plan import change
from mcloud.market.shard import Shard

NAMES = ["AUSDT", "BUSDT", "CUSDT", "DUSDT", "EBTC"]
USDT = WantedListing(quote_asset="USDT")


def listing(**statuses: str) -> dict[str, ListedSymbol]:
    return {
        name: ListedSymbol("BTC" if name.endswith("BTC") else "USDT", status)
        for name, status in statuses.items()
    }


listings = st.dictionaries(
    st.sampled_from(NAMES), st.sampled_from([TRADING, TRADING, "BREAK"])
).map(lambda statuses: listing(**statuses))


def test_a_new_symbol_is_subscribed_to_and_others_are_not() -> None:
    roster = Roster(USDT, listing(AUSDT=TRADING))
    changes = roster.update(listing(AUSDT=TRADING, BUSDT=TRADING, CUSDT="BREAK", EBTC=TRADING))
    assert (changes.listed, changes.resumed, changes.ended) == (("BUSDT",), (), ())
    assert changes.news == ("BUSDT is newly listed: its trades are read from now on",)
    assert roster.symbols == ("AUSDT", "BUSDT")
    assert roster.listed == ["BUSDT"]


def test_a_halted_symbol_ends_and_resumes_without_losing_its_stream() -> None:
    roster = Roster(USDT, listing(AUSDT=TRADING))
    changes = roster.update(listing(AUSDT="BREAK"))
    assert (changes.ended, changes.dropped) == (("AUSDT",), ())
    assert roster.not_trading == {"AUSDT": "BREAK"}
    assert roster.update(listing(AUSDT="BREAK")).news == ()
    changes = roster.update(listing(AUSDT=TRADING))
    assert (changes.resumed, changes.listed) == (("AUSDT",), ())
    assert roster.symbols == ("AUSDT",)
    assert roster.not_trading == {}


def test_a_symbol_missing_in_two_listings_loses_its_stream() -> None:
    roster = Roster(USDT, listing(AUSDT=TRADING, BUSDT=TRADING))
    changes = roster.update(listing(BUSDT=TRADING))
    assert (changes.ended, changes.dropped) == (("AUSDT",), ())
    assert roster.symbols == ("AUSDT", "BUSDT")
    changes = roster.update(listing(BUSDT=TRADING))
    assert (changes.ended, changes.dropped) == ((), ("AUSDT",))
    assert roster.symbols == ("BUSDT",)
    assert roster.update(listing(BUSDT=TRADING)).news == ()
    assert roster.not_trading == {"AUSDT": DELISTED}
    assert roster.update(listing(AUSDT=TRADING, BUSDT=TRADING)).listed == ("AUSDT",)


def test_a_symbol_that_does_not_trade_at_the_start_is_followed_only_by_name() -> None:
    halted = listing(AUSDT=TRADING, BUSDT="BREAK")
    roster = Roster(USDT, halted)
    assert (roster.symbols, roster.resting) == (("AUSDT",), ("BUSDT",))
    roster = Roster(WantedListing(names=("BUSDT",)), halted)
    assert (roster.symbols, roster.resting) == (("BUSDT",), ("BUSDT",))
    assert roster.update(listing(AUSDT=TRADING, BUSDT=TRADING)).resumed == ("BUSDT",)
    assert roster.symbols == ("BUSDT",)


@given(st.lists(listings, min_size=1), st.integers(1, 3))
def test_each_listed_symbol_is_followed_by_one_shard(
    lists: list[dict[str, ListedSymbol]], of: int
) -> None:
    """At every moment, exactly one shard follows each symbol that trades."""
    rosters = [
        Roster(WantedListing(quote_asset="USDT", shard=Shard(number, of)), lists[0])
        for number in range(of)
    ]
    for each in lists[1:]:
        for roster in rosters:
            roster.update(each)
        trading = {name for name, one in each.items() if one == ListedSymbol("USDT", TRADING)}
        followed = Counter(name for roster in rosters for name in roster.symbols)
        assert set(followed.values()) <= {1}
        assert trading <= followed.keys()


@given(listings, st.lists(listings))
def test_changes_add_up_to_the_followed_symbols(
    first: dict[str, ListedSymbol], lists: list[dict[str, ListedSymbol]]
) -> None:
    roster = Roster(USDT, first)
    subscribed, due = set(roster.symbols), set(roster.symbols)
    for each in lists:
        changes = roster.update(each)
        assert not subscribed.intersection(changes.listed)
        subscribed = (subscribed | set(changes.listed)) - set(changes.dropped)
        due = (due | {*changes.listed, *changes.resumed}) - set(changes.ended)
        assert subscribed == set(roster.symbols)
        assert due == {name for name, one in each.items() if one == ListedSymbol("USDT", TRADING)}
        assert due <= subscribed
        parts = (changes.listed, changes.resumed, changes.ended, changes.dropped)
        assert len(changes.news) == sum(map(len, parts))


@pytest.mark.parametrize(
    ("not_trading", "listed", "words"),
    [
        ({}, [], ""),
        ({}, ["AUSDT", "BUSDT"], "2 newly listed"),
        ({"AUSDT": "BREAK"}, [], "AUSDT is halted (BREAK)"),
        (
            {"AUSDT": "BREAK", "BUSDT": DELISTED, "CUSDT": DELISTED, "DUSDT": DELISTED},
            ["FUSDT"],
            "1 newly listed, AUSDT is halted (BREAK), BUSDT is no longer listed, "
            "CUSDT is no longer listed, 1 more not trading",
        ),
    ],
)
def test_a_summary_names_a_few(not_trading: dict[str, str], listed: list[str], words: str) -> None:
    assert summary(not_trading, listed) == words


def test_a_subscription_is_changed_in_few_messages() -> None:
    before = [f"A{number}USDT" for number in range(3)]
    after = [*before[1:], *(f"B{number}USDT" for number in range(150))]
    messages = change(before, after)
    assert [message.count("@trade") for message in messages] == [1, 100, 50]
    assert '"UNSUBSCRIBE"' in messages[0]
    assert '"a0usdt@trade"' in messages[0]
    assert all('"SUBSCRIBE"' in message for message in messages[1:])
    assert change(after, after) == []
