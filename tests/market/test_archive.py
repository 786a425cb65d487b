"""The raw archive: every trade as it came, under a key that describes the object."""

import gzip
import json
import re
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcloud.market import archive
from mcloud.market.archive import (
    HOUR,
    BadArchive,
    is_intact,
    pack,
    parse_key,
    prefix,
    unpack,
)
from mcloud.market.trade import MAX_ID, MAX_TIME, Trade

from .trade_sets import START, subsets, trade_sets

HOURS = st.integers(-3 * HOUR, 3 * HOUR).map(lambda offset: START + offset)
ACROSS_HOURS = st.builds(
    lambda a, b: a + b,
    trade_sets(moments=HOURS, smallest=1),
    trade_sets(symbol="币安人生USDT.um", moments=HOURS, voids=True),
)

TRADE = Trade("BTCUSDT", 5, Decimal("61837.63"), Decimal("0.02"), START, True)
KEY = re.compile(
    r"raw/symbol=([^/]+)/date=(\d{4}-\d\d-\d\d)/hour=(\d\d)/"
    r"(\d+)-(\d+)(?:-(\d+))?-[0-9a-f]{16}\.jsonl\.gz"
)


@given(ACROSS_HOURS)
def test_every_trade_is_read_back_from_the_object_of_its_hour(trades: list[Trade]) -> None:
    objects = pack(trades)
    restored = [unpack(item.body) for item in objects]
    assert Counter(trade for held in restored for trade in held) == Counter(trades)
    for (key, _), held in zip(objects, restored, strict=True):
        match = KEY.fullmatch(key)
        assert match is not None
        symbol, date, hour, first, last, count = match.groups()
        assert {trade.symbol for trade in held} == {symbol}
        moments = [datetime.fromtimestamp(trade.time / 1000, UTC) for trade in held]
        assert {f"{moment:%Y-%m-%d %H}" for moment in moments} == {f"{date} {hour}"}
        assert [trade.id for trade in held] == sorted(trade.id for trade in held)
        assert (held[0].id, held[-1].id) == (int(first), int(last))
        ids = {trade.id for trade in held}
        is_dense = ids == set(range(int(first), int(last) + 1))
        assert count == (None if is_dense else str(len(ids)))
        hour_start = held[0].time // HOUR * HOUR
        holding = parse_key(key)
        assert holding == (symbol, hour_start, held[0].id, held[-1].id, len(ids))
        assert holding.is_dense == is_dense
        assert key.startswith(prefix(symbol, held[0].time // HOUR * HOUR))
        assert key.startswith(prefix(symbol))


@pytest.mark.parametrize(
    "key",
    [
        "raw/symbol=BTCUSDT/date=2024-08-08/hour=23/5-9-9-0f6d3c2a9b1e4d57.jsonl.gz",
        "raw/symbol=BTCUSDT/date=2024-08-08/hour=23/9-5-0f6d3c2a9b1e4d57.jsonl.gz",
        "raw/symbol=BTCUSDT/date=2024-08-08/hour=24/5-9-0f6d3c2a9b1e4d57.jsonl.gz",
        "raw/symbol=BTCUSDT/date=2024-13-08/hour=23/5-9-0f6d3c2a9b1e4d57.jsonl.gz",
        "raw/symbol=BTCUSDT/date=2024-08-08/hour=23/5-9-0f6d3c2a9b1e4d57.json",
        "notes.txt",
    ],
)
def test_a_foreign_key_is_not_parsed(key: str) -> None:
    assert parse_key(key) is None


@given(ACROSS_HOURS)
def test_an_object_is_intact_under_its_own_key_however_it_was_compressed(
    trades: list[Trade],
) -> None:
    objects = pack(trades)
    for key, body in objects:
        assert is_intact(key, gzip.compress(gzip.decompress(body), 1))
        assert not is_intact(key, body[:-1])
        assert all(not is_intact(key, other) for name, other in objects if name != key)


@pytest.mark.parametrize(
    ("part", "other"),
    [
        ("symbol=BTCUSDT", "symbol=ETHUSDT"),
        ("date=2024-08-08", "date=2024-08-09"),
        ("hour=23", "hour=22"),
        ("/100-", "/99-"),
        ("-104-", "-105-"),
        ("-4-", "-5-"),
    ],
)
def test_valid_lines_under_a_wrong_name_are_damage(part: str, other: str) -> None:
    made = [
        Trade("BTCUSDT", id_, Decimal(5), Decimal(1), 1_723_161_180_000 + id_, True)
        for id_ in (100, 101, 103, 104)
    ]
    ((key, body),) = pack(made)
    assert is_intact(key, body)
    assert part in key
    assert not is_intact(key.replace(part, other), body)


@given(ACROSS_HOURS, st.randoms(use_true_random=False), st.data())
def test_the_same_trades_give_the_same_keys_and_bytes(
    trades: list[Trade], random: Random, data: st.DataObject
) -> None:
    repeated = trades + data.draw(subsets(trades))
    random.shuffle(repeated)
    assert pack(repeated) == pack(trades)


@given(ACROSS_HOURS, st.data())
def test_other_trades_give_another_key(trades: list[Trade], data: st.DataObject) -> None:
    trade = data.draw(st.sampled_from([each for each in trades if not each.is_void]))
    changes = [
        trade._replace(price=trade.price + 1),
        trade._replace(quantity=trade.quantity + 1),
        trade._replace(time=trade.time + 1),
        trade._replace(buyer_is_maker=not trade.buyer_is_maker),
    ]
    other = data.draw(st.sampled_from(changes))
    rest = [known for known in trades if known != trade]
    assert {key for key, _ in pack([*rest, other])} != {key for key, _ in pack(trades)}


@given(ACROSS_HOURS)
def test_anyone_can_read_an_object(trades: list[Trade]) -> None:
    for _, body in pack(trades):
        for line, trade in zip(gzip.decompress(body).splitlines(), unpack(body), strict=True):
            row = json.loads(line)
            assert (row["s"], row["t"], row["T"], row["m"]) == (
                *(trade.symbol, trade.id, trade.time, trade.buyer_is_maker),
            )
            assert Decimal(row["p"]) == trade.price
            assert Decimal(row["q"]) == trade.quantity


def test_two_trades_under_one_id_are_both_kept() -> None:
    other = TRADE._replace(quantity=Decimal("0.03"))
    (one,) = pack([TRADE, other])
    assert unpack(one.body) == [TRADE, other]
    assert pack([other, TRADE]) == [one]


def test_a_void_beside_a_trade_under_its_id_is_not_kept() -> None:
    void = Trade.void("BTCUSDT", TRADE.id, TRADE.time)
    assert pack([TRADE, void]) == pack([void, TRADE]) == pack([TRADE])
    (alone,) = pack([void])
    assert gzip.decompress(alone.body) == (
        b'{"s":"BTCUSDT","t":5,"p":"0","q":"0","T":1723161180000,"m":false,"X":"NA"}\n'
    )
    assert unpack(alone.body) == [void]


@given(trade_sets(), st.integers(1, 7))
def test_no_object_holds_more_than_can_be_read_back(trades: list[Trade], most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive, "MAX_TRADES", most)
        items = pack(trades)
    read = [unpack(item.body) for item in items]
    assert max(map(len, read), default=0) <= most
    assert sorted(trade for each in read for trade in each) == sorted(set(trades))
    assert all(is_intact(item.key, item.body) for item in items)
    assert len({item.key for item in items}) == len(items)


def test_the_longest_lines_of_the_largest_object_can_be_read_back() -> None:
    longest = Decimal("9999999999999999.999999999999")
    symbol = f"{'A' * 20}_{'A' * 20}"
    (item,) = pack([Trade(symbol, MAX_ID, longest, longest, MAX_TIME, False)])
    line = gzip.decompress(item.body)
    assert archive.MAX_TRADES * len(line) <= archive.MAX_INFLATED


def test_no_trades_make_no_object() -> None:
    assert pack([]) == []


@settings(max_examples=300)
@given(trade_sets(smallest=1, minutes=1), st.data())
def test_a_damaged_object_is_a_bad_archive_or_still_trades(
    trades: list[Trade], data: st.DataObject
) -> None:
    body = bytearray(pack(trades)[0].body)
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] ^= data.draw(st.integers(1, 255))
    try:
        read = unpack(bytes(body))
    except BadArchive:
        return
    assert read == trades  # the damage is in the header, for example in its timestamp


@given(trade_sets(smallest=1), st.data())
def test_a_cut_object_is_a_bad_archive(trades: list[Trade], data: st.DataObject) -> None:
    body = pack(trades)[0].body
    with pytest.raises(BadArchive):
        unpack(body[: data.draw(st.integers(0, len(body) - 1))])


@pytest.mark.parametrize(
    "line",
    [
        b"junk",
        b"[]",
        b"5",
        b"\xff",
        b"[" * 100_000,
        b'{"s":"BTCUSDT","t":5,"p":"NaN","q":"1","T":1,"m":true}',
        b'{"s":"BTCUSDT","t":5,"p":1.5,"q":"1","T":1,"m":true}',
        b'{"s":"BTCUSDT","t":' + b"9" * 5000 + b"}",
    ],
)
def test_a_line_that_is_not_a_trade_is_reported(line: bytes) -> None:
    (good,) = pack([TRADE])
    with pytest.raises(BadArchive, match="line 2"):
        unpack(gzip.compress(gzip.decompress(good.body) + line + b"\n"))


def test_data_after_the_gzip_stream_is_an_error() -> None:
    (one,) = pack([TRADE])
    (two,) = pack([TRADE._replace(id=6)])
    with pytest.raises(BadArchive):
        unpack(one.body + two.body)


def test_an_object_that_inflates_without_end_is_refused() -> None:
    with pytest.raises(BadArchive, match="inflates to more than"):
        unpack(gzip.compress(bytes(65 << 20), 1))
