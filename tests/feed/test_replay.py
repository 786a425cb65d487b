"""Replaying intact files."""

import gzip
import json
import re
import zipfile
from collections.abc import Callable, Iterable
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcloud.errors import UsageError
from mcloud.feed.binance.messages import MessageReader
from mcloud.feed.csv_dump import SPOT_TRADES, name_in, table_of
from mcloud.feed.feed import Feed, FeedReport
from mcloud.feed.json_lines import MIN_TIME, parse_message
from mcloud.feed.replay import open_replay, open_replays
from mcloud.market.trade import MAX_TIME, BadTrade, Trade, in_market

from . import files
from .files import TRADES, combined, write

ETHER = Trade("ETHUSDT", 7, Decimal("2683.8"), Decimal("0.002"), 1723161255611, True)


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".txt", ".jsonl.gz", ".anything"])
@pytest.mark.parametrize("form", [files.combined, files.single, files.archived])
def test_json_lines_are_read_in_each_form(tmp_path: Path, suffix: str, form: object) -> None:
    assert callable(form)
    path = write(tmp_path / f"recording{suffix}", map(form, TRADES))
    replay: Feed = open_replay(path)
    assert list(replay) == TRADES
    assert replay.report == FeedReport(trades=3)
    assert replay.symbols == ("BTCUSDT",)
    assert replay.warnings == ()


def test_the_format_is_detected_by_the_content(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT-trades-2024-08-08.csv"
    path.write_bytes(gzip.compress("\n".join(map(files.combined, TRADES)).encode()))
    assert list(open_replay(path)) == TRADES


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
def test_line_ends_byte_order_mark_and_missing_last_newline(tmp_path: Path, end: str) -> None:
    path = tmp_path / "recording.jsonl"
    text = "\ufeff" + end.join(map(files.combined, TRADES))
    path.write_bytes(text.encode())
    replay = open_replay(path)
    assert list(replay) == TRADES
    assert replay.report == FeedReport(trades=3)


def test_other_messages_are_skipped_and_are_no_errors(tmp_path: Path) -> None:
    others = [
        '{"result":null,"id":1}',
        '{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","s":"BTCUSDT","u":5,"b":[]}}',
        '{"stream":"btcusdt@depth20","data":{"lastUpdateId":160,"bids":[],"asks":[]}}',
        '{"stream":"btcusdt@kline_1m","data":{"e":"kline","s":"BTCUSDT","k":{}}}',
        '{"stream":"btcusdt@bookTicker","data":{"u":4,"s":"BTCUSDT","b":"1","a":"2"}}',
        '{"stream":"!miniTicker@arr","data":[{"e":"24hrMiniTicker"}]}',
        '{"e":"serverShutdown","E":1}',
    ]
    path = write(tmp_path / "mixed.jsonl", [*others, *map(files.combined, TRADES), *others])
    replay = open_replay(path)
    assert list(replay) == TRADES
    assert replay.report == FeedReport(trades=3, skipped=2 * len(others))


def test_symbols_that_were_not_requested_are_omitted(tmp_path: Path) -> None:
    path = write(tmp_path / "two.jsonl", map(files.combined, [*TRADES, ETHER]))
    both = open_replay(path)
    assert list(both) == [*TRADES, ETHER]
    assert both.symbols == ("BTCUSDT", "ETHUSDT")
    one = open_replay(path, ["ethusdt"])
    assert one.symbols == ("ETHUSDT",)
    assert list(one) == [ETHER]
    assert one.report == FeedReport(trades=1, skipped=3)
    more = open_replay(path, ["ETHUSDT", "XRPUSDT", "币安人生USDT"])
    assert list(more) == [ETHER]
    assert more.report == FeedReport(trades=1, skipped=3, absent=("XRPUSDT", "币安人生USDT"))
    assert not more.report.complete


def test_each_iteration_starts_from_the_beginning(tmp_path: Path) -> None:
    replay = open_replay(write(tmp_path / "a.jsonl", map(files.combined, TRADES)))
    assert next(iter(replay)) == TRADES[0]
    assert replay.report == FeedReport(trades=1)
    assert list(replay) == list(replay) == TRADES
    assert replay.report == FeedReport(trades=3)


@pytest.mark.parametrize("name", ["BTCUSDT-trades-2024-08-08", "btcusdt-trades-2024-08"])
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".zip"])
@pytest.mark.parametrize("header", [[], [files.CSV_HEADER]])
@pytest.mark.parametrize("microseconds", [False, True])
def test_daily_csv_in_each_form(
    tmp_path: Path, name: str, suffix: str, header: list[str], microseconds: bool
) -> None:
    rows = [files.csv_trade(trade, microseconds=microseconds) for trade in TRADES]
    replay = open_replay(write(tmp_path / f"{name}{suffix}", header + rows))
    assert list(replay) == TRADES
    assert replay.report == FeedReport(trades=3)
    assert replay.symbols == ("BTCUSDT",)
    assert replay.warnings == ()


