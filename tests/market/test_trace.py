"""The trace context depends on the trades only, in the formats of W3C, X-Ray and Google."""

import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mcloud.market.envelope import decode, encode, encode_all
from mcloud.market.trace import TraceParent, derive, parse, xray_id
from mcloud.market.trade import Trade

from .trade_sets import START, trade_sets

# https://www.w3.org/TR/trace-context/#traceparent-header-field-values, without the all-zero ids.
W3C = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-0[01]")
# https://docs.aws.amazon.com/xray/latest/devguide/xray-api-sendingdata.html
XRAY = re.compile(r"1-[0-9a-f]{8}-[0-9a-f]{24}")

SETS = trade_sets(smallest=1)


def traceparent(trades: list[Trade], one_in: int = 0) -> str:
    return encode(trades, one_in=one_in).attributes["traceparent"]


@settings(max_examples=30)
@given(SETS, st.integers(0, 5))
def test_a_traceparent_is_valid_and_can_be_parsed(trades: list[Trade], one_in: int) -> None:
    text = traceparent(trades, one_in)
    assert W3C.fullmatch(text)
    parent = parse(text)
    assert parent is not None
    assert str(parent) == text
    assert XRAY.fullmatch(xray_id(parent.trace_id))
    # X-Ray expects a time in the first eight digits.
    assert int(parent.trace_id[:8], 16) == trades[-1].time // 1000 % 2**32


@settings(max_examples=30)
@given(SETS)
def test_a_message_that_is_made_again_stays_in_its_trace(trades: list[Trade]) -> None:
    again = list(decode(encode(trades, one_in=7).body).trades)
    assert traceparent(again, 7) == traceparent(trades, 7)


@settings(max_examples=30)
@given(SETS, SETS)
def test_other_trades_are_another_trace(one: list[Trade], other: list[Trade]) -> None:
    assume(one != other)
    assert traceparent(one)[:52] != traceparent(other)[:52]
    # This also holds if only the digits after the first eight differ.
    assert traceparent(one)[11:35] != traceparent(other)[11:35]


def test_every_part_of_a_large_batch_has_its_own() -> None:
    messages = encode_all(run_of(3_000), limit=2048, one_in=1)
    assert len(messages) > 3
    assert len({each.attributes["traceparent"] for each in messages}) == len(messages)


def test_the_sampling_rate_is_kept() -> None:
    def share(one_in: int) -> float:
        made = [derive(str(n).encode(), START // 1000, one_in) for n in range(20_000)]
        return sum(each.sampled for each in made) / len(made)

    assert share(0) == 0
    assert share(1) == 1
    assert 0.45 < share(2) < 0.55
    assert 0.008 < share(100) < 0.012


@given(st.text("0123456789abcdefABCDEF-", max_size=60) | st.text(max_size=60))
def test_an_invalid_traceparent_is_ignored(text: str) -> None:
    parent = parse(text)
    if parent is not None:
        assert re.match(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("00-" + "a" * 32 + "-" + "b" * 16 + "-01", TraceParent("a" * 32, "b" * 16, True)),
        ("00-" + "a" * 32 + "-" + "b" * 16 + "-02", TraceParent("a" * 32, "b" * 16, False)),
        ("cc-" + "a" * 32 + "-" + "b" * 16 + "-01-more", TraceParent("a" * 32, "b" * 16, True)),
        ("00-" + "a" * 32 + "-" + "b" * 16 + "-01-more", None),
        ("ff-" + "a" * 32 + "-" + "b" * 16 + "-01", None),
        ("00-" + "0" * 32 + "-" + "b" * 16 + "-01", None),
        ("00-" + "a" * 32 + "-" + "0" * 16 + "-01", None),
        ("00-" + "A" * 32 + "-" + "b" * 16 + "-01", None),
        ("00-abc-def-01", None),
        ("", None),
    ],
)
def test_versions_and_flags_follow_w3c(text: str, expected: Any) -> None:
    assert parse(text) == expected


def run_of(count: int) -> list[Trade]:
    return [
        Trade("BTCUSDT", 10 + n, Decimal(f"{n % 90}.{n % 7 + 1}"), Decimal(n % 11), START + n, True)
        for n in range(count)
    ]
