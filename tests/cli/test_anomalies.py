"""A producer stores a wrong price on both sites as the same anomaly."""

import csv
import io
import json
from decimal import Decimal
from pathlib import Path

import pytest
from patience import eventually

from mcloud.clouds.anomalies import recent
from mcloud.clouds.factory import open_site
from mcloud.clouds.ports import Site
from mcloud.feed.simulate import Simulate
from mcloud.local.state import State
from mcloud.market.trade import Trade, to_text
from mcloud.rehearsal.demo import stored_rows
from mcloud.rehearsal.oracle import expected_rows

from .conftest import Terminal

SYMBOL = "ANOMUSDT"  # not one of those that other tests send
START = 1_735_775_880_000  # 2025-01-01T23:58:00Z
KEY = f"2025-01-02T00:06:00Z {SYMBOL} price-jump"


@pytest.fixture(scope="module")
def trades() -> list[Trade]:
    """Return the trades of a quarter of an hour, one of which is 5% too low."""
    made = list(Simulate([SYMBOL], seed=8, start_time=START, duration=900, rate=5))
    at = next(i for i, each in enumerate(made) if each.time >= START + 8 * 60_000 + 20_000)
    made[at] = made[at]._replace(price=made[at].price * Decimal("0.95"))
    return made


@pytest.fixture(scope="module")
def produced(
    tmp_path_factory: pytest.TempPathFactory, embedded: State, trades: list[Trade]
) -> dict[str, Site]:
    """Return the sites after a producer has sent these trades, twice."""
    folder = tmp_path_factory.mktemp("produced")
    recording = folder / "recorded.jsonl"
    recording.write_text("".join(map(line, trades)))
    terminal = Terminal(folder, Path(embedded.options["home"]).parent)
    source = ("--source", f"replay:{recording}", "--market", "spot", "--name", SYMBOL)
    for _ in range(2):
        done = terminal.run("produce", *source)
        assert done.returncode == 0, done.stderr
        assert done.stderr.splitlines()[-1] == "1 anomaly found; see `mcloud anomalies`"
    assert json.loads(terminal.run("produce", *source, "-o", "json").stdout)["anomalies"] == 1
    sites = {name: open_site(name, each) for name, each in embedded.resources().items()}
    expected = expected_rows(trades)
    for site in sites.values():
        eventually(lambda site=site: stored_rows(site, [SYMBOL]) == expected)
    return sites


def line(trade: Trade) -> str:
    """Return a trade as the exchange streams it."""
    event = {"e": "trade", "E": trade.time, "s": trade.symbol, "t": trade.id, "T": trade.time}
    numbers = {"p": to_text(trade.price), "q": to_text(trade.quantity)}
    return json.dumps({**event, **numbers, "m": trade.buyer_is_maker}) + "\n"


def test_both_sites_have_the_same(produced: dict[str, Site], trades: list[Trade]) -> None:
    kept = {
        name: [each for each in recent(site.control, START / 1000) if each.symbol == SYMBOL]
        for name, site in produced.items()
    }
    assert kept["aws"] == kept["gcp"]
    (anomaly,) = kept["aws"]
    assert anomaly.key == KEY
    assert anomaly.value == min(each.price for each in trades)
    assert Decimal("-0.06") < anomaly.change < Decimal("-0.04")
    assert anomaly.complete


@pytest.mark.slow
def test_lists_what_the_sites_found(mcloud_up: Terminal, produced: dict[str, Site]) -> None:
    mine = ("anomalies", "--symbols", SYMBOL.lower())
    (row,) = json.loads(mcloud_up.run(*mine, "-o", "json").stdout)
    assert f"{row['timestamp']} {row['symbol']} {row['kind']}" == KEY
    assert row["sites"] == ["aws", "gcp"]
    done = mcloud_up.run(*mine, "--from", "gcp", "--last", "1m", "-o", "csv")
    (read,) = csv.DictReader(io.StringIO(done.stdout))
    assert read == {**{name: str(value) for name, value in row.items()}, "sites": "gcp"}
    table = mcloud_up.run(*mine).stdout.splitlines()
    assert table[1].split()[:3] == ["2025-01-02T00:06:00Z", SYMBOL, "price-jump"]
    none = mcloud_up.run(*mine, "--kind", "drift")
    assert (none.returncode, none.stdout) == (0, "")
    assert none.stderr == "no anomalies were found\n"


@pytest.mark.slow
def test_scans_on_the_fly(mcloud_up: Terminal, produced: dict[str, Site], tmp_path: Path) -> None:
    scan = ("anomalies", "scan", SYMBOL, "-o", "json")
    (stored,) = json.loads(mcloud_up.run("anomalies", "--symbols", SYMBOL, "-o", "json").stdout)
    done = mcloud_up.run(*scan, "--from", "gcp")
    assert json.loads(done.stdout) == [{**stored, "sites": ["gcp"]}]
    assert done.stderr == f"checked 15 candles of {SYMBOL} at gcp\n"
    # The history before the first minute counts too.
    assert len(json.loads(mcloud_up.run(*scan, "--start", "2025-01-02T00:06").stdout)) == 1
    assert json.loads(mcloud_up.run(*scan, "--end", "2025-01-02T00:06").stdout) == []
    assert json.loads(mcloud_up.run(*scan, "--jump-least", 0.06).stdout) == []
    (tmp_path / "mcloud.toml").write_text("[anomalies]\njump_least = 0.06\n")
    assert json.loads(mcloud_up.run(*scan).stdout) == []
    assert len(json.loads(mcloud_up.run(*scan, "--jump-least", 0.04).stdout)) == 1
    unknown = mcloud_up.run("anomalies", "scan", "ANOMUSTD")
    assert unknown.returncode == 2
    assert f"did you mean '{SYMBOL}'?" in unknown.stderr
