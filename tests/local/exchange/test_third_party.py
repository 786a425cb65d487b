"""Third-party clients read from the exchange over TLS, and receive the trades that it plays.

Each client is installed into its own environment, because each pins other versions of the same
packages. Without a package index the tests are skipped.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE

from mcloud.feed.simulate import Simulate
from mcloud.local.exchange.thread import LocalExchange
from mcloud.market.trade import Trade

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(900)]

SCRIPTS = Path(__file__).parent / "third_party"
SYMBOLS = {"spot": "BTCUSDT", "um": "BTCUSDT.um", "cm": "BTCUSD_PERP.cm"}
START = 1_723_161_255_000
CLIENTS = {
    "ccxt": ("read_ccxt", ("spot", "um", "cm"), 1),
    "python-binance": ("read_python_binance", ("spot", "um", "cm"), 1),
    "binance-connector": ("read_binance_connector", ("spot",), 1),
    "binance-sdk-spot": ("read_binance_sdk_spot", ("spot",), 1),
    "unicorn-binance-websocket-api": ("read_unicorn", ("spot", "um", "cm"), 1),
    "cryptofeed": ("read_cryptofeed", ("spot", "um", "cm"), 2),
}
"""Script, markets, and number of streams subscribed to before reading, by package."""


def market_of(symbol: str) -> list[Trade]:
    """Return trades of two and a half minutes, many of which belong to the same order."""
    return list(Simulate([symbol], seed=3, start_time=START, rate=5, duration=150))


@pytest.fixture(scope="session")
def python_with(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the Python of a new environment in which a package is installed."""
    made: dict[str, Path] = {}

    def install(package: str) -> Path:
        if package not in made:
            folder = tmp_path_factory.mktemp("client")
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            python = folder / "bin" / "python"
            done = subprocess.run(
                [str(python), "-m", "pip", "install", "--quiet", package],
                check=False,
                capture_output=True,
                text=True,
            )
            if done.returncode:
                pytest.skip(f"{package} cannot be installed: {done.stderr.strip()[-300:]}")
            made[package] = python
        return made[package]

    return install


@pytest.mark.parametrize(
    ("package", "market"),
    [(package, market) for package, (_, markets, _) in CLIENTS.items() for market in markets],
)
def test_a_client_reads_what_the_exchange_plays(
    package: str, market: str, python_with: Callable[[str], Path], tmp_path: Path
) -> None:
    script, _, streams = CLIENTS[package]
    symbol = SYMBOLS[market]
    trades = market_of(symbol)
    python = python_with(package)
    certificate = tmp_path / "exchange.pem"
    with LocalExchange(trades, wait_for=streams, certificate=certificate) as exchange:
        urls = exchange.ws_url, exchange.rest_url, str(certificate)
        done = subprocess.run(
            [python, f"{SCRIPTS / script}.py", *urls, market, str(trades[-1].id)],
            env=os.environ | trusting(certificate),
            cwd=tmp_path,
            check=False,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        read: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        aggregates = exchange.aggregates(symbol)
    assert read
    expected = {
        "trades": [row(trade[1:]) for trade in trades],
        "history": [row(trade[1:]) for trade in trades[-1000:]],
        "aggregates": [row(each[1:]) for each in aggregates][-1000:],
        "klines": candles(trades),
        "closed klines": candles(trades)[:-1],
        "last": row([trades[-1].price])[0],
        # For a COIN-M contract, ccxt's volume is in the base asset.
        "klines in coins": candles(trades, coins),
    }
    book = {side: read.pop(side) for side in ("bids", "asks") if side in read}
    for name, rows in read.items():
        exact = row([rows])[0] if name == "last" else [row(each) for each in rows]
        assert exact == expected[name], name
    if book:
        check_book(book, trades)


def trusting(certificate: Path) -> dict[str, str]:
    """Return environment variables with which clients trust a certificate."""
    names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "WEBSOCKET_CLIENT_CA_BUNDLE")
    return dict.fromkeys(names, str(certificate))


def row(values: Any) -> list[Any]:
    """Return a row with its numbers as decimals, whatever type the client uses."""
    return [value if isinstance(value, bool) else Decimal(str(value)) for value in values]


def coins(trade: Trade) -> Decimal:
    """Return the quantity of a COIN-M trade in its base asset. A Bitcoin contract is 100 USD."""
    return (100 * trade.quantity / trade.price).quantize(Decimal("0.00000001"))


def candles(
    trades: list[Trade], volume: Callable[[Trade], Decimal] = attrgetter("quantity")
) -> list[list[Decimal]]:
    """Return start, open, high, low, close and volume of each minute, by definition."""
    minutes: dict[int, list[Trade]] = {}
    for trade in trades:
        minutes.setdefault(trade.time - trade.time % 60_000, []).append(trade)
    rows = []
    for start, inside in sorted(minutes.items()):
        prices = [trade.price for trade in inside]
        total = sum(map(volume, inside), Decimal(0))
        rows.append(row([start, prices[0], max(prices), min(prices), prices[-1], total]))
    return rows


def check_book(book: dict[str, Any], trades: list[Trade]) -> None:
    """Check that the best levels are the last prices of makers, and that the sides do not cross."""
    bids, asks = ([row(level) for level in book[side]] for side in ("bids", "asks"))
    newest = [trades[-1].price, trades[-1].quantity]
    assert (bids if trades[-1].buyer_is_maker else asks)[0] == newest
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    assert not bids or not asks or bids[0][0] < asks[0][0]
