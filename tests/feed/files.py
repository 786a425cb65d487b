"""Recordings in the formats of Binance and its users, written from trades."""

import gzip
import json
import zipfile
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

from hypothesis import strategies as st

from mcloud.feed.json_lines import MIN_TIME
from mcloud.market.trade import MAX_ID, MAX_TIME, Trade

TRADES = [
    Trade("BTCUSDT", 100, Decimal("61837.63"), Decimal("0.02"), 1723161255342, True),
    Trade("BTCUSDT", 101, Decimal("61837.63"), Decimal("0.048"), 1723161255342, False),
    Trade("BTCUSDT", 102, Decimal("61838"), Decimal("1.5"), 1723161260001, True),
]

CSV_HEADER = "id,price,qty,quote_qty,time,is_buyer_maker,is_best_match"
AGGREGATE_HEADER = (
    "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,"
    "is_buyer_maker,is_best_match"
)


def combined(trade: Trade) -> str:
    """Return a combined-stream message. Binance writes eight decimals."""
    return json.dumps({"stream": f"{trade.symbol.lower()}@trade", "data": _event(trade)})


def single(trade: Trade) -> str:
    return json.dumps(_event(trade))


def archived(trade: Trade) -> str:
    event = _event(trade)
    return json.dumps({name: event[name] for name in "stpqTm"}, separators=(",", ":"))


def csv_trade(trade: Trade, *, microseconds: bool = False, lower: bool = False) -> str:
    time = f"{trade.time}123" if microseconds else str(trade.time)
    maker = str(trade.buyer_is_maker).lower() if lower else str(trade.buyer_is_maker)
    price, quantity = _eight(trade.price), _eight(trade.quantity)
    return f"{trade.id},{price},{quantity},1.00000000,{time},{maker},True"


def csv_aggregate(trade: Trade) -> str:
    price, quantity = _eight(trade.price), _eight(trade.quantity)
    ids = f"{trade.id * 2},{trade.id * 2 + 1}"
    return f"{trade.id},{price},{quantity},{ids},{trade.time},{trade.buyer_is_maker},True"


def csv_future(trade: Trade) -> str:
    row = f"{trade.id},{_eight(trade.price)},{_eight(trade.quantity)},1.00000000"
    return f"{row},{trade.time},{str(trade.buyer_is_maker).lower()}"


def csv_future_aggregate(trade: Trade) -> str:
    return csv_aggregate(trade).removesuffix(",True")


FUTURE_HEADER = "id,price,qty,quote_qty,time,is_buyer_maker"
FUTURE_AGGREGATE_HEADER = AGGREGATE_HEADER.removesuffix(",is_best_match")


def future(trade: Trade) -> str:
    """Return a single-stream message of a future, whose symbol names no market."""
    event = _event(trade) | {"X": "MARKET"}
    del event["M"]
    return json.dumps(event)


def without_market(trade: Trade, *, wrapped: bool = False) -> str:
    """Return a message of a recorder that leaves out the fields ``M`` and ``X``."""
    event = _event(trade)
    del event["M"]
    if wrapped:
        return json.dumps({"stream": f"{trade.symbol.lower()}@trade", "data": event})
    return json.dumps(event)


def aggregate(trade: Trade, **fields: object) -> str:
    """Return an ``@aggTrade`` message of the spot market. Fields that are None are left out."""
    event = _event(trade)
    ids = {"a": event.pop("t"), "f": trade.id * 2, "l": trade.id * 2 + 1}
    event |= {"e": "aggTrade", **ids, **fields}
    data = {name: value for name, value in event.items() if value is not None}
    return json.dumps({"stream": f"{trade.symbol.lower()}@aggTrade", "data": data})


ROWS = (csv_trade, csv_aggregate, csv_future, csv_future_aggregate)


def write(path: Path, lines: Iterable[str], *, end: str = "\n") -> Path:
    """Write lines, compressed according to the suffix of the name."""
    data = "".join(line + end for line in lines).encode()
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(path.with_suffix(".csv").name, data)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(data, mtime=0))
    else:
        path.write_bytes(data)
    return path


def prices(places: int = 8) -> st.SearchStrategy[Decimal]:
    units = st.integers(1, 10**15)
    return units.map(lambda n: Decimal(n).scaleb(-places))


trades = st.builds(
    Trade,
    st.sampled_from(["BTCUSDT", "ETHUSDT", "BTCUSDT_250926", "币安人生USDT"]),
    st.integers(0, MAX_ID),
    prices(),
    prices() | st.just(Decimal(0)),
    st.integers(MIN_TIME, MAX_TIME),
    st.booleans(),
)


def _event(trade: Trade) -> dict[str, object]:
    return {
        "e": "trade",
        "E": trade.time + 1,
        "s": trade.symbol,
        "t": trade.id,
        "p": _eight(trade.price),
        "q": _eight(trade.quantity),
        "T": trade.time,
        "m": trade.buyer_is_maker,
        "M": True,
    }


def _eight(number: Decimal) -> str:
    return f"{number:.8f}"
