"""The lines and the blocks of columns are those of single trades."""

import zlib
from collections.abc import Callable
from decimal import Decimal
from itertools import groupby

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk.arrivals import arrivals
from mcloud.bulk import read_lines as reader
from mcloud.bulk.columns import from_trades, to_trades
from mcloud.bulk.read_lines import read_lines
from mcloud.bulk.write_lines import by_block, canonical, pack_blocks, write_lines
from mcloud.market.archive import BadArchive, inflate, line, parse
from mcloud.market.block import BLOCK, Block, BlockKey, block_of, pack_block
from mcloud.market.trade import MAX_ID, Trade

SYMBOLS = ["BTCUSDT", "1000SHIBUSDT", "BTCUSDT.um.agg", "BTCUSD_250926.cm", "币安人生USDT", "A.um"]

symbols = st.sampled_from(SYMBOLS)


def renamed(trades: list[Trade], symbol: str) -> list[Trade]:
    return [trade._replace(symbol=symbol) for trade in trades]


def lines_of(trades: list[Trade]) -> bytes:
    return "".join(map(line, trades)).encode()


def blocks_of(trades: list[Trade]) -> list[list[Trade]]:
    ordered = sorted(trades, key=lambda trade: trade.id)
    return [list(group) for _, group in groupby(ordered, lambda trade: trade.id // BLOCK)]


Outcome = list[Trade] | str


def outcome(read: Callable[[], list[Trade]]) -> Outcome:
    try:
        return read()
    except BadArchive as error:
        return str(error)


@given(arrivals(), symbols)
def test_lines_are_those_of_the_archive(trades: list[Trade], symbol: str) -> None:
    trades = renamed(trades, symbol)
    assert write_lines(symbol, from_trades(trades)) == lines_of(trades)


@given(arrivals(), symbols)
@settings(max_examples=300)
def test_blocks_are_those_of_pack_block(trades: list[Trade], symbol: str) -> None:
    trades = renamed(trades, symbol)
    packed = pack_blocks(symbol, from_trades(trades))
    expected = list(map(pack_block, blocks_of(trades)))
    assert [each.item.key for each in packed] == [each.key for each in expected]
    assert [str(each.key) for each in packed] == [each.key for each in expected]
    assert [inflate(each.item.body) for each in packed] == [inflate(e.body) for e in expected]
    for each in packed:
        assert each.hours == Block(each.key, each.item.body).hours


@given(arrivals(), st.data())
def test_batches_are_put_together_by_block(trades: list[Trade], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(trades)), max_size=4)))
    parts = [trades[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(trades)], strict=True)]
    held: dict[BlockKey, list[Trade]] = {}
    for key, batch in by_block("BTCUSDT", map(from_trades, parts)):
        held.setdefault(key, []).extend(to_trades("BTCUSDT", batch))
    expected = {block_of("BTCUSDT", each[0].id): each for each in blocks_of(trades)}
    assert {key: inflate(pack_block(each).body) for key, each in held.items()} == {
        key: inflate(pack_block(each).body) for key, each in expected.items()
    }


