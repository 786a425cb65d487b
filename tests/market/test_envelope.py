"""The queue message: decoding returns what was encoded, and refuses everything else."""

import base64
import json
import tracemalloc
import zlib
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcloud.market.envelope import (
    MAX_BODY,
    MAX_INFLATED,
    MAX_TRADES,
    SQS_CHUNK,
    Envelope,
    Malformed,
    decode,
    encode,
    encode_all,
    version_of,
)
from mcloud.market.trade import MAX_ID, MAX_TIME, Trade

from .trade_sets import START, several_symbols, trade_sets

SETS = trade_sets(smallest=1)
STREAMS = several_symbols().filter(bool)

TOKENS = (b'"', b",", b"-", b"[", b"]", b"{", b"}", b"0", b"9", b".", b"\\n", b"\\u0661", b"null")

VALID: dict[str, Any] = {
    "v": 1,
    "symbol": "BTCUSDT",
    "id": [3735683259, 1],
    "p": ["61837.63", "61837.6"],
    "q": ["0.02", "0"],
    "T": [1723161255342, -275],
    "m": "10",
}
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text("0123456789.-+eE_ \n\t", max_size=6)
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=5,
)

VALID_TRADES = (
    Trade("BTCUSDT", 3735683259, Decimal("61837.63"), Decimal("0.02"), 1723161255342, True),
    Trade("BTCUSDT", 3735683260, Decimal("61837.6"), Decimal(0), 1723161255067, False),
)


def body(**fields: object) -> str:
    return json.dumps(VALID | fields)


def packed(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data)).decode()


def run_of(count: int) -> list[Trade]:
    # The numbers vary, so that the messages do not compress too well.
    return [
        Trade(
            "BTCUSDT",
            5_000_000_000 + n,
            Decimal(n * 7919 % 1_000_003 + 1) / 100,
            Decimal(n * 104_729 % 10_000_019) / 100_000,
            START + n,
            n % 3 == 0,
        )
        for n in range(count)
    ]


@given(SETS)
def test_encoded_trades_are_decoded_unchanged(trades: list[Trade]) -> None:
    message = encode(trades)
    assert message.body.isascii()
    for form in (message.body, message.body.encode()):
        assert decode(form, message.attributes) == Envelope(tuple(trades))
    again = encode(decode(message.body).trades)
    assert again == message


@given(SETS)
def test_the_attributes_describe_the_content(trades: list[Trade]) -> None:
    message = encode(trades, one_in=1)
    encoding = "json" if message.body.startswith("{") else "zlib+base64"
    assert message.attributes == {
        "symbol": "BTCUSDT",
        "first_id": str(trades[0].id),
        "last_id": str(trades[-1].id),
        "count": str(len(trades)),
        "encoding": encoding,
        "traceparent": message.attributes["traceparent"],
    }
    assert "traceparent" not in encode(trades).attributes


@given(STREAMS)
def test_several_symbols_and_voids_round_trip(trades: list[Trade]) -> None:
    message = encode(trades)
    assert message.body.isascii()
    for form in (message.body, message.body.encode()):
        assert decode(form, message.attributes) == Envelope(tuple(trades))
    # Trades that the previous version can express are written so that it can read them.
    plain = all(trade.symbol == "BTCUSDT" and not trade.is_void for trade in trades)
    assert version_of(message) == (1 if plain else 2)
    assert ("version" in message.attributes) == (not plain)


def test_a_symbol_of_another_script_and_market() -> None:
    trades = [trade._replace(symbol="币安人生USDT.um") for trade in VALID_TRADES]
    message = encode(trades)
    assert message.body.isascii()
    assert message.attributes["symbol"] == "币安人生USDT.um"
    assert decode(message.body, message.attributes).trades == tuple(trades)


def test_the_documented_form_stays_readable() -> None:
    assert decode(body()).trades == VALID_TRADES
    assert decode(packed(body().encode())).trades == VALID_TRADES
    assert json.loads(encode(VALID_TRADES).body) == VALID


@pytest.mark.parametrize("limit", [1024, 4096, SQS_CHUNK])
def test_many_trades_make_messages_within_the_limit(limit: int) -> None:
    trades = run_of(3_000)
    messages = encode_all(trades, limit=limit)
    assert all(message.size <= limit for message in messages)
    assert [trade for message in messages for trade in decode(message.body).trades] == trades


