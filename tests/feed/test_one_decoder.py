"""The same events give the same trades and voids in every format."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from mcloud.feed.binance.messages import MessageReader
from mcloud.feed.binance.rest import _parse
from mcloud.feed.feed import HistoryAnswer
from mcloud.feed.json_lines import parse_event
from mcloud.feed.replay import open_replay
from mcloud.market.archive import pack, unpack
from mcloud.market.candle import Candle, fold
from mcloud.market.trade import Trade, in_market

START = 1_696_982_400_000  # ms
# The insurance fund took over 10 at 24,300, a price that no market made.
ROWS = [
    (101, "27000.10", "1.000", "MARKET"),
    (102, "24300.00", "10.000", "INSURANCE_FUND"),
    (103, "0", "0", "NA"),
    (104, "25000.00", "3.000", "ADL"),
    (105, "27000.00", "1.500", "MARKET"),
]


def event(name: str, id_: int, price: str, quantity: str, kind: str) -> dict[str, Any]:
    return {
        "e": "trade",
        "E": START + id_,
        "T": START + id_,
        "s": name,
        "t": id_,
        "p": price,
        "q": quantity,
        "X": kind,
        "m": True,
    }


@pytest.mark.parametrize(("name", "market"), [("BTCUSDT", "um"), ("BTCUSD_PERP", "cm")])
def test_every_source_gives_the_same_trades_and_voids(
    tmp_path: Path, name: str, market: str
) -> None:
    symbol = in_market(name, market)
    events = [event(name, *each) for each in ROWS]
    messages = [json.dumps({"stream": f"{name.lower()}@trade", "data": each}) for each in events]
    live = MessageReader([symbol]).read([each.encode() for each in messages]).trades
    path = tmp_path / "recording.jsonl"
    path.write_text("\n".join(messages))
    assert list(open_replay(path)) == live
    path.write_text("\n".join(map(json.dumps, events)))
    assert list(open_replay(path)) == live
    assert [each for item in pack(live) for each in unpack(item.body)] == live
    path.write_bytes(pack(live)[0].body)
    assert list(open_replay(path)) == live
    # REST leaves out trades that were not on the market, and the ids between its trades are void.
    rows = [
        {"id": i, "price": p, "qty": q, "time": START + i, "isBuyerMaker": True}
        for i, p, q, kind in ROWS
        if kind == "MARKET"
    ]
    traded = [trade for row in rows if (trade := _parse(symbol, row))]
    assert traded == [each for each in live if not each.is_void]
    voids = HistoryAnswer.of(traded).voids(symbol, 101, 105, START + 1_000_000)
    assert [each.id for each in voids] == [each.id for each in live if each.is_void]
    for trades in (live, [*traded, *voids]):
        candle = fold(Candle(symbol, START, ()), trades).candle
        assert (candle.low, candle.volume) == (27_000, Decimal("2.5"))
        assert (candle.trade_count, candle.void_count) == (2, 3)


def test_a_trade_that_comes_later_is_kept_instead_of_the_void() -> None:
    void, trade = (
        Trade.void("A.um", 2, START),
        Trade("A.um", 2, Decimal(7), Decimal(1), START, True),
    )
    for trades in ([void, trade], [trade, void]):
        assert fold(Candle("A.um", START, ()), trades).candle.volume == 1


@pytest.mark.parametrize("unit", [1, 1000])
def test_an_event_is_left_as_it_came(unit: int) -> None:
    given = {**event("BTCUSDT", 1, "2", "3", "MARKET"), "T": START * unit}
    before = dict(given)
    assert parse_event(given).time == START
    assert given == before
