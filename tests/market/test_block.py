"""Blocks, the permanent form of the raw archive, and their indexes."""

import gzip
import json
import zlib
from decimal import Decimal
from itertools import groupby
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcloud.market.archive import HOUR, BadArchive, line, order, parse, unpack
from mcloud.market.block import (
    BLOCK,
    Block,
    BlockEntry,
    BlockKey,
    block_of,
    index_key,
    is_index_key,
    pack_block,
    pack_index,
    pack_lines,
    parse_block_key,
    plain_lines,
    unpack_index,
)
from mcloud.market.trade import MAX_ID, Trade, without_filled_voids

from .trade_sets import START, trade_sets

HOURS = st.integers(-3 * HOUR, 3 * HOUR).map(lambda offset: START + offset)
TRADES = st.one_of(
    trade_sets(moments=HOURS, smallest=1),
    trade_sets(symbol="币安人生USDT.um", moments=HOURS, smallest=1, voids=True),
)
TRADE = Trade("BTCUSDT", 7 * BLOCK + 5, Decimal("61837.63"), Decimal("0.02"), START, True)


@given(TRADES)
def test_every_trade_is_read_back_in_order_and_by_hour(trades: list[Trade]) -> None:
    item = pack_block(trades)
    block = Block(block_of(trades[0].symbol, trades[0].id), item.body)
    wanted = without_filled_voids(sorted(set(trades), key=order))
    assert block.trades() == unpack(item.body) == wanted
    for hour, held in block.hours.items():
        mine = [trade for trade in wanted if trade.time // HOUR * HOUR == hour]
        assert block.trades(hour) == mine
        assert held.lines == len(mine)
        ids = [id_ for first, last in held.runs for id_ in range(first, last + 1)]
        assert ids == [id_ for id_, _ in groupby(trade.id for trade in mine)]
        assert all(b[0] > a[1] + 1 for a, b in zip(held.runs, held.runs[1:], strict=False))
    assert sum(held.lines for held in block.hours.values()) == len(wanted)


@given(TRADES)
def test_order_and_duplicates_of_trades_do_not_change_the_object(trades: list[Trade]) -> None:
    assert pack_block(reversed(trades)) == pack_block([*trades, *trades])


@given(trade_sets(symbol="币安人生USDT.um", moments=HOURS, smallest=1), st.randoms())
def test_lines_make_the_same_block_as_their_trades(trades: list[Trade], random: Random) -> None:
    item = pack_block(trades)
    text = gzip.decompress(item.body)
    key = block_of(trades[0].symbol, trades[0].id)
    shuffled = text.splitlines(keepends=True)
    random.shuffle(shuffled)
    lines = plain_lines(key.symbol, b"".join(shuffled))
    assert lines is not None
    assert {id_: parse(line_) for id_, line_ in lines.items()} == {
        trade.id: [trade] for trade in trades
    }
    assert pack_lines(key, lines) == item


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"p":"61837.63"', b'"p":"61837.630"'),
        (b'"p":"61837.63"', b'"p":"061837.63"'),
        (b'"p":"61837.63"', b'"p":"6E4"'),
        (b'"p":"61837.63"', b'"p":"0"'),
        (b'"q":"0.02"', b'"q":".02"'),
        (b'"q":"0.02"', b'"q":"2."'),
        (b'"t":70', b'"t":070'),
        (b'"m":true', b'"m":false,"X":"NA"'),
        (b'"m":true', b'"m":true,"X":"MARKET"'),
        (b"BTCUSDT", b"BTCUSDC"),
        (b"}\n", b"}\n\n"),
        (b"}\n", b"}"),
        (b"}\n", b'}\n{"s":"BTCUSDT"}\n'),
    ],
)
def test_a_line_that_is_not_plain_has_to_be_parsed(old: bytes, new: bytes) -> None:
    text = line(TRADE).encode()
    assert plain_lines(TRADE.symbol, text) == {TRADE.id: text}
    assert old in text
    assert plain_lines(TRADE.symbol, text.replace(old, new)) is None


