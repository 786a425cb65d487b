"""Sources of ``--source`` are opened, divided into shards, or refused with a clear message."""

import json
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest

from mcloud.errors import ConfigError, UsageError
from mcloud.feed.binance.open import Live, open_live
from mcloud.feed.feed import Feed, FeedReport
from mcloud.feed.open import SYMBOL, FeedChoice, open_feed, open_recording, paced
from mcloud.feed.simulate import Simulate
from mcloud.local.exchange.thread import LocalExchange
from mcloud.market.trade import Trade
from mcloud.producer.source import open_source

from .files import TRADES, aggregate, csv_aggregate, csv_trade, write

SYMBOLS = ["ADAUSDT", "BTCUSDT", "ETHBTC", "ETHUSDT", "SOLUSDT"]


@pytest.fixture(scope="module")
def exchange() -> Iterator[LocalExchange]:
    market = Simulate(SYMBOLS, seed=4, start_time=1_723_161_255_342, count=10)
    with LocalExchange(market, symbols=SYMBOLS, wait_for=99) as served:
        yield served


def live(exchange: LocalExchange, symbols: str | None = None, shard: str | None = None) -> Live:
    urls = {"ws_url": exchange.ws_url, "rest_url": exchange.rest_url}
    return open_live(FeedChoice("binance", symbols, shard=shard, **urls), threading.Event())


def test_symbols_are_given_by_name_or_by_quote_asset(exchange: LocalExchange) -> None:
    assert live(exchange).feed.symbols == (SYMBOL,)
    assert live(exchange, "ethusdt, BTCUSDT").feed.symbols == ("ETHUSDT", "BTCUSDT")
    everything = ("ADAUSDT", "BTCUSDT", "ETHUSDT", "SOLUSDT")
    assert live(exchange, "all:USDT").feed.symbols == everything


@pytest.mark.parametrize("of", [1, 2, 3])
def test_each_symbol_falls_to_one_shard(exchange: LocalExchange, of: int) -> None:
    found: list[str] = []
    for number in range(1, of + 1):
        found += live(exchange, ",".join(SYMBOLS), f"{number}/{of}").feed.symbols
    assert sorted(found) == SYMBOLS


@pytest.mark.parametrize(
    ("symbols", "shard", "words"),
    [
        ("BTCUSDT", "0/2", "invalid shard '0/2'"),
        ("BTCUSDT", "3/2", "invalid shard '3/2'"),
        ("BTCUSDT", "two", "invalid shard 'two'"),
        ("BTCUSDT", "1/9", "there are more shards than symbols"),
        (",", None, "no symbol is given"),
        ("BTCUSD", None, "has no symbol BTCUSD; did you mean 'BTCUSDT'?"),
        ("all:EURO", None, "no symbol is quoted in 'EURO'"),
    ],
)
def test_an_unknown_source_is_refused(
    exchange: LocalExchange, symbols: str, shard: str | None, words: str
) -> None:
    with pytest.raises(UsageError) as caught:
        live(exchange, symbols, shard)
    assert words in str(caught.value)


def test_a_key_is_in_no_text_and_not_sent_in_the_clear() -> None:
    choice = FeedChoice("binance", rest_url="http://example.com", api_key="k3y-of-mine")
    assert "k3y" not in repr(choice)
    with pytest.raises(ConfigError, match=r"would be sent to http://example\.com unencrypted"):
        open_live(choice, threading.Event())


def test_a_simulation_has_the_usual_symbol_by_default(tmp_path: Path) -> None:
    (tmp_path / "symbols").write_text("btcusdt ETHUSDT\nadausdt\n")
    assert open_feed(FeedChoice("simulate")).symbols == (SYMBOL,)
    named = open_feed(FeedChoice("simulate", str(tmp_path / "symbols")))
    assert named.symbols == ("BTCUSDT", "ETHUSDT", "ADAUSDT")


