"""Two hours of a future with void ids: both sites have the same candles as the oracle."""

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from cli.conftest import Terminal
from patience import eventually

from mcloud.clouds.factory import open_site
from mcloud.feed.simulate import Simulate
from mcloud.local.state import State
from mcloud.market.candle import MINUTE
from mcloud.market.trade import Trade, split_market, to_text
from mcloud.rehearsal.demo import archived_ids, stored_rows
from mcloud.rehearsal.oracle import expected_rows

START = 1_760_000_040_000  # 2025-10-09T08:54:00Z
HOURS = 7_200.0  # seconds
SYMBOL = "FUTBTCUSDT.um"
VOIDS = 14  # a minute


def with_voids(trades: list[Trade]) -> Iterator[Trade]:
    """Yield the trades, with some of each minute replaced by voids."""
    random = Random(7)
    minutes: dict[int, list[Trade]] = {}
    for trade in trades:
        minutes.setdefault(trade.time // MINUTE, []).append(trade)
    for group in minutes.values():
        chosen = {trade.id for trade in random.sample(group, VOIDS)}
        for trade in group:
            is_void = trade.id in chosen
            yield Trade.void(SYMBOL, trade.id, trade.time) if is_void else trade


def message(trade: Trade, random: Random) -> str:
    name, _ = split_market(trade.symbol)
    kind, price, quantity = "MARKET", to_text(trade.price), to_text(trade.quantity)
    if trade.is_void:
        kind = random.choice(["NA", "INSURANCE_FUND", "ADL"])
        price, quantity = ("0", "0") if kind == "NA" else ("1.5", "1000")
    event = {"e": "trade", "E": trade.time, "T": trade.time, "s": name, "t": trade.id}
    event |= {"p": price, "q": quantity, "X": kind, "m": trade.buyer_is_maker}
    return json.dumps({"stream": f"{name.lower()}@trade", "data": event})


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_two_hours_of_a_future_are_exact_on_both_sites(embedded: State, tmp_path: Path) -> None:
    made = list(Simulate([SYMBOL], seed=3, start_time=START, rate=4, duration=HOURS))
    trades = list(with_voids(made))
    random = Random(1)
    path = tmp_path / "futures.jsonl"
    path.write_text("\n".join(message(each, random) for each in trades))
    terminal = Terminal(tmp_path, Path(embedded.options["home"]).parent)

    def mcloud(*arguments: str) -> dict[str, Any]:
        done = terminal.run(*arguments, "-o", "json")
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    sent = mcloud("produce", "--source", f"replay:{path}", "--speed", "120x")
    assert (sent["read"], sent["complete"], sent["bad"]) == (len(trades), True, 0)
    expected = expected_rows(trades)
    voids = sum(each.is_void for each in trades)
    for name in ("aws", "gcp"):
        site = open_site(name, embedded.resources()[name])
        eventually(lambda site=site: stored_rows(site, [SYMBOL]) == expected, pause=1.0)
        ids = {(SYMBOL, each.id) for each in trades}
        eventually(lambda site=site, ids=ids: archived_ids(site, [SYMBOL]) == ids, pause=1.0)
    proof = mcloud("verify", "--symbols", SYMBOL, "--deep")
    assert proof["ok"]
    for tally in proof["sites"].values():
        assert (tally["trades"], tally["voids"]) == (len(trades) - voids, voids)
    assert voids == VOIDS * 120
