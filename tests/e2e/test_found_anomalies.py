"""An anomaly in the trades of a producer reaches both sites, and is sent once."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest
from cli.conftest import Terminal
from patience import PATIENCE, eventually

from mcloud.clouds.anomalies import UNTOLD, recent
from mcloud.clouds.aws.client import make_client
from mcloud.clouds.factory import open_site
from mcloud.clouds.ports import Site
from mcloud.feed.simulate import Simulate
from mcloud.local import outage
from mcloud.local.schedule import call, url_of
from mcloud.local.scheduled_functions import ANOMALY
from mcloud.local.state import State
from mcloud.market.anomaly import Anomaly
from mcloud.market.trade import to_text
from mcloud.producer.findings import FILE

START = 1_735_775_880_000  # 2025-01-01T23:58:00Z
MINUTES = 40

pytestmark = pytest.mark.slow


class Market:
    """A recording of one symbol with a jump in the ninth minute, and a producer that replays it."""

    def __init__(self, symbol: str, folder: Path, embedded: State) -> None:
        self.symbol = symbol
        state = Path(embedded.options["home"]).parent
        self.terminal = Terminal(folder, state)
        self.waiting = state / "producers" / symbol / FILE
        self.recording = folder / "recorded.jsonl"
        self.sites = {name: open_site(name, each) for name, each in embedded.resources().items()}
        trades = list(Simulate([symbol], seed=8, start_time=START, duration=60 * MINUTES, rate=2))
        at = next(i for i, each in enumerate(trades) if each.time >= START + 8 * 60_000)
        trades[at] = trades[at]._replace(price=trades[at].price * Decimal("0.95"))
        with self.recording.open("w") as file:
            for each in trades:
                event = {"e": "trade", "E": each.time, "s": symbol, "t": each.id, "T": each.time}
                numbers = {"p": to_text(each.price), "q": to_text(each.quantity)}
                print(json.dumps({**event, **numbers, "m": each.buyer_is_maker}), file=file)

    @contextmanager
    def replayed(self, speed: str) -> Iterator[subprocess.Popen[str]]:
        source = ("--source", f"replay:{self.recording}", "--market", "spot", "--speed", speed)
        producer = self.terminal.start("produce", *source, "--name", self.symbol)
        try:
            yield producer
        finally:
            producer.kill()
            producer.communicate(timeout=PATIENCE)

    def stored(self, site: str) -> list[Anomaly]:
        return anomalies_of(self.sites[site], self.symbol)

    def has_waiting(self, *sites: str) -> bool:
        """Return whether an anomaly waits for exactly these sites, in the file of the run."""
        if not self.waiting.exists():
            return False
        found = json.loads(self.waiting.read_text())["anomalies"]
        return [each["sites"] for each in found] == [list(sites)]


def anomalies_of(site: Site, symbol: str) -> list[Anomaly]:
    return [each for each in recent(site.control, START / 1000) if each.symbol == symbol]


@contextmanager
def away(embedded: State, *sites: str) -> Iterator[None]:
    """Let the databases of sites refuse all requests."""
    home = Path(embedded.options["home"])
    for site in sites:
        outage.begin(home, site, "candles", "refuse", None)
    try:
        yield
    finally:
        for site in sites:
            outage.end(home, site, "candles")


def test_a_site_that_was_away_gets_the_anomaly_when_it_is_back(
    tmp_path: Path, embedded: State
) -> None:
    market = Market("AWAYUSDT", tmp_path, embedded)
    with market.replayed("20x") as producer:
        with away(embedded, "gcp"):
            eventually(lambda: market.stored("aws"))
            eventually(partial(market.has_waiting, "gcp"))
            assert producer.poll() is None
        eventually(lambda: market.stored("gcp"))
        producer.send_signal(signal.SIGINT)
        producer.communicate(timeout=PATIENCE)
    assert market.stored("gcp") == market.stored("aws")
    assert not market.waiting.exists()


def test_what_a_killed_producer_has_found_is_stored_by_the_next(
    tmp_path: Path, embedded: State
) -> None:
    market = Market("KILLEDUSDT", tmp_path, embedded)
    with away(embedded, "aws", "gcp"), market.replayed("60x") as producer:
        eventually(partial(market.has_waiting, "aws", "gcp"))
        producer.kill()
        producer.wait(PATIENCE)
    assert market.stored("aws") == market.stored("gcp") == []
    done = market.terminal.run("produce", "--source", "spool", "--name", market.symbol)
    assert done.returncode == 0, done.stderr
    (found,) = market.stored("aws")
    assert (found.kind, market.stored("gcp")) == ("price-jump", [found])
    assert not market.waiting.exists()


def test_each_site_sends_it_once(tmp_path: Path, embedded: State) -> None:
    market = Market("SENTUSDT", tmp_path, embedded)
    with market.replayed("max") as producer:
        _, said = producer.communicate(timeout=PATIENCE)
    assert "1 anomaly found; see `mcloud anomalies`" in said
    (found,) = market.stored("aws")
    assert (found.complete, market.stored("gcp")) == (True, [found])
    aws, gcp = embedded.outputs["aws"], embedded.outputs["gcp"]
    lambda_ = make_client("lambda", aws["region"], aws["endpoint_url"])
    for _ in range(3):
        assert "FunctionError" not in lambda_.invoke(FunctionName=ANOMALY.name)
        call(url_of(gcp["function_url"], "anomaly"))
    for site in market.sites.values():
        assert found.key not in site.control.kept(UNTOLD)
        assert market.stored(site.name) == [found]
    lines = Path(gcp["function_log"]).read_text().splitlines()
    sent = [json.loads(each) for each in lines if market.symbol in each and '"anomaly"' in each]
    assert [(each["severity"], each["message"], each["change"]) for each in sent] == [
        ("WARNING", "anomaly", str(found.change))
    ]
