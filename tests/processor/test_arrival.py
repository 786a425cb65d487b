"""Log lines about messages: there are few, and none covers ids that did not arrive."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcloud.market.envelope import Envelope, encode
from mcloud.market.trace import TraceParent
from mcloud.market.trade import Trade
from mcloud.processor.arrival import Arrival, fields, in_rows
from mcloud.processor.ingest import Ingested
from mcloud.processor.log import log

DONE = Ingested([], began=100.25, archived=100.5, stored=101.0)
SAMPLED = TraceParent("a" * 32, "b" * 16, True)


def arrival(
    first: int, last: int, symbol: str = "BTCUSDT", queued: int | None = 99_000, **more: Any
) -> Arrival:
    size = last - first + 1
    return Arrival(symbol, first, last, size, 1, queued, more.get("sampled"))


arrivals = st.lists(
    st.builds(
        lambda first, size, symbol, queued, sampled: arrival(
            first, first + size, symbol, queued, sampled=sampled
        ),
        st.integers(0, 30),
        st.integers(0, 3),
        st.sampled_from(["BTCUSDT", "ETHUSDT"]),
        st.none() | st.integers(1, 5),
        st.sampled_from([None, None, SAMPLED]),
    ),
    max_size=12,
)


@given(arrivals)
def test_arrivals_cover_exactly_the_messages(given_in: list[Arrival]) -> None:
    rows = in_rows(given_in)
    assert sum(row.trades for row in rows) == sum(each.trades for each in given_in)
    assert sum(row.messages for row in rows) == len(given_in)
    ids = {(each.symbol, n) for each in given_in for n in range(each.first_id, each.last_id + 1)}
    assert ids == {(row.symbol, n) for row in rows for n in range(row.first_id, row.last_id + 1)}
    # A sampled message is found by its trace, so its line covers only this message.
    assert all(row.messages == 1 for row in rows if row.sampled)
    assert sum(bool(row.sampled) for row in rows) == sum(bool(each.sampled) for each in given_in)


def test_messages_in_a_row_share_a_line() -> None:
    three = [arrival(10, 19, queued=3), arrival(20, 29, queued=5), arrival(0, 9, queued=4)]
    assert in_rows(three) == [Arrival("BTCUSDT", 0, 29, 30, 3, 5, None)]
    assert len(in_rows([arrival(0, 9), arrival(11, 19)])) == 2  # a hole
    assert len(in_rows([arrival(0, 9), arrival(10, 19, "ETHUSDT")])) == 2
    assert in_rows([arrival(0, 9), arrival(10, 19, queued=None)])[0].queued is None


def test_a_line_as_it_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    trades = tuple(Trade("BTCUSDT", 5 + n, Decimal(1), Decimal(1), n, True) for n in range(3))
    attributes = encode(trades, one_in=1).attributes
    (came,) = Arrival.all_of(Envelope(trades), attributes, 99_000)
    assert came.sampled is not None
    assert str(came.sampled) == attributes["traceparent"]
    log("INFO", "stored", **fields(came, DONE))
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {
        "severity": "INFO",
        "message": "stored",
        "symbol": "BTCUSDT",
        "first_id": 5,
        "last_id": 7,
        "trades": 3,
        "messages": 1,
        "queued": 99_000,
        "began": 100_250,
        "archived": 100_500,
        "stored": 101_000,
    }
    # CloudWatch bills by the byte, and adds 26 bytes to each line.
    assert len(line) < 250


def test_a_line_has_no_time_of_an_archive_that_an_export_service_writes() -> None:
    trades = (Trade("BTCUSDT", 5, Decimal(1), Decimal(1), 0, True),)
    (came,) = Arrival.all_of(Envelope(trades), {}, None)
    assert "archived" not in fields(came, DONE._replace(archived=None))


@pytest.mark.parametrize("text", ["", "nonsense", "00-" + "a" * 32 + "-" + "b" * 16 + "-00"])
def test_a_message_that_is_not_sampled_has_no_trace(text: str) -> None:
    trades = (Trade("BTCUSDT", 5, Decimal(1), Decimal(1), 0, True),)
    attributes = {"traceparent": text} if text else {}
    (came,) = Arrival.all_of(Envelope(trades), attributes, None)
    assert came.sampled is None