CM = [trade._replace(symbol="BTCUSD_PERP") for trade in TRADES]
OTHER_SCRIPT = [trade._replace(symbol="币安人生USDT") for trade in TRADES]


@pytest.mark.parametrize("folder", ["", "futures/um/daily", "futures/cm/monthly"])
@pytest.mark.parametrize("trades", [TRADES, CM, OTHER_SCRIPT])
@pytest.mark.parametrize(
    ("form", "header", "kind"),
    [
        (files.csv_trade, files.CSV_HEADER, "trades"),
        (files.csv_aggregate, files.AGGREGATE_HEADER, "aggTrades"),
        (files.csv_future, files.FUTURE_HEADER, "trades"),
        (files.csv_future_aggregate, files.FUTURE_AGGREGATE_HEADER, "aggTrades"),
    ],
)
def test_the_columns_and_the_name_of_a_csv_show_its_market_and_nothing_may_disagree(
    tmp_path: Path,
    folder: str,
    trades: list[Trade],
    form: Callable[[Trade], str],
    header: str,
    kind: str,
) -> None:
    name = trades[0].symbol
    rows = list(map(form, trades))
    is_future = form in (files.csv_future, files.csv_future_aggregate)
    shown = ("cm" if "_PERP" in name else "um") if is_future else "spot"
    symbol = in_market(name, shown) + (".agg" if kind == "aggTrades" else "")
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    for suffix, lines in ((".csv", rows), (".zip", [header, *rows])):
        path = write(tmp_path / folder / f"{name}-{kind}-2024-08-08{suffix}", lines)
        for market in (None, "spot", "um", "cm"):
            if {market, *re.findall("futures/(.m)", folder)} - {None, shown}:
                with pytest.raises(UsageError, match=f"{name}.*{shown}|--market says {market}"):
                    open_replay(path, market=market)
                continue
            replay = open_replay(path, market=market)
            assert list(replay) == [trade._replace(symbol=symbol) for trade in trades]
            assert replay.report == FeedReport(trades=3)
            assert replay.symbols == (symbol,)
            assert len(replay.warnings) == (kind == "aggTrades")
            assert list(open_replay(path, [symbol.lower()], market)) == list(replay)
            with pytest.raises(
                UsageError, match=rf"holds {symbol}, which .*; use --symbols {symbol}"
            ):
                open_replay(path, ["XRPUSDT.cm"], market)


@pytest.mark.parametrize("form", [files.csv_future, files.csv_future_aggregate])
def test_a_csv_without_a_symbol_in_its_name_has_the_requested_one(
    tmp_path: Path, form: Callable[[Trade], str]
) -> None:
    path = write(tmp_path / "rows.csv", map(form, TRADES))
    symbol = "BTCUSDT.um.agg" if form is files.csv_future_aggregate else "BTCUSDT.um"
    expected = [trade._replace(symbol=symbol) for trade in TRADES]
    assert list(open_replay(path, [symbol])) == expected
    assert list(open_replay(path, [symbol.replace(".um", "")], "um")) == expected
    for symbols, market in ((["BTCUSDT"], None), ([symbol.replace(".um", ".cm")], None)):
        with pytest.raises(UsageError, match=f"use --symbols {symbol}"):
            open_replay(path, symbols, market)