@pytest.mark.parametrize("source", ["mars", "replay", "replay:", "simulate:5", ""])
def test_an_unknown_source_is_reported_with_the_known_ones(source: str) -> None:
    with pytest.raises(UsageError, match=r"unknown source .*; choose from simulate, replay:FILE"):
        open_feed(FeedChoice(source))
    with pytest.raises(UsageError, match=r"unknown source .*; choose from simulate, replay:FILE"):
        open_recording(source)
    with pytest.raises(UsageError, match=r"unknown source .*; choose from binance, .*, spool, sim"):
        open_source(FeedChoice(source), threading.Event())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two days of one symbol, their checksums, and a file of another kind."""
    days = tmp_path / "days"
    days.mkdir()
    for day, part in (("08", TRADES[:1]), ("09", TRADES[1:])):
        path = write(days / f"BTCUSDT-trades-2024-08-{day}.zip", map(csv_trade, part))
        path.with_name(f"{path.name}.CHECKSUM").write_text(f"0f6d3c2a  {path.name}\n")
    (days / ".DS_Store").write_bytes(b"\0")
    return days


@pytest.mark.parametrize("pattern", ["days", "days/*", "days/BTCUSDT-*-2024-08-??.zip", "**/*.zip"])
def test_a_folder_and_a_pattern_are_sources(folder: Path, pattern: str) -> None:
    recording = open_recording(f"replay:{folder.parent}/{pattern}")
    assert list(recording) == list(recording) == TRADES
    assert recording.report == FeedReport(trades=3)
    assert recording.symbols == ("BTCUSDT",)
    assert recording.warnings == ()


def test_the_damaged_file_of_a_folder_is_reported(folder: Path) -> None:
    path = write(folder / "BTCUSDT-trades-2024-08-10.csv.gz", [csv_trade(TRADES[0]), "1,2,3"])
    path.write_bytes(path.read_bytes()[:-4])
    recording = open_recording(f"replay:{folder}")
    assert len(list(recording)) == 4
    report = recording.report
    assert (report.trades, report.bad, report.complete) == (4, 1, False)
    assert str(report.bad_examples[0]) == f"{path.name} line 2: 7 columns expected, not 3"
    assert report.truncated is not None
    assert report.truncated.startswith(f"{path.name}: the compressed data is cut short after line")


@pytest.mark.parametrize("form", [csv_aggregate, aggregate])
def test_trades_and_aggregates_of_a_symbol_are_not_mixed(
    folder: Path, form: Callable[[Trade], str]
) -> None:
    write(folder / "BTCUSDT-aggTrades-2024-08-10.csv", map(form, TRADES))
    with pytest.raises(UsageError, match=r"hold trades and aggregate trades of BTCUSDT; replay "):
        open_recording(f"replay:{folder}")


def test_symbols_and_files_of_a_folder_without_trades_are_reported(folder: Path) -> None:
    write(folder / "hour.jsonl", ['{"e":"depthUpdate","s":"ETHUSDT"}'])
    recording = open_recording(f"replay:{folder}")
    assert list(recording) == TRADES
    assert recording.report == FeedReport(trades=3, skipped=1, absent=("hour.jsonl",))
    asked = open_recording(f"replay:{folder}", ["BTCUSDT", "ETHUSDT"])
    assert list(asked) == TRADES
    assert asked.report == FeedReport(trades=3, skipped=1, absent=("ETHUSDT",))
    fine = open_recording(f"replay:{folder}", ["BTCUSDT"])
    assert list(fine) == TRADES
    assert fine.report.complete


def test_a_market_is_only_accepted_for_recordings(folder: Path) -> None:
    for source in ("simulate", "binance"):
        with pytest.raises(UsageError, match="--market is for recordings only"):
            open_source(FeedChoice(source, market="um"), threading.Event())
    with pytest.raises(UsageError, match="the market spot, not of um"):
        open_source(FeedChoice(f"replay:{folder}", market="um"), threading.Event())


def test_aggregates_are_not_read_live() -> None:
    with pytest.raises(UsageError, match=r"BTCUSDT.agg is .*; use BTCUSDT"):
        open_live(FeedChoice("binance", "btcusdt.AGG"), threading.Event())


@pytest.mark.parametrize("path", ["empty", "empty/*.zip", "*.nothing"])
def test_a_folder_without_recordings_is_reported(tmp_path: Path, path: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "a.CHECKSUM").touch()
    with pytest.raises(UsageError, match=f"there is no file to replay in {tmp_path}"):
        open_recording(f"replay:{tmp_path}/{path}")


def test_a_shard_is_only_accepted_for_exchanges() -> None:
    with pytest.raises(UsageError, match="--shard is for exchanges only"):
        open_feed(FeedChoice("simulate", shard="1/2"))


def test_a_stop_ends_a_long_pause_at_once() -> None:
    stop = threading.Event()
    feed: Feed = Simulate([SYMBOL], seed=1, start_time=0, rate=0.01)
    trades = paced(feed, "realtime", stop)
    assert len(list(islice(trades, 1))) == 1
    stop.set()
    assert list(trades) == []


def test_folders_in_a_folder_are_not_left_out_silently(tmp_path: Path) -> None:
    files = [tmp_path / "a.jsonl", tmp_path / "later" / "b.jsonl"]
    files[1].parent.mkdir()
    for number, path in enumerate(files):
        event = {"s": "BTCUSDT", "t": number, "p": "1", "q": "1", "T": 1_735_776_000_000, "m": True}
        path.write_text(json.dumps(event) + "\n")
    with pytest.raises(UsageError, match="folders of its own, such as later") as caught:
        open_recording(f"replay:{tmp_path}")
    assert f"'replay:{tmp_path}/**/*'" in caught.value.remedy
    assert [trade.id for trade in open_recording(f"replay:{tmp_path}/**/*")] == [0, 1]
