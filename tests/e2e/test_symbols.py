"""Symbols of every market and script pass through both embedded sites at once."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import Terminal
from patience import eventually

from mcloud.clouds.factory import open_site
from mcloud.clouds.ports import Site
from mcloud.feed.simulate import Simulate
from mcloud.local.state import State
from mcloud.market.archive import pack, prefix, unpack
from mcloud.market.block import is_index_key
from mcloud.market.trade import Trade, split_market, to_text
from mcloud.rehearsal.demo import archived_ids, stored_rows
from mcloud.rehearsal.oracle import expected_rows

START = 1_735_776_000_000  # ms
HOURS = 2
SCRIPT = "币安人生USDT"


def two_hours(symbol: str, rate: float, seed: int) -> list[Trade]:
    count = int(HOURS * 3_600 * rate)
    return list(Simulate([symbol], seed=seed, start_time=START, count=count, rate=rate))


def event(trade: Trade) -> dict[str, Any]:
    """Return an event of Binance. Only futures have ``X``, and only the spot market has ``M``."""
    name, market = split_market(trade.symbol)
    void = trade.is_void
    return {
        "e": "trade",
        "E": trade.time,
        "s": name,
        "t": trade.id,
        "p": to_text(trade.price),
        "q": to_text(trade.quantity),
        "T": trade.time,
        "m": trade.buyer_is_maker,
        **({"M": True} if market == "spot" else {"X": "NA" if void else "MARKET"}),
    }


def record(path: Path, trades: Iterable[Trade]) -> None:
    lines = (json.dumps(event(trade), ensure_ascii=False) for trade in trades)
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")


@pytest.mark.nightly
def test_every_kind_of_symbol_is_exact_on_both_sites(embedded: State, tmp_path: Path) -> None:
    mcloud = Terminal(tmp_path, Path(embedded.options["home"]).parent)
    future = [
        Trade.void(*t[:2], t.time) if t.id % 130 < 14 else t
        for t in two_hours("SIDEUSDT.um", 2.0, 2)
    ]
    streams = {
        "SIDEUSDT": two_hours("SIDEUSDT", 1.0, 1),
        "SIDEUSDT.um": future,
        SCRIPT: two_hours(SCRIPT, 1.0, 3),
        "QUIETUSDT": two_hours("QUIETUSDT", 1 / 60, 4),
    }
    trades = [trade for stream in streams.values() for trade in stream]
    trades.sort(key=lambda trade: (trade.time, trade.symbol, trade.id))
    record(tmp_path / "all.jsonl", trades)
    done = mcloud.run(
        *("produce", "--source", f"replay:{tmp_path / 'all.jsonl'}", "--name", "every-kind")
    )
    assert done.returncode == 0, done.stderr
    for name, resources in embedded.resources().items():
        site = open_site(name, resources)
        for symbol, stream in streams.items():
            expected = expected_rows(stream)
            eventually(
                lambda site=site, symbol=symbol, expected=expected: (  # type: ignore[misc]
                    stored_rows(site, [symbol]) == expected
                ),
                pause=0.2,
            )
            ids = {(symbol, trade.id) for trade in stream}
            eventually(
                lambda site=site, symbol=symbol, ids=ids: (  # type: ignore[misc]
                    archived_ids(site, [symbol]) == ids
                ),
                pause=0.2,
            )
        beats = {beat.symbol for beat in site.control.heartbeats()}
        assert beats >= streams.keys()
    for symbol, stream in streams.items():
        shown = mcloud.run("candles", symbol, "--from", "gcp", "--interval", "1d", "-o", "json")
        bars = json.loads(shown.stdout)
        assert sum(bar["trade_count"] for bar in bars) == sum(not t.is_void for t in stream)
        assert {bar["symbol"] for bar in bars} == {symbol}
    checked = mcloud.run("verify", "--deep", "--symbols", ",".join(streams), "-o", "json")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    found = mcloud.run("trace", str(streams[SCRIPT][0].id), "--symbol", SCRIPT)
    assert found.returncode == 0, found.stdout + found.stderr
    blocks_are_equal_and_say_the_same(mcloud, embedded, streams)
    silenced = mcloud.run("alerts", "silence", SCRIPT.lower(), "--for", "1h", "--why", "a test")
    assert silenced.returncode == 0, silenced.stderr
    assert SCRIPT in mcloud.run("alerts", "silences").stdout


def blocks_are_equal_and_say_the_same(
    mcloud: Terminal, embedded: State, streams: Mapping[str, list[Trade]]
) -> None:
    names = ",".join(streams)
    late = streams[SCRIPT][10]
    for _ in range(2):
        done = mcloud.run("compact", "--symbols", names, "-o", "json")
        assert done.returncode == 0, done.stdout + done.stderr
        sites = {name: open_site(name, each) for name, each in embedded.resources().items()}
        held = {name: lines(site, streams) for name, site in sites.items()}
        assert held["aws"] == held["gcp"]
        assert {trade for body in held["aws"].values() for trade in body} == {
            trade for stream in streams.values() for trade in stream
        }
        checked = mcloud.run("verify", "--deep", "--symbols", names, "-o", "json")
        assert checked.returncode == 0, checked.stdout + checked.stderr
        for counts in json.loads(checked.stdout)["sites"].values():
            assert counts["raw_objects"] == counts["raw_blocks"] == len(held["aws"])
            assert counts["raw_pending"] == 0
        found = mcloud.run("trace", str(late.id), "--symbol", SCRIPT)
        assert found.returncode == 0, found.stdout + found.stderr
        assert "/block=" in found.stdout
        # A trade that is delivered again later changes only the object of its message.
        for item in pack([late]):
            sites["aws"].archive.put(item)


def lines(site: Site, symbols: Iterable[str]) -> dict[str, list[Trade]]:
    """Return the trades in every object of some symbols, by key."""
    keys = [each.key for symbol in symbols for each in site.archive.list(prefix(symbol))]
    return {key: unpack(site.archive.get(key)) for key in keys if not is_index_key(key)}