def test_the_largest_envelope_fits_into_a_message() -> None:
    trades = run_of(MAX_TRADES)
    message = encode(trades)
    assert message.size < MAX_BODY
    assert decode(message.body).trades == tuple(trades)
    (two, _) = encode_all(run_of(MAX_TRADES + 1), limit=MAX_BODY)
    assert int(two.attributes["count"]) == MAX_TRADES // 2


@given(st.integers(0, MAX_TIME), st.integers(0, MAX_ID))
def test_the_widest_trade_fits_the_smallest_limit(time: int, id_: int) -> None:
    wide = Decimal("1234567890123456.123456789012")
    trade = Trade("A" * 20 + "_" + "B" * 20, id_, wide, wide, time, True)
    (message,) = encode_all([trade], limit=1024)
    assert decode(message.body).trades == (trade,)


def test_invalid_trades_cannot_be_packed() -> None:
    one, other = VALID_TRADES
    stranger = one._replace(symbol="ETHUSDT")
    for trades in ([], [other, one], [one, one], [one, stranger, other]):
        with pytest.raises(ValueError, match="envelope"):
            encode(trades)
    with pytest.raises(ValueError, match="envelope"):
        encode(run_of(MAX_TRADES + 1))
    with pytest.raises(ValueError, match="1 KiB"):
        encode_all(VALID_TRADES, limit=1023)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"\xff\xfe{}", "not UTF-8"),
        ("", "cut short"),
        ("poison", "neither JSON nor base64"),
        ("ünïcode", "neither JSON nor base64"),
        (" " + body(), "neither JSON nor base64"),
        (base64.b64encode(b"not zlib").decode(), "neither JSON nor base64"),
        (packed(body().encode())[:-8], "neither JSON nor base64|cut short"),
        (base64.b64encode(zlib.compress(body().encode())[:-6]).decode(), "cut short"),
        (base64.b64encode(zlib.compress(body().encode()) + b"x").decode(), "followed by"),
        (packed(b"\xff"), "not ASCII"),
        (packed(b"poison"), "not JSON"),
        (packed(b"[1]"), "no version"),
        ("{", "not JSON"),
        ("{}", "no version"),
        ('{"v":' + "[" * 100_000, "not JSON"),
        ('{"v":' + "9" * 10_000 + "}", "not JSON"),
        ('{"stream":"btcusdt@trade","data":{}}', "no version"),
        (body(v=3), "unknown envelope version 3"),
        (body(v=0), "unknown envelope version 0"),
        (body(v=2), "without streams"),
        (body(v=2, streams={}), "without streams"),
        (body(v=2, streams=[]), "without streams"),
        (body(v=2, streams=[5]), "not a JSON object"),
        (body(v=2, streams=[VALID, VALID]), "a symbol comes twice"),
        (body(v=2, streams=[VALID | {"p": ["1", "0"], "q": ["1", "5"]}]), "not a void"),
        (body(v=2, streams=[VALID | {"p": ["0", "1"], "q": ["0", "1"]}]), "not a void"),
        (body(v=2, streams=[VALID | {"symbol": "é"}]), "not a symbol"),
        (body(v=True), "unknown envelope version"),
        (body(v=1.0), "unknown envelope version"),
        (body(v="1"), "unknown envelope version"),
        (body(v=[[1]]), "unknown envelope version"),
        (body(symbol=None), "not a symbol"),
        (body(symbol="btcusdt"), "not a symbol"),
        (body(symbol="\ud800"), "not a symbol"),
        (body(symbol="BTCUSDT\n"), "not a symbol"),
        (body(id=[5, 0]), "ids out of order"),
        (body(id=[5, -1]), "ids out of order"),
        (body(id=[-1, 2]), "id leaves the range"),
        (body(id=[MAX_ID, 1]), "id leaves the range"),
        (body(id=[5, 1.0]), "id is not a list of whole numbers"),
        (body(id=[True, True]), "id is not a list of whole numbers"),
        (body(id=5), "id is not a list"),
        (body(T=[0, -1]), "T leaves the range"),
        (body(T=[MAX_TIME, 1]), "T leaves the range"),
        (body(T={}), "T is not a list"),
        (body(p=["61837.63", "0"]), "a price is zero"),
        (body(p=["61837.63", 5]), "p is not a list of texts"),
        (body(p=["61837.63", 5.5]), "p is not a list of texts"),
        (body(p=["61837.63", "NaN"]), "p holds something"),
        (body(p=["61837.63", "Infinity"]), "p holds something"),
        (body(p=["61837.63", "-1"]), "p holds something"),
        (body(p=["61837.63", "1e5"]), "p holds something"),
        (body(p=["61837.63", "1.50"]), "p holds something"),
        (body(p=["61837.63", "01"]), "p holds something"),
        (body(p=["61837.63", "1_0"]), "p holds something"),
        (body(p=["61837.63", "٣"]), "p holds something"),
        (body(p=["61837.63", ""]), "p holds something"),
        (body(p=["61837.63", "1\n"]), "p holds something"),
        (body(p=["61837.63", "1\n2"]), "p holds something"),
        (body(p=["12345678901234567", "1"]), "p holds something"),
        (body(q=["0.02", "-0"]), "q holds something"),
        (body(q=["0.02"]), "differ in length"),
        (body(p=[]), "differ in length"),
        (body(m="1"), "differ in length"),
        (body(m="12"), "m is not a row"),
        (body(m=[1, 0]), "m is not a row"),
        (body(id=[], p=[], q=[], T=[], m=""), "1 to 20000 trades, not 0"),
        ("x" * (MAX_BODY + 1), "more than"),
        (packed(b"{" + b" " * MAX_INFLATED), "inflates to more than"),
    ],
)
def test_garbage_is_malformed(message: str | bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        decode(message)


@pytest.mark.parametrize("field", sorted(VALID))
def test_a_missing_field_is_malformed(field: str) -> None:
    with pytest.raises(Malformed):
        decode(json.dumps({name: value for name, value in VALID.items() if name != field}))


def test_an_attribute_that_contradicts_is_malformed() -> None:
    assert decode(body(), {"symbol": "BTCUSDT"}).trades == VALID_TRADES
    assert decode(body(), {}).trades == VALID_TRADES
    with pytest.raises(Malformed, match="the attribute says ETHUSDT"):
        decode(body(), {"symbol": "ETHUSDT"})


def test_a_decompression_bomb_is_refused() -> None:
    deflater = zlib.compressobj(9)
    bomb = b"".join(deflater.compress(bytes(1 << 20)) for _ in range(128)) + deflater.flush()
    message = base64.b64encode(bomb).decode()
    assert len(message) < MAX_BODY
    tracemalloc.start()
    try:
        with pytest.raises(Malformed, match="inflates to more than"):
            decode(message)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5 * MAX_INFLATED


def decodes_or_is_malformed(message: str | bytes) -> None:
    try:
        envelope = decode(message)
    except Malformed:
        return
    assert decode(encode(envelope.trades).body) == envelope


@settings(max_examples=500)
@given(SETS, st.booleans(), st.data())
def test_any_change_of_bytes_is_malformed_or_a_valid_envelope(
    trades: list[Trade], compress: bool, data: st.DataObject
) -> None:
    text = encode(trades).body
    if not text.startswith("{"):
        text = zlib.decompress(base64.b64decode(text)).decode()
    changed = bytearray(text.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(changed)))
        end = data.draw(st.integers(at, min(len(changed), at + 4)))
        changed[at:end] = data.draw(st.binary(max_size=3) | st.sampled_from(TOKENS))
    decodes_or_is_malformed(packed(bytes(changed)) if compress else bytes(changed))


@settings(max_examples=300)
@given(SETS, st.data())
def test_any_change_of_compressed_bytes(trades: list[Trade], data: st.DataObject) -> None:
    changed = bytearray(encode(trades).body.encode())
    changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    decodes_or_is_malformed(bytes(changed))


@settings(max_examples=500)
@given(st.sampled_from(sorted(VALID)), values, st.booleans())
def test_any_value_in_any_field(field: str, value: object, inside: bool) -> None:
    old = VALID[field]
    decodes_or_is_malformed(
        body(**{field: [old[0], value] if inside and isinstance(old, list) else value})
    )


@given(st.text() | st.binary())
def test_anything_else_is_malformed(message: str | bytes) -> None:
    with pytest.raises(Malformed):
        decode(message)
