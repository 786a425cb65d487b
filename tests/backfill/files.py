"""Files of trades, as Binance publishes them."""

import hashlib
import zipfile
from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

from mcloud.market.trade import Trade

DAY = 86_400_000  # ms


def midnight(day: date) -> int:
    """Return the first millisecond of a day."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)


def trades_of_day(
    day: date, first_id: int, count: int = 500, symbol: str = "BTCUSDT"
) -> list[Trade]:
    """Return trades that are spread over a day."""
    return [
        Trade(
            symbol,
            first_id + n,
            Decimal(6_183_763 + n * n % 977) / 100,
            Decimal(1 + n % 13) / 1000,
            midnight(day) + n * (DAY // count),
            n % 3 == 0,
        )
        for n in range(count)
    ]


def row(trade: Trade) -> str:
    quote = trade.price * trade.quantity
    return f"{trade.id},{trade.price},{trade.quantity},{quote},{trade.time},True,True".replace(
        "True", str(trade.buyer_is_maker), 1
    )


def publish(folder: Path, name: str, trades: Iterable[Trade], *, more: str = "") -> Path:
    """Write a zip with its checksum. ``more`` is added behind the rows."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.zip"
    text = "".join(f"{row(trade)}\n" for trade in trades) + more
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}.csv", text)
    write_checksum(path)
    return path


def write_checksum(path: Path) -> None:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_name(f"{path.name}.CHECKSUM").write_text(f"{digest}  {path.name}\n")
