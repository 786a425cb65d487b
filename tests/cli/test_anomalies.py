"""A wrong price is reported by the functions of both sites as the same anomaly."""

import csv
import io
import json
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from urllib.error import HTTPError

import pytest
from patience import eventually

from mcloud.clouds.anomalies import recent
from mcloud.clouds.aws.client import make_client
from mcloud.clouds.factory import open_site
from mcloud.clouds.ports import Site
from mcloud.feed.simulate import Simulate
from mcloud.local.schedule import call, url_of
from mcloud.local.scheduled_functions import ANOMALY
from mcloud.local.state import State
from mcloud.market.trade import Trade
from mcloud.rehearsal.demo import deliver, stored_rows
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
def looked(embedded: State, trades: list[Trade]) -> dict[str, Site]:
    """Return the sites after their functions have checked the candles of these trades."""
    sites = {name: open_site(name, each) for name, each in embedded.resources().items()}
    assert deliver(trades, {name: site.queue for name, site in sites.items()}).complete
    expected = expected_rows(trades)
    for site in sites.values():
        eventually(lambda site=site: stored_rows(site, [SYMBOL]) == expected)
    look(embedded)
    return sites


def look(embedded: State) -> None:
    """Call the functions as the schedules do.

    Other tests leave symbols that cannot be read, which are an error in the end, after all other
    symbols.
    """
    aws, gcp = embedded.outputs["aws"], embedded.outputs["gcp"]
    lambda_ = make_client("lambda", aws["region"], aws["endpoint_url"])
    assert lambda_.invoke(FunctionName=ANOMALY.name)["StatusCode"] == 200
    with suppress(HTTPError):
        call(url_of(gcp["function_url"], "anomaly"))


def test_both_sites_have_the_same(
    looked: dict[str, Site], trades: list[Trade], embedded: State
) -> None:
    kept = {
        name: [each for each in recent(site.control, START / 1000) if each.symbol == SYMBOL]
        for name, site in looked.items()
    }
    assert kept["aws"] == kept["gcp"]
    (anomaly,) = kept["aws"]
    assert anomaly.key == KEY
    assert anomaly.value == min(each.price for each in trades)
    assert Decimal("-0.06") < anomaly.change < Decimal("-0.04")
    assert anomaly.complete
    # A repeat overwrites the same anomaly.
    look(embedded)
    for site in looked.values():
        again = [each for each in recent(site.control, START / 1000) if each.symbol == SYMBOL]
        assert again == [anomaly]


@pytest.mark.slow
def test_lists_what_the_sites_found(mcloud_up: Terminal, looked: dict[str, Site]) -> None:
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
def test_scans_on_the_fly(mcloud_up: Terminal, looked: dict[str, Site], tmp_path: Path) -> None:
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
