"""Decoding trades among other messages of a stream."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcloud.feed.binance.messages import EXAMPLES, MessageReader

TRADE = {
    "e": "trade",
    "E": 1723161255343,
    "s": "BTCUSDT",
    "t": 7,
    "p": "61837.63000000",
    "q": "0.02000000",
    "T": 1723161255342,
    "m": True,
    "M": True,
}


def message(**changes: object) -> bytes:
    """Return a message exactly as Binance sends it."""
    whole = {"stream": "btcusdt@trade", "data": TRADE | changes}
    return json.dumps(whole, separators=(",", ":")).encode()


def test_the_recording_is_read_completely(recordings: Path) -> None:
    with gzip.open(recordings / "spot-btcusdt-trades-20240808.jsonl.gz") as file:
        lines = file.read().splitlines()
    reader = MessageReader(["BTCUSDT"])
    ids = []
    for begin in range(0, len(lines), 64):
        batch = reader.read(lines[begin : begin + 64])
        ids += [trade.id for trade in batch.trades]
        assert batch.newest["BTCUSDT"] == batch.trades[-1]
    assert ids == list(range(3735683259, 3735693016))
    assert (reader.report.trades, reader.report.bad) == (9757, 0)


@pytest.mark.parametrize(
    "other",
    [
        b'{"result":null,"id":1}',
        b'{"result":["btcusdt@trade"],"id":3}',
        message(s="ETHUSDT"),
        message(e="aggTrade"),
    ],
)
def test_messages_of_other_kinds_are_skipped(other: bytes) -> None:
    reader = MessageReader(["BTCUSDT"])
    batch = reader.read([other, message()])
    assert [trade.id for trade in batch.trades] == [7]
    assert not batch.shutdown
    assert (reader.report.skipped, reader.report.bad) == (1, 0)


def test_a_market_trade_of_futures_is_accepted() -> None:
    assert len(MessageReader(["BTCUSDT.um"]).read([message(X="MARKET")]).trades) == 1


@pytest.mark.parametrize(
    "announcement",
    [
        b'{"e":"serverShutdown","E":1770123456789}',
        b'{"event":{"e":"serverShutdown","E":1770123456789}}',
        b'{"stream":"","data":{"e":"serverShutdown","E":1770123456789}}',
    ],
)
def test_the_end_is_announced(announcement: bytes) -> None:
    reader = MessageReader(["BTCUSDT"])
    batch = reader.read([message(), announcement, message(t=8)])
    assert batch.shutdown
    assert [trade.id for trade in batch.trades] == [7, 8]
    assert reader.report.bad == 0


@pytest.mark.parametrize(
    "answer",
    [b'{"error":{"code":2,"msg":"Invalid"},"id":1}', b'{"code":3,"msg":"Invalid JSON"}'],
)
def test_a_refused_subscription_is_reported(answer: bytes) -> None:
    reader = MessageReader(["BTCUSDT"])
    reader.read([answer])
    assert "Invalid" in reader.refusal
    assert "refused" in reader.report.bad_examples[0].reason


GARBAGE = [
    *(b"", b"{", b"nonsense", b"[]", b"null", b"3", b'"text"', b"[1", b'{"data":', b"[" * 200_000),
    *(b'{"data":null}', b'{"data":[]}', b'{"data":{"e":{}}}', b'{"data":"e"}', b"]", b"1,2"),
    *(b'{"data":{"e":"trade"}}', b"\xff\xfe", b'{"a":1},{"b":2}', b"\xed\xa0\x80"),
    *(message(p="NaN"), message(p=1.5), message(p="0"), message(t=-1), message(t=True)),
    *(message(T=10**18), message(s=["BTCUSDT"]), message(q="1e3"), message(m="true")),
    *(message(t=10**19), message(p="1" * 17), message(q="0.1234567890123")),
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda garbage: repr(garbage)[:30])
def test_garbage_is_counted_and_named_and_costs_no_trade(garbage: bytes) -> None:
    reader = MessageReader(["BTCUSDT"])
    batch = reader.read([message(t=1), garbage, message(t=2)])
    assert [trade.id for trade in batch.trades] == [1, 2]
    assert (reader.report.bad, reader.report.skipped) == (1, 0)
    assert reader.report.bad_examples[0].line == 2
    assert len(reader.report.bad_examples[0].reason) < 400


def test_only_the_first_few_are_reported() -> None:
    reader = MessageReader(["BTCUSDT"])
    reader.read([b"nonsense"] * 100)
    assert reader.report.bad == 100
    assert [each.line for each in reader.report.bad_examples] == list(range(1, EXAMPLES + 1))


DIGITS = st.from_regex(r"[0-9.]{1,20}", fullmatch=True)


@given(
    t=st.one_of(st.integers(), DIGITS),
    p=st.one_of(DIGITS, st.text(), st.decimals().map(str)),
    q=st.one_of(DIGITS, st.just("0")),
    T=st.integers(),
    m=st.one_of(st.booleans(), st.none()),
)
def test_the_short_way_and_the_long_way_agree(**changes: object) -> None:
    short, long = MessageReader(["BTCUSDT"]), MessageReader(["BTCUSDT"])
    text = message(**changes)
    assert short.read([text]).trades == long.read([text.replace(b":", b": ")]).trades
    assert (short.report.trades, short.report.bad) == (long.report.trades, long.report.bad)


@given(st.lists(st.one_of(st.binary(), st.integers(0, 9).map(lambda t: message(t=t)))))
def test_a_batch_gives_the_result_of_its_single_messages(texts: list[bytes]) -> None:
    together, alone = MessageReader(["BTCUSDT"]), MessageReader(["BTCUSDT"])
    trades = together.read(texts).trades
    assert trades == [trade for text in texts for trade in alone.read([text]).trades]
    assert together.report == alone.report


def test_an_event_of_another_market_is_no_trade_of_ours() -> None:
    """This happens if --ws-url is the address of another market than --exchange."""
    spot, future = MessageReader(["BTCUSDT"]), MessageReader(["BTCUSDT.um"])
    without_m = {name: value for name, value in TRADE.items() if name != "M"}
    event = json.dumps({"data": without_m | {"X": "MARKET"}}).encode()
    assert [trade.symbol for trade in future.read([event]).trades] == ["BTCUSDT.um"]
    assert [trade.symbol for trade in spot.read([message()]).trades] == ["BTCUSDT"]
    for reader, other in ((spot, event), (future, message())):
        assert reader.read([other]).trades == []
        assert reader.report.bad == 1
        assert "of another market" in str(reader.report.bad_examples[0])