def test_aggregates_are_a_separate_symbol_with_a_warning(tmp_path: Path) -> None:
    rows = [files.csv_aggregate(trade) for trade in TRADES]
    replay = open_replay(write(tmp_path / "BTCUSDT-aggTrades-2024-08-08.csv", rows))
    assert [trade.symbol for trade in replay] == ["BTCUSDT.agg"] * 3
    (warning,) = replay.warnings
    assert "kept as BTCUSDT.agg, apart from the trades of BTCUSDT" in warning
    assert "counts aggregates" in warning
    assert open_replay(write(tmp_path / "a.jsonl", map(files.aggregate, TRADES))).warnings


@pytest.mark.parametrize(
    ("lines", "market", "expected"),
    [
        (map(files.future, TRADES), None, "BTCUSDT.um"),
        (map(files.future, TRADES), "um", "BTCUSDT.um"),
        (map(files.future, CM), None, "BTCUSD_PERP.cm"),
        (map(files.future, OTHER_SCRIPT), None, "币安人生USDT.um"),
        (map(files.combined, OTHER_SCRIPT), None, "币安人生USDT"),
        (map(files.aggregate, TRADES), None, "BTCUSDT.agg"),
        ([files.aggregate(each, M=None) for each in TRADES], "um", "BTCUSDT.um.agg"),
        ([files.aggregate(each, M=None) for each in TRADES], "spot", "BTCUSDT.agg"),
        ([files.aggregate(each, M=None, nq="1") for each in TRADES], None, "BTCUSDT.um.agg"),
        ([files.aggregate(each, M=None) for each in CM], None, "BTCUSD_PERP.cm.agg"),
        ([files.without_market(each) for each in TRADES], "um", "BTCUSDT.um"),
        ([files.without_market(each, wrapped=True) for each in TRADES], "spot", "BTCUSDT"),
        ([files.without_market(each) for each in CM], None, "BTCUSD_PERP.cm"),
        (map(files.archived, TRADES), None, "BTCUSDT"),
        ([files.archived(each._replace(symbol="BTCUSDT.um")) for each in TRADES], None, ""),
    ],
)
def test_events_show_their_market(
    tmp_path: Path, lines: Iterable[str], market: str | None, expected: str
) -> None:
    replay = open_replay(write(tmp_path / "a.jsonl", lines), market=market)
    symbol = expected or "BTCUSDT.um"
    assert list(replay) == [trade._replace(symbol=symbol) for trade in TRADES]
    assert replay.report == FeedReport(trades=3)
    assert list(open_replay(replay.path, [symbol], market)) == list(replay)


@pytest.mark.parametrize("after", [0, 150])
@pytest.mark.parametrize(
    ("line", "market", "folder", "words"),
    [
        (files.future(TRADES[0]), "spot", "", "trade of BTCUSDT is of the market um, not of spot"),
        (files.future(TRADES[0]), "cm", "", "trade of BTCUSDT is of the market um, not of cm"),
        (files.future(CM[0]), None, "futures/um", "BTCUSD_PERP is of the market cm, not of um"),
        (files.combined(TRADES[0]), "um", "", "trade of BTCUSDT is of the market spot, not of um"),
        (files.combined(TRADES[0]), None, "futures/um", "the market spot, not of um"),
        (files.archived(TRADES[0]), "um", "", "symbol BTCUSDT is not of the market um"),
        (files.aggregate(TRADES[0], M=None), None, "", "does not show which market it is of"),
        (files.without_market(TRADES[0]), None, "", "a trade of BTCUSDT does not show which"),
        (files.without_market(TRADES[0], wrapped=True), None, "", "does not show which market"),
        (files.without_market(CM[0]), "spot", "", "BTCUSD_PERP is of the market cm, not of spot"),
    ],
)
def test_contradictions_about_the_market_are_reported(
    tmp_path: Path, after: int, line: str, market: str | None, folder: str, words: str
) -> None:
    file = tmp_path / folder / "a.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    write(file, ['{"e":"depthUpdate"}'] * after + [line])
    with pytest.raises(UsageError) as raised:
        list(open_replay(file, market=market))
    assert words in str(raised.value)
    assert f"{file} line {after + 1}: " in str(raised.value)
    assert "--market spot, um or cm" in raised.value.remedy