def test_two_lines_of_an_id_have_to_be_compared() -> None:
    text = line(TRADE) + line(TRADE._replace(price=Decimal(1)))
    assert plain_lines(TRADE.symbol, text.encode()) is None
    assert plain_lines(TRADE.symbol, b"") == {}


@given(st.integers(0, MAX_ID), st.sampled_from(["BTCUSDT", "BTCUSD_PERP.cm", "币安人生USDT.um"]))
def test_a_key_names_symbol_and_block_and_nothing_else(trade_id: int, symbol: str) -> None:
    block = block_of(symbol, trade_id)
    assert block.first_id <= trade_id <= block.last_id
    assert parse_block_key(str(block)) == block
    assert not is_index_key(str(block))
    assert is_index_key(index_key(block))
    assert parse_block_key(index_key(block)) is None


def test_keys_are_listed_in_the_order_of_ids() -> None:
    firsts = [0, BLOCK, 10 * BLOCK, 99 * BLOCK, 100 * BLOCK]
    keys = [str(BlockKey("BTCUSDT", first)) for first in firsts]
    assert keys == sorted(keys)


@pytest.mark.parametrize(
    "key",
    [
        "raw/symbol=BTCUSDT/block=0000000000000000001.jsonl.gz",
        "raw/symbol=BTCUSDT/block=100000.jsonl.gz",
        "raw/symbol=A/B/block=0000000000000100000.jsonl.gz",
    ],
)
def test_other_keys_are_not_those_of_a_block(key: str) -> None:
    assert parse_block_key(key) is None


def test_trades_of_two_blocks_are_refused() -> None:
    with pytest.raises(ValueError, match="several blocks"):
        pack_block([TRADE, TRADE._replace(id=8 * BLOCK)])


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (lambda mine: [b"hello\n"], "line 1 is not a trade"),
        (lambda mine: [], "line 1 is not a trade"),
        (lambda mine: [*mine, b'{"s":"BTCUSDT"}\n'], "line 3 is not a trade"),
        (lambda mine: [mine[0], b"\n", mine[1]], "line 2 is not a trade"),
        (lambda mine: [*mine, mine[0]], "line 3 does not belong here"),
        (lambda mine: [mine[0].replace(b"BTC", b"ETH")], "line 1 does not belong here"),
        (lambda mine: [mine[0].replace(b"700005", b"800000")], "line 1 does not belong here"),
    ],
)
def test_an_object_that_is_no_block_is_refused(lines: object, words: str) -> None:
    mine = gzip.decompress(pack_block([TRADE, TRADE._replace(id=TRADE.id + 1)]).body)
    body = gzip.compress(b"".join(lines(mine.splitlines(keepends=True))))  # type: ignore[operator]
    with pytest.raises(BadArchive, match=words):
        Block(block_of("BTCUSDT", TRADE.id), body)


@given(TRADES, st.booleans())
def test_an_index_describes_the_content_of_blocks(trades: list[Trade], is_cut: bool) -> None:
    key = block_of(trades[0].symbol, trades[0].id)
    other = BlockKey(key.symbol, key.first_id + BLOCK)
    entries = {
        key: BlockEntry("abc", Block(key, pack_block(trades).body).hours),
        other: BlockEntry("", {}),
    }
    item = pack_index(entries)
    assert item.key == index_key(key) == index_key(other)
    assert unpack_index(item.key, item.body) == entries
    assert unpack_index(item.key, item.body[: len(item.body) // 2]) == {}


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {"version": 2, "blocks": []},
        {"version": 1},
        {"version": 1, "blocks": [{"first_id": 0, "tag": "a", "hours": [[0, "x", 1, "a"]]}]},
    ],
)
def test_an_unreadable_index_is_ignored(document: object) -> None:
    body = zlib.compress(json.dumps(document).encode(), wbits=31)
    assert unpack_index(index_key(BlockKey("BTCUSDT", 0)), body) == {}