def test_each_block_of_ordered_batches_comes_once() -> None:
    trades = [
        Trade("BTCUSDT", id_, from_id(id_), from_id(id_), 1723161255342 + id_ // 9, False)
        for id_ in range(BLOCK - 700, 3 * BLOCK + 300)
    ]
    batches = [from_trades(trades[n : n + 30_001]) for n in range(0, len(trades), 30_001)]
    found = list(by_block("BTCUSDT", batches))
    assert [key.first_id for key, _ in found] == [0, BLOCK, 2 * BLOCK, 3 * BLOCK]
    assert [batch.num_rows for _, batch in found] == [700, BLOCK, BLOCK, 300]
    assert pa.Table.from_batches(batch for _, batch in found) == pa.Table.from_batches(batches)


def from_id(id_: int) -> Decimal:
    return Decimal(id_ % 12_345 + 1) / 100


@given(arrivals(), symbols)
def test_lines_are_read_back(trades: list[Trade], symbol: str) -> None:
    trades = renamed(trades, symbol)
    text = lines_of(trades)
    assert to_trades(symbol, read_lines(symbol, text)) == trades == parse(text)


@given(arrivals(voids=False), symbols)
def test_usual_lines_need_no_parser(trades: list[Trade], symbol: str) -> None:
    trades = [each._replace(id=each.id % 10**16) for each in trades]
    if trades:
        assert reader._read(symbol, lines_of(renamed(trades, symbol))) is not None


ODD = [
    *(b"{}", b"x", b"\r\n", b"\n\n", b"\r", b" ", b"\xff", b"\0", b",", b'"', b":", b"."),
    *(b"0", b"00", b"-", b"+", b"e", b"E5", b"e5", b"1", b"123456789012345678", b"0" * 20),
    *(b"\\u0030", b"\t", b'"X":"NA",', b"true", b"null", b"5", "١".encode()),
]


@given(arrivals(voids=False), symbols, st.data())
@settings(max_examples=600)
def test_odd_lines_are_read_as_the_parser_reads_them(
    trades: list[Trade], symbol: str, data: st.DataObject
) -> None:
    text = lines_of(renamed(trades, symbol))
    for _ in range(data.draw(st.sampled_from([1, 1, 1, 2]))):
        at = data.draw(st.integers(0, len(text)))
        end = data.draw(st.sampled_from([at, at, at + 1, at + 2, at + 10]))
        text = text[:at] + data.draw(st.sampled_from(ODD) | st.just(text[at:end] * 2)) + text[end:]

    def expected() -> list[Trade]:
        found = parse(text)
        for number, trade in enumerate(found, start=1):
            if trade.symbol != symbol:
                raise BadArchive(f"line {number}: a trade of {trade.symbol}, not of {symbol}")
        return found

    assert outcome(lambda: to_trades(symbol, read_lines(symbol, text))) == outcome(expected)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"s":"BTC1USDT"', b'"s":"BT1CUSDT"'),  # the same digits at another place
        (b'"p":"61837"', b'"p6":"1837"'),
        (b'"t":1234567890', b'"t":0234567890'),
        (b'"t":1234567890', b'"t":9234567890123456789'),
        (b'"q":"5"', b'"q":"5."'),
        (b'"q":"5"', b'"q":".5"'),
        (b'"q":"5"', b'"q":"00000000000000005"'),
        (b'"q":"5"', b'"q":"5.0000000000000"'),
        (b'"p":"61837"', b'"p":"0.000"'),
        (b'"T":1723161255342', b'"T":1723161255.342'),
        (b'"T":1723161255342', b'"T":253402300800000'),
    ],
)
def test_each_check_is_needed(old: bytes, new: bytes) -> None:
    row = b'{"s":"BTC1USDT","t":1234567890,"p":"61837","q":"5","T":1723161255342,"m":true}\n'
    text = (row * 3).replace(old, new, 1)
    assert text != row * 3
    assert reader._read("BTC1USDT", row * 3) is not None
    assert reader._read("BTC1USDT", text) is None


def test_a_level_of_compression() -> None:
    trades = [
        Trade("BTCUSDT", id_, from_id(id_), from_id(id_), 1723161255342, False)
        for id_ in range(MAX_ID - 2_000, MAX_ID)
    ]
    (fast,) = pack_blocks("BTCUSDT", from_trades(trades), level=1)
    (usual,) = pack_blocks("BTCUSDT", from_trades(trades))
    assert usual.item == pack_block(trades)
    assert inflate(fast.item.body) == inflate(usual.item.body)
    assert fast.item.body != usual.item.body
    assert zlib.decompress(fast.item.body, wbits=31) == lines_of(trades)


def test_no_trades() -> None:
    empty = from_trades([])
    assert write_lines("BTCUSDT", empty) == b""
    assert pack_blocks("BTCUSDT", empty) == []
    assert list(by_block("BTCUSDT", [empty, empty])) == []
    assert canonical(empty).num_rows == 0
    assert read_lines("BTCUSDT", b"").num_rows == 0