def test_spot_and_future_in_one_recording_are_two_symbols(tmp_path: Path) -> None:
    lines = [*map(files.combined, TRADES), *map(files.future, TRADES)]
    replay = open_replay(write(tmp_path / "a.jsonl", lines))
    assert [trade.symbol for trade in replay] == ["BTCUSDT"] * 3 + ["BTCUSDT.um"] * 3


@pytest.mark.parametrize("after", [0, 150])
def test_trades_and_aggregates_of_a_symbol_in_one_recording(tmp_path: Path, after: int) -> None:
    trades = [TRADES[0]._replace(id=n) for n in range(after + 1)]
    path = write(tmp_path / "a.jsonl", [*map(files.single, trades), *map(files.aggregate, TRADES)])
    with pytest.raises(UsageError, match="holds trades and aggregate trades of BTCUSDT; replay"):
        list(open_replay(path))
    assert list(open_replay(path, ["BTCUSDT"])) == trades
    aggregates = [trade._replace(symbol="BTCUSDT.agg") for trade in TRADES]
    assert list(open_replay(path, ["BTCUSDT.agg"])) == aggregates
    assert list(open_replay(path, ["BTCUSDT", "BTCUSDT.agg"])) == trades + aggregates


def test_an_unknown_market_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", map(files.combined, TRADES))
    with pytest.raises(UsageError, match="unknown market 'usdm'; choose from spot, um, cm"):
        open_replay(path, market="usdm")


def test_a_csv_is_named_by_its_zip_member_or_by_the_one_symbol(tmp_path: Path) -> None:
    rows = [files.csv_trade(trade, lower=True) for trade in TRADES]
    zipped = write(tmp_path / "BTCUSDT-trades-2024-08-08.zip", rows)
    assert list(open_replay(zipped.rename(tmp_path / "download.zip"))) == TRADES
    plain = write(tmp_path / "rows.csv", rows)
    assert list(open_replay(plain, ["btcusdt"])) == TRADES
    for symbols in (None, ["BTCUSDT", "ETHUSDT"]):
        with pytest.raises(UsageError, match="which symbol it holds") as raised:
            open_replay(plain, symbols)
        assert "--symbols" in raised.value.remedy
    with pytest.raises(UsageError, match="holds BTCUSDT, which is not among"):
        open_replay(write(tmp_path / "BTCUSDT-trades-2024-08-08.csv", rows), ["ETHUSDT"])


def test_symbols_in_file_names() -> None:
    assert name_in("BTCUSDT-aggTrades-2025-01.csv.gz") == "BTCUSDT"
    assert name_in("BTCUSDT_250926-trades-2025-01-02.zip") == "BTCUSDT_250926"
    assert name_in("BTCUSDT-1m-2025-01.zip") is None
    assert name_in("trades.csv") is None


@given(files.trades)
def test_every_trade_survives_every_format(trade: Trade) -> None:
    for form in (files.combined, files.single, files.archived):
        assert parse_message(form(trade)) == trade
    for row in files.ROWS:
        table = table_of(row(trade))
        assert table is not None
        assert table.parse(trade.symbol, row(trade)) == trade
    assert SPOT_TRADES.parse(trade.symbol, files.csv_trade(trade, lower=True)) == trade


@given(files.trades, st.integers(MIN_TIME * 1000, MAX_TIME * 1000 + 999))
def test_microseconds_are_cut_to_milliseconds(trade: Trade, time: int) -> None:
    expected = trade._replace(time=time // 1000)
    row = files.csv_trade(trade).split(",")
    row[4] = str(time)
    assert SPOT_TRADES.parse(trade.symbol, ",".join(row)) == expected
    event = json.loads(files.single(trade)) | {"T": time}
    assert parse_message(json.dumps(event)) == expected


@pytest.mark.parametrize(
    "stamp",
    [
        "1723161256000000000 ",
        "1723161256.123456\t",
        "2024-08-08T23:54:16.123Z,",
        "2024-08-08 23:54:16.123456+00:00 | ",
        "[2024-08-08 23:54:16,123] ",
        '"2024-08-08T23:54:16";',
    ],
)
def test_time_stamps_of_recorders_in_front_of_messages(tmp_path: Path, stamp: str) -> None:
    path = write(tmp_path / "a.txt", (stamp + files.combined(trade) for trade in TRADES))
    replay = open_replay(path)
    assert list(replay) == TRADES
    assert replay.report == FeedReport(trades=3)


@pytest.mark.parametrize(
    ("number", "value"),
    [("1e-05", "0.00001"), ("1.2E-5", "0.000012"), ("6.183763E+4", "61837.63"), ("5e0", "5")],
)
def test_small_numbers_that_a_float_has_written(number: str, value: str) -> None:
    row = f"1,{number},{number},0.1,1723161255342,True,True"
    trade = SPOT_TRADES.parse("BTCUSDT", row)
    assert (str(trade.price), str(trade.quantity)) == (value, value)


@pytest.mark.parametrize("number", ["1e", "e5", "1e-13", "1e99", "10e-05", "1e5.0", "-1e-5", "NaN"])
def test_other_numbers_are_refused(number: str) -> None:
    with pytest.raises(BadTrade, match="price is not a plain decimal text"):
        SPOT_TRADES.parse("BTCUSDT", f"1,{number},1,0.1,1723161255342,True,True")


@pytest.mark.parametrize("source", ["INSURANCE_FUND", "ADL", "NA"])
def test_recorded_trades_of_no_market_are_voids(tmp_path: Path, source: str) -> None:
    market, *others = [json.loads(files.single(trade)) for trade in TRADES]
    events = [market | {"X": "MARKET"}, *(other | {"X": source} for other in others)]
    replay = open_replay(write(tmp_path / "a.jsonl", map(json.dumps, events)))
    voids = [Trade.void("BTCUSDT.um", trade.id, trade.time) for trade in TRADES[1:]]
    assert list(replay) == [TRADES[0]._replace(symbol="BTCUSDT.um"), *voids]
    assert replay.report == FeedReport(trades=3)
    reader = MessageReader(["BTCUSDT.um"])
    assert reader.read([json.dumps(event).encode() for event in events]).trades == list(replay)


@pytest.mark.parametrize(
    ("name", "symbol", "first", "last", "number"),
    [
        ("spot-btcusdt-trades-20240808.jsonl.gz", "BTCUSDT", 3735683259, 3735693015, 9_757),
        ("spot-ethusdt-trades-20240808.jsonl.gz", "ETHUSDT", 1520538925, 1520545030, 6_106),
    ],
)
def test_recordings_of_the_exchange_are_replayed_completely(
    recordings: Path, name: str, symbol: str, first: int, last: int, number: int
) -> None:
    replay = open_replay(recordings / name)
    trades = list(replay)
    assert replay.report == FeedReport(trades=number)
    assert {trade.symbol for trade in trades} == {symbol}
    assert [trade.id for trade in trades] == list(range(first, last + 1))
    assert all(a.time <= b.time for a, b in pairwise(trades))


MANY = [TRADES[0]._replace(id=number) for number in range(20_000)]


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".zip"])
def test_a_replay_knows_how_much_of_it_was_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"trades{suffix}"
    lines = [combined(each) for each in MANY]
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("trades.jsonl", "\n".join(lines))
    else:
        content = "\n".join(lines).encode()
        path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    replay = open_replay(path)
    for number, _ in enumerate(replay, 1):
        if number % 5_000 == 0 and number < len(MANY):
            assert replay.report.done == pytest.approx(number / len(MANY), abs=0.01)
    assert replay.report.done == 1


def test_a_gzip_file_of_several_members_tells_its_position(tmp_path: Path) -> None:
    path = tmp_path / "trades.jsonl.gz"
    parts = ["".join(f"{combined(each)}\n" for each in part) for part in (MANY, MANY[:1])]
    path.write_bytes(b"".join(gzip.compress(part.encode()) for part in parts))
    replay = open_replay(path)
    shares = [replay.report.done for _ in replay]
    assert shares == sorted(shares)
    assert 0 < shares[len(shares) // 2] <= 1
    assert replay.report.done == 1


def test_several_recordings_are_weighed_by_their_sizes(tmp_path: Path) -> None:
    large, small = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    large.write_text("\n".join(map(combined, MANY[:900])))
    small.write_text("\n".join(map(combined, MANY[900:1000])))
    replays = open_replays([large, small])
    shares = [replays.report.done for _ in replays]
    assert shares[899] == pytest.approx(0.9, abs=0.01)
    assert replays.report.done == 1
